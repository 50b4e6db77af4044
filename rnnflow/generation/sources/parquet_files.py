"""Parquet files of any layout, row group after row group."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.source_file import SourceTable
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.parquet_bounds import VALUE_BYTES, Footer, open_footer, written_out
from rnnflow.sequences.parquet_metadata import KEY, features_of

BATCH_BYTES = 32 * 2**20
MAX_BATCH_ROWS = 2**17


def read_parquet(path: Path, below: Path, files: FilesParams) -> SourceTable:
    """Return what a Parquet file holds.

    Raises:
        InputError: it is damaged, or its columns do not fit the params.
    """
    footer = open_footer(path)
    metadata, schema = footer.metadata, footer.schema
    if repeated := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise InputError(f"{path}: two columns are called {repeated[0]!r}")
    named = features_of(path, schema, files.features) if KEY in (schema.metadata or {}) else None
    if named and files.features and named != tuple(files.features):
        raise InputError(
            f"{path}: its metadata name the features {', '.join(named)}, generate.files.features {', '.join(files.features)}"
        )
    location = SourceLocation(str(path), lambda row: f"row {row}")
    stored = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    num_bytes = max(stored, VALUE_BYTES * footer.num_values())  # runs of one value are stored as one
    batch_rows = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES * metadata.num_rows // max(1, num_bytes)))
    return SourceTable(location, schema, partial(_batches, path, footer, batch_rows), named)


def _batches(path: Path, footer: Footer, batch_rows: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    group = num_rows = 0
    repeated = footer.repeated_texts(batch_rows)
    try:
        with pq.ParquetFile(  # buffers would stay to the end
            path, pre_buffer=False, page_checksum_verification=True, read_dictionary=repeated
        ) as parquet:
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=names):
                    batch.validate(full=True)
                    num_rows += batch.num_rows
                    yield written_out(path, batch, repeated)
            if num_rows != parquet.metadata.num_rows:
                raise pa.ArrowInvalid(f"expected {parquet.metadata.num_rows} rows")
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: row group {group}, after row {num_rows}: damaged: {reason}") from None
