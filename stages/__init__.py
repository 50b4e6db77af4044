"""What is versioned: one module for each stage of dvc.yaml."""

import os

from rnnflow.runtime import garbage

garbage.collect_seldom()
# Pydantic would look for plugins of its own among all that is installed, which takes as long as to check the params.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
