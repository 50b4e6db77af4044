"""What is versioned: one module for each stage of dvc.yaml."""

import gc
import os

# To load PyTorch makes a million objects, none of them garbage; looking for some took a tenth of the time.
gc.set_threshold(20_000)
# Pydantic would look for plugins of its own among all that is installed, which takes as long as to check the params.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
