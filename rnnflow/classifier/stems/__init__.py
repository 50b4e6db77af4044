"""The stems: what may stand between preparation and recurrent layers, a file each, under the name of its `kind`.

As cells are, a stem is imported by its name, and imports torch only where it computes with it.
"""

import importlib
from pathlib import Path

from rnnflow.classifier.stems.interface import Stem
from rnnflow.params.models import AnyStemParams


def create(params: AnyStemParams, num_inputs: int) -> Stem:
    """Return a stem that reads so many features of a step."""
    stem: Stem = importlib.import_module(f"{__name__}.{params.kind}").STEM(params, num_inputs)
    return stem


def entry(kind: str) -> Path:
    """Return the file of a stem."""
    return Path(__file__).parent / f"{kind}.py"
