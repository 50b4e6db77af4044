"""Rows that cannot be read, set aside where somebody wants the others all the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv


class BadRow(NamedTuple):
    """A row, and with it its recording, which would lack a step otherwise."""

    id: str
    """Of the recording."""
    line: int
    column: str
    """Empty where the whole row cannot be read."""
    text: str
    reason: str


SetAside = Callable[[BadRow], None]


@dataclass
class TornRows:
    """Rows of a CSV file with another number of columns, which Arrow leaves out."""

    num_headings: int
    """Lines above the first row."""
    rows: list[tuple[int, arrow_csv.InvalidRow]] = field(default_factory=list)
    """How many whole rows are above each."""
    _ids: dict[int, str] = field(default_factory=dict)
    """Of the whole rows around them."""

    def leave_out(self, row: arrow_csv.InvalidRow) -> str:
        self.rows.append((row.number - 1 - self.num_headings - len(self.rows), row))
        return "skip"

    def num_above(self, row: int) -> int:
        """Return how many of them are above a whole row."""
        return sum(above <= row for above, _ in self.rows)

    def look_at(self, ids: pa.Array, first_row: int) -> None:
        """Take note of the ids around torn rows, of which a batch ahead may have more."""
        around = np.array(
            [place for above, _ in self.rows for place in (above - 1, above)] + [first_row + len(ids) - 1]
        )
        for row in around[(around >= first_row) & (around < first_row + len(ids))].tolist():
            self._ids[row] = str(ids[row - first_row])

    def set_aside(self, take: SetAside, line_of: Callable[[int], int], are_sequences: bool) -> None:
        """Give up the recordings above and below each row, either of which it may be a step of; or, of rows that are sequences, none."""
        for index, (above, row) in enumerate(self.rows):
            line = line_of(above + index)
            around = {self._ids[place] for place in (above - 1, above) if place in self._ids}
            for name in [f"line {line}"] if are_sequences else sorted(around):
                reason = f"{row.actual_columns} columns, expected {row.expected_columns}"
                take(BadRow(name, line, "", row.text[:40], reason))
