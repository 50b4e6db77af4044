"""What the first rows of a column are."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.values import is_list, is_text

_IN_TEXT = re.compile(r"[\s$\u20ac\u00a3(=\"'+\u2212-]*\d[\d.,']*(e[+-]?\d+)?\s*[^\d\s,.;:/]{0,5}\)?", re.IGNORECASE)
"""A number with a sign or a unit around it."""
_NUMBER = re.compile(r"\s*[+-]?\d+\.?\d*([eE][+-]?\d+)?\s*", re.ASCII)


def first_text(column: pa.ChunkedArray) -> str:
    """Return the first entry that is no number, or else the first."""
    entries = [entry for entry in column.to_pylist() if entry]
    return next((entry for entry in entries if not _NUMBER.fullmatch(entry)), entries[0] if entries else "")[:20]


def are_numbers_in_text(column: pa.ChunkedArray) -> bool:
    entries = [entry for entry in column.slice(0, 1000).to_pylist() if entry]
    return len(entries) > 1 and all(_IN_TEXT.fullmatch(entry) for entry in entries)


def is_category(column: pa.ChunkedArray) -> bool:
    """Return whether a column holds texts, whole numbers or truth values."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_whole_decimal = pa.types.is_decimal(kind) and kind.scale == 0
    return bool(
        is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or is_whole_decimal
    ) or is_whole(column)


def is_whole(column: pa.ChunkedArray) -> bool:
    """Return whether a column holds whole numbers, be it as floats as pandas does where one is missing."""
    if not pa.types.is_floating(column.type):
        return bool(pa.types.is_integer(column.type))
    known = column.drop_null()
    return len(known) > 0 and bool(pc.all(pc.equal(pc.round(known), known)).as_py())


def is_nested(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.FixedShapeTensorType):
        return len(kind.shape) > 1
    return is_list(kind.value_type)


def has_decimal_commas(column: pa.ChunkedArray) -> bool:
    first = next((entry for entry in column.slice(0, 100).to_pylist() if entry), None)
    return isinstance(first, str) and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", first) is not None


def distinct(column: pa.ChunkedArray) -> list[str]:
    return [str(entry) for entry in pc.unique(column).to_pylist() if entry is not None]
