"""The metrics: a file each, under its name. What the folder holds is computed, written and drawn.

A file ends with `METRIC`, of which `interface.py` says what it may contain.
"""

import importlib
import pkgutil
from collections.abc import Mapping

from rnnflow.evaluation.scores.metrics.interface import Metric


def load() -> Mapping[str, Metric]:
    """Return the metrics by their names, which are those of their files, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").METRIC for name in names if name != "interface"}
