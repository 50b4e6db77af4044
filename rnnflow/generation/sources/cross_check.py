"""Whether the steps that were read are what the file holds: rows, and number and sum of each feature's values.

Arrow counts in the columns of the file, NumPy in the steps that became of them, so that a fault on the way between them
ends as a refusal and not as other values.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.layout import Layout
from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.generation.sources.values import as_float32, is_list

TOLERANCE = 1e-9
"""Of the sum of absolute values; the same numbers are added in another order."""


class CrossCheck:
    """Counts on both sides of a reader; in the layouts `sequence` and `melted` one column holds all features."""

    def __init__(self, location: SourceLocation, layout: Layout) -> None:
        self.location = location
        self.layout = layout
        self.num_features = len(layout.wide_features) or len(layout.columns)
        self.num_rows = self.num_steps = self.num_recordings = 0
        self.there, self.read, self.sizes = (np.zeros((self.num_features, 2)) for _ in range(3))
        """By feature, or for all of them: number and sum of values, in the file and in its steps; and their tolerance."""

    def rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass the file's rows on and count."""
        num_columns = len(self.layout.columns) // self.num_features
        for batch in batches:
            self.num_rows += batch.num_rows
            for index, name in enumerate(self.layout.columns):
                values = _values(batch.column(name))
                self.there[index // num_columns] += len(values), pc.sum(values).as_py() or 0
            yield batch

    def steps(self, chunks: Iterable[RecordingChunk]) -> Iterator[RecordingChunk]:
        """Pass the steps of the file on, count, and compare at the end.

        Raises:
            InputError: they are not what the file holds.
        """
        holds_all = self.layout.form in ("sequence", "melted")
        for chunk in chunks:
            self.num_steps += len(chunk.values)
            self.num_recordings += chunk.num_recordings
            columns = [chunk.values] if holds_all else chunk.values.T[: self.num_features]
            for index, values in enumerate(columns):
                known = values[~np.isnan(values)] if np.isnan(values).any() else values
                self.read[index] += known.size, known.sum(dtype=np.float64)
                self.sizes[index, 1] += np.abs(known).sum(dtype=np.float64)
            yield chunk
        self._compare()

    def _compare(self) -> None:
        num_read = {"long": self.num_steps, "melted": self.num_rows}.get(self.layout.form, self.num_recordings)
        differs = (np.abs(self.there - self.read) > TOLERANCE * self.sizes).any(1)
        if num_read == self.num_rows and not differs.any():
            return
        index = int(differs.argmax())
        name = (self.layout.wide_features or self.layout.columns)[index]
        (there, total), (read, own) = self.there[index], self.read[index]
        raise self.location.error(
            f"{self.num_rows:,} rows were read as {num_read:,}, and {there:,.0f} values of {name!r} with "
            f"the sum {total:.9g} as {read:,.0f} with the sum {own:.9g}; this is a fault of rnnflow, please report it"
        )


def _values(column: pa.Array) -> pa.Array:
    """Return the known numbers of a column, of however many lists."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    while is_list(column.type):
        column = column.flatten()
    known = as_float32(column).drop_null()
    is_nan = pc.is_nan(known)
    return known.filter(pc.invert(is_nan)) if pc.any(is_nan).as_py() else known
