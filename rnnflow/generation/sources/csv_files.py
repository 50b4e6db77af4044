"""CSV files, block after block: a row a time step, or cells such as `[1.5, 2.5]` with a sequence each."""

import csv
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from rnnflow.generation.sources.opened import Opened, open_table
from rnnflow.generation.sources.steps import Origin
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError

BLOCK_BYTES = 16 * 2**20
MAX_CELL = BLOCK_BYTES
"""Characters of a cell; a block has to hold at least one row."""
NUMBERS = pa.list_(pa.float64())
STEPS = pa.list_(NUMBERS)
_BAD_VALUE = re.compile(r"In CSV column #(\d+): Row #(\d+): CSV conversion error to \w+: (.*)", re.DOTALL)
_BAD_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


def read_csv(path: Path, below: Path, files: FilesParams) -> Opened:
    """Return what a CSV file holds.

    Raises:
        InputError: it is empty or no UTF-8, or its columns do not fit the params.
    """
    delimiter = "\t" if ".tsv" in path.suffixes else files.delimiter
    origin = Origin(str(path), lambda row: f"line {row + 2}")
    header, first_row = head(path, delimiter)
    columns = files.columns
    texts = {columns.id, columns.label, columns.group, columns.time, columns.split} - set(files.features or ())
    cells = dict(zip(header, first_row, strict=False))
    schema = pa.schema([(name, pa.string() if name in texts else _kind(cells.get(name, ""))) for name in header])
    return open_table(origin, schema, below, files, None, partial(_batches, path, delimiter, schema))


def head(path: Path, delimiter: str) -> tuple[list[str], list[str]]:
    """Return the names of the columns and the cells of the first row.

    Raises:
        InputError: the file is empty or no UTF-8 text, or two columns have the same name.
    """
    csv.field_size_limit(MAX_CELL)
    opens = gzip.open if path.suffix == ".gz" else open
    try:
        with opens(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = (row for row in csv.reader(file, delimiter=delimiter) if row)
            header, first_row = next(rows, []), next(rows, [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected CSV in UTF-8: {error}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not header:
        raise InputError(f"{path}: empty, expected a line with the names of the columns")
    if repeated := [name for name, count in Counter(header).items() if count > 1 and name]:
        raise InputError(f"{path}: line 1: two columns are called {repeated[0]!r}")
    return header, first_row


def _kind(cell: str) -> pa.DataType:
    if cell.lstrip().startswith("["):
        return STEPS if cell.lstrip()[1:].lstrip().startswith("[") else NUMBERS
    return pa.float64()


class _LineCounter:
    """A file that counts its lines while Arrow reads it, the empty ones left out."""

    closed = False

    def __init__(self, path: Path) -> None:
        self._stream = pa.input_stream(str(path), compression="detect")
        self._follows_break = True
        self.num_lines = 0

    def read(self, size: int = -1) -> bytes:
        content: bytes = self._stream.read(size if size >= 0 else None)
        if content:
            is_break = np.isin(np.frombuffer(content, np.uint8), (10, 13))
            follows = np.concatenate([[self._follows_break], is_break[:-1]])
            self.num_lines += int((~is_break & follows).sum())
            self._follows_break = bool(is_break[-1])
        return content

    def close(self) -> None:
        self.closed = True
        self._stream.close()


def _batches(path: Path, delimiter: str, schema: pa.Schema, names: list[str]) -> Iterator[pa.RecordBatch]:
    kinds = {name: schema.field(name).type for name in names}
    read_as = {name: pa.string() if pa.types.is_list(kind) else kind for name, kind in kinds.items()}
    num_rows = 0
    try:
        lines = _LineCounter(path)
        reader = arrow_csv.open_csv(
            lines,
            # With one thread, messages know the line.
            read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(column_types=read_as, include_columns=names),
        )
        for batch in reader:
            columns = [
                _lists(path, name, batch.column(name), kinds[name], num_rows)
                if pa.types.is_list(kinds[name])
                else batch.column(name)
                for name in names
            ]
            yield pa.RecordBatch.from_arrays(columns, names)
            num_rows += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: {_explanation(str(error), schema.names)}") from None
    if lines.num_lines != num_rows + 1:
        raise InputError(
            f"{path}: {lines.num_lines:,} lines, but {num_rows:,} rows below the first: a quotation mark is not closed, "
            "or a cell holds a line break"
        )


def _lists(path: Path, name: str, cells: pa.Array, kind: pa.DataType, first_row: int) -> pa.Array:
    texts = cells.to_pylist()
    try:
        return pa.array([_parsed(text) for text in texts], kind)
    except (ValueError, TypeError, pa.ArrowException):
        bad = next(row for row, text in enumerate(texts) if not _is_list(text, kind))
        raise InputError(
            f"{path}: line {first_row + bad + 2}: column {name!r}: expected a list of numbers such as [1.5, 2], "
            f"got {texts[bad][:40]!r}"
        ) from None


def _parsed(text: str) -> object:
    return json.loads(text) if text else None


def _is_list(text: str, kind: pa.DataType) -> bool:
    try:
        pa.array([_parsed(text)], kind)
    except (ValueError, TypeError, pa.ArrowException):
        return False
    return True


def _explanation(message: str, names: list[str]) -> str:
    if bad := _BAD_VALUE.search(message):
        name, line, what = names[int(bad.group(1))], bad.group(2), bad.group(3)
        if "UTF8" in what:
            return f"line {line}: column {name!r} is not UTF-8 text; save the file in UTF-8"
        value = what.removeprefix("invalid value ")
        return (
            f"line {line}: column {name!r}: expected a number, got {value}; "
            "generate.files.features names the columns to take"
        )
    if bad := _BAD_ROW.search(message):
        return f"line {bad.group(1)}: {bad.group(3)} columns, the first line has {bad.group(2)}"
    if "invalid UTF8" in message:
        return "not UTF-8 text; save the file in UTF-8"
    return f"cannot be read as CSV: {' '.join(message.split())}"
