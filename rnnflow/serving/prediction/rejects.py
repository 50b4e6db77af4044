"""What could not be read, with the reasons: kept beside the answers, so that one bad recording does not end a prediction."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from rnnflow.runtime.atomic_writes import atomic_write

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a formula begins with."""


class Reject(NamedTuple):
    """A file, or a recording of it, that has no answer."""

    file: str
    id: str
    """Of the recording; empty for the whole file."""
    line: int | None
    """Where the reader knows it, as `column` and `text`."""
    column: str
    text: str
    reason: str


def ids(rejects: Sequence[Reject]) -> pa.StringArray:
    """Return which recordings have no answer."""
    return pa.array([entry.id for entry in rejects if entry.id], pa.string())


def write(path: Path, rejects: Sequence[Reject]) -> None:
    """Write a CSV file with a row a reject, also where there are none."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Reject._fields)
        writer.writerows([_unable_to_compute(cell) for cell in entry] for entry in rejects)


def _unable_to_compute(cell: object) -> object:
    """Return a cell that a spreadsheet shows: a person opens this file, and `=…` from a stranger's data would be run."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell
