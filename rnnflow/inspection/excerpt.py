"""The first rows of a file, in the types that its values suggest."""

import csv
import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from rnnflow.generation.sources.arrays import LENGTHS
from rnnflow.generation.sources.columns import is_list, is_text
from rnnflow.generation.sources.csv_files import head
from rnnflow.generation.sources.files import FORMATS, format_of
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.parquet import METADATA_KEY

DELIMITERS = ",;\t|"
CSV_BYTES = 4 * 2**20
SCALAR_ROWS = 100_000
LIST_ROWS = 100


@dataclass(frozen=True)
class Excerpt:
    """What a guess is made from; without columns where the format says itself what is what."""

    kind: str
    """Of the file: Parquet, CSV, NumPy, ts or ARFF."""
    table: pa.Table
    delimiter: str = ","
    names_features: bool = False
    """The file is in this project's own format."""

    @property
    def has_lists(self) -> bool:
        return any(is_list(field.type) for field in self.table.schema)


def read_excerpt(path: Path, delimiter: str | None) -> Excerpt:
    """Return the first rows of a file.

    Args:
        path: the file.
        delimiter: of CSV; none finds it out.

    Raises:
        InputError: the file cannot be read.
    """
    kind = FORMATS[format_of(path)][0]
    if kind == "CSV":
        return _of_csv(path, delimiter)
    if kind == "Parquet":
        return _of_parquet(path)
    return Excerpt(kind, _of_arrays(path) if kind == "NumPy" else pa.table({}))


def _of_parquet(path: Path) -> Excerpt:
    try:
        with pq.ParquetFile(path, memory_map=True) as parquet:
            schema = parquet.schema_arrow
            num_rows = LIST_ROWS if any(is_list(field.type) for field in schema) else SCALAR_ROWS
            batches = [*_first(parquet.iter_batches(num_rows))]
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a complete Parquet file: {' '.join(str(error).split())}") from None
    if repeated := [name for index, name in enumerate(schema.names) if name in schema.names[:index]]:
        raise InputError(f"{path}: two columns are called {repeated[0]!r}; rename one")
    table = pa.Table.from_batches(batches, None if batches else schema)
    return Excerpt("Parquet", table, names_features=METADATA_KEY in (schema.metadata or {}))


def _first(batches: Any) -> list[pa.RecordBatch]:
    batch = next(iter(batches), None)
    return [] if batch is None else [batch]


def _of_csv(path: Path, delimiter: str | None) -> Excerpt:
    opens = gzip.open if path.suffix == ".gz" else open
    try:
        with opens(path, "rb") as file:
            content = b"".join(file.readlines(CSV_BYTES))
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if ".tsv" in path.suffixes:
        delimiter = "\t"
    delimiter = delimiter or _delimiter(content.decode("utf-8-sig", errors="replace"))
    header, _ = head(path, delimiter)
    if all(_is_number(name) for name in header):
        raise InputError(f"{path}: line 1: numbers, expected the names of the columns; add a line with names")
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(content), parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as CSV: {' '.join(str(error).split())}") from None
    # Only empty names can come twice; what is said of the first of them holds for all.
    names = table.column_names
    table = table.select([index for index, name in enumerate(names) if name not in names[:index]])
    return Excerpt("CSV", _with_lists(table), delimiter)


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _delimiter(content: str) -> str:
    """Return the delimiter that cuts the first line into most columns, the lines below into as many."""
    lines = content.splitlines()[:20]
    found = {}
    for delimiter in DELIMITERS:
        try:
            counts = {len(row) for row in csv.reader(lines, delimiter=delimiter) if row}
        except csv.Error:  # a long cell
            counts = {len(lines[0].split(delimiter))}
        found[delimiter] = counts.pop() if len(counts) == 1 else 0
    return max(found, key=lambda delimiter: found[delimiter], default=",")


def _with_lists(table: pa.Table) -> pa.Table:
    """Return `table` with cells such as `[1, 2]` as lists, the first rows of it."""
    listed = [field.name for field in table.schema if is_text(field.type) and _begins_list(table[field.name])]
    if not listed:
        return table
    table = table.slice(0, LIST_ROWS)
    for name in listed:
        try:
            cells = pa.array([json.loads(cell) if cell else None for cell in table[name].to_pylist()])
        except (ValueError, TypeError, pa.ArrowException):
            continue
        table = table.set_column(table.schema.get_field_index(name), name, cells)
    return table


def _begins_list(column: pa.ChunkedArray) -> bool:
    return len(column) > 0 and str(column[0].as_py() or "").lstrip().startswith("[")


def _of_arrays(path: Path) -> pa.Table:
    """Return the arrays that have an entry for each sequence, as columns; those of many axes are lists of lists."""
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: not an .npz file of plain arrays: {' '.join(str(error).split())}") from None
    known = {
        name: array for name, array in arrays.items() if name != LENGTHS and array.ndim and array.dtype.kind in "fiubU"
    }
    deepest = max(known.values(), key=lambda array: array.ndim, default=np.empty(0))
    return pa.table(
        {name: pa.array(array[:LIST_ROWS].tolist()) for name, array in known.items() if len(array) == len(deepest)}
    )
