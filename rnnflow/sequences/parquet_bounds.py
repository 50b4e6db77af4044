"""What a Parquet file may become in memory, known before it is read: a few bytes can stand for a run of a billion values."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rnnflow.runtime import expansion
from rnnflow.runtime.errors import library

VALUE_BYTES = 8
"""Of a decoded value, at least in Arrow's lists and texts."""
BATCH_BYTES = 2**30
"""That the texts of a batch may come to without being looked at."""


def open_footer(path: Path) -> tuple[pq.FileMetaData, pa.Schema]:
    """Return what the end of a Parquet file says of it.

    Raises:
        InputError: it is no such file, damaged, or says that a few bytes are gigabytes, as runs of one value can.
    """
    with library(f"{path}: not a complete Parquet file"):
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
        expansion.check(path, VALUE_BYTES * num_values(metadata))
    return metadata, schema


def num_values(metadata: pq.FileMetaData) -> int:
    """Return how many values all columns of a file hold, each element of a list counted."""
    return sum(column.num_values for column in _columns(metadata))


def repeated_texts(metadata: pq.FileMetaData, num_rows: int) -> list[str]:
    """Return the columns of texts that are stored once and repeated, if `num_rows` of the longest may be too much."""
    found = {
        column.path_in_schema
        for column in _columns(metadata)
        if column.physical_type == "BYTE_ARRAY"
        and column.has_dictionary_page
        and num_rows * column.total_uncompressed_size > BATCH_BYTES
    }
    return sorted(found)


def written_out(path: Path, batch: pa.RecordBatch, repeated: Collection[str]) -> pa.RecordBatch:
    """Return a batch whose repeated texts were read as a dictionary, each in its place.

    Raises:
        InputError: they would be out of proportion to the file.
    """
    for index, (name, column) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        if name in repeated and pa.types.is_dictionary(column.type):
            lengths = pc.binary_length(column.dictionary).cast(pa.int64())
            expansion.check(path, pc.sum(lengths.take(column.indices)).as_py() or 0)
            batch = batch.set_column(index, name, column.cast(column.type.value_type))
    return batch


def _columns(metadata: pq.FileMetaData) -> list[pq.ColumnChunkMetaData]:
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return [group.column(index) for group in groups for index in range(group.num_columns)]
