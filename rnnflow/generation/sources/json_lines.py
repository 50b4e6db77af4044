"""JSON lines: an object a line, which is a time step or a sequence."""

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.json as arrow_json

from rnnflow.generation.sources.lines import MAX_LINE, LineFilter
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.source_file import SourceTable
from rnnflow.generation.sources.values import is_list
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError

HEAD_BYTES = 4 * 2**20
_WORDS = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def read_json_lines(path: Path, below: Path, files: FilesParams) -> SourceTable:
    """Return what a file of JSON lines holds. A key that is missing in a line is a missing value.

    Raises:
        InputError: a line is no object, or has other keys or types than the first ones.
    """
    columns = files.columns
    whole = {columns.id, columns.label, columns.group, columns.time, columns.split}
    schema = pa.schema(
        [(column.name, _read_as(column.type, column.name in whole)) for column in first_rows(path).schema]
    )
    lines = LineFilter(path, 0)

    def batches(names: list[str]) -> Iterator[pa.RecordBatch]:
        # A key that comes late would be a feature where the params name none.
        unexpected = "ignore" if files.features else "error"
        try:
            reader = arrow_json.open_json(
                lines,
                arrow_json.ReadOptions(use_threads=False, block_size=MAX_LINE),
                arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),
            )
            for batch in reader:
                yield batch.select(names)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise InputError(f"{path}: {_bad_line(path, schema) or ' '.join(str(error).split())}") from None

    location = SourceLocation(str(path), lambda row: f"line {lines.number(row)}")
    return SourceTable(location, schema, batches)


def first_rows(path: Path) -> pa.Table:
    """Return the first rows in the types that Arrow finds.

    Raises:
        InputError: they are no JSON lines, or there are none.
    """
    try:
        content = LineFilter(path, 0).head(HEAD_BYTES)
        if not content:
            raise InputError(f"{path}: empty, expected an object in each line")
        return arrow_json.read_json(io.BytesIO(content), arrow_json.ReadOptions(block_size=2 * MAX_LINE))
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise InputError(f"{path}: {_bad_line(path) or ' '.join(str(error).split())}") from None


def _read_as(kind: pa.DataType, keeps_whole: bool) -> pa.DataType:
    """Return the type in which later rows fit as well: a whole number may have decimals, a time another format."""
    if is_list(kind):
        return pa.list_(_read_as(kind.value_type, keeps_whole=False))
    if pa.types.is_timestamp(kind):
        return pa.string()
    is_number = pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return pa.float64() if is_number and not (keeps_whole and pa.types.is_integer(kind)) else kind


def _bad_line(path: Path, schema: pa.Schema | None = None) -> str | None:
    """Return which line is the first that is no object, or has a value of another type than those before."""
    kinds: dict[str, type] = {}
    lines = LineFilter(path, 0)
    for index, line in enumerate(lines.texts("replace")):
        place = f"line {lines.number(index)}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            return f'{place}: expected an object such as {{"x": 1.5}}, got {line[:40].strip()!r}: {error}'
        if not isinstance(row, dict):
            return f'{place}: expected an object such as {{"x": 1.5}}, got {line[:40].strip()!r}'
        for name, value in row.items():
            if schema is not None and name not in schema.names:
                return f"{place}: {name!r} is in none of the first lines; generate.files.features names what to take"
            if isinstance(value, float) and math.isinf(value):
                return f"{place}: {name!r} is infinite, or too large for float64"
            kind = float if type(value) is int else type(value)
            if value is not None and kinds.setdefault(name, kind) is not kind:
                return f"{place}: {name!r} is {_WORDS[kind]}, {str(value)[:40]!r}, and {_WORDS[kinds[name]]} above"
    return None
