"""What a Parquet file may become in memory, known before it is read: a few bytes can stand for a run of a billion values."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rnnflow.runtime import expansion
from rnnflow.runtime.errors import library
from rnnflow.sequences import parquet_footer
from rnnflow.sequences.parquet_footer import ColumnChunk

VALUE_BYTES = 8
"""Of a decoded value, at least in Arrow's lists and texts."""
BATCH_BYTES = 2**30
"""That the texts of a batch may come to without being looked at."""


@dataclass(frozen=True)
class Footer:
    """What the end of a Parquet file says of it."""

    metadata: pq.FileMetaData
    schema: pa.Schema
    chunks: Sequence[ColumnChunk]

    def num_values(self, column: str | None = None) -> int:
        """Return how many values a column holds, or all of them, each element of a list counted."""
        return sum(chunk.num_values for chunk in self.chunks if column in (None, chunk.path.split(".")[0]))

    def repeated_texts(self, num_rows: int) -> list[str]:
        """Return the columns of texts that are stored once and repeated, if `num_rows` of the longest may be too much."""
        found = {
            chunk.path for chunk in self.chunks if chunk.repeats_texts and num_rows * chunk.num_bytes > BATCH_BYTES
        }
        return sorted(found)


def open_footer(path: Path) -> Footer:
    """Return what the end of a Parquet file says of it.

    Raises:
        InputError: it is no such file, damaged, or says that a few bytes are gigabytes, as runs of one value can.
    """
    with library(f"{path}: not a complete Parquet file"):
        metadata = pq.read_metadata(path)
        footer = Footer(metadata, metadata.schema.to_arrow_schema(), parquet_footer.columns(path))
        expansion.check(path, VALUE_BYTES * footer.num_values())
    return footer


def written_out(path: Path, batch: pa.RecordBatch, repeated: Collection[str]) -> pa.RecordBatch:
    """Return a batch whose repeated texts were read as a dictionary, each in its place.

    Raises:
        InputError: they would be out of proportion to the file.
    """
    for index, (name, column) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        if name in repeated and pa.types.is_dictionary(column.type):
            import pyarrow.compute as pc  # a tenth of a second, for files of others alone

            lengths = pc.binary_length(column.dictionary).cast(pa.int64())
            expansion.check(path, pc.sum(lengths.take(column.indices)).as_py() or 0)
            batch = batch.set_column(index, name, column.cast(column.type.value_type))
    return batch
