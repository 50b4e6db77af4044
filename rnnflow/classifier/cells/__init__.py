"""The recurrent cells: a file each, under the name that `params.yaml` gives it; `interface.py` says what it contains.

A cell is imported by its name, and imports torch and onnx only where it computes with them: a training without torch
needs a cell's shapes and first biases, and neither of the two.
"""

import importlib
from pathlib import Path

from rnnflow.classifier.cells.interface import Cell


def load(name: str) -> Cell:
    """Return a cell by its name in `params.yaml`."""
    cell: Cell = importlib.import_module(f"{__name__}.{name}").CELL
    return cell


def entry(name: str) -> Path:
    """Return the file of a cell."""
    return Path(__file__).parent / f"{name}.py"
