"""What a column holds: numbers, text or lists; and where it holds what cannot be used."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.recording_chunk import SourceLocation

MOST_NAMES = 20


def holds_numbers(kind: pa.DataType) -> bool:
    """Return whether a column of this type can be a feature, as one number per row or one list per row."""
    if is_list(kind):
        return holds_numbers(kind.value_type)
    checks = (pa.types.is_null, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(check(kind) for check in checks)


def is_list(kind: pa.DataType) -> bool:
    """Return whether the type is any of Arrow's lists, a tensor of fixed shape included."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def numbers(location: SourceLocation, name: str, column: pa.Array, first_row: int) -> np.ndarray:
    """Return a column as float32, NaN where it is null.

    Raises:
        InputError: it holds no numbers, or an infinite one.
    """
    if not holds_numbers(column.type) or is_list(column.type):
        raise location.error(f"column {name!r} is {column.type}, expected numbers")
    known = as_float32(column).to_numpy(zero_copy_only=False)
    refuse(location, first_row, np.isinf(known), f"column {name!r} is infinite, or too large for float32")
    return known


def as_float32(column: pa.Array) -> pa.Array:
    """Return numbers as float32, rounded once: Arrow's own cast of decimals to float32 is off by a bit."""
    if pa.types.is_boolean(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return column.cast(pa.float32(), safe=False)


def listed(names: Iterable[str]) -> str:
    """Return names for a message, the first of them where there are many."""
    known = list(names)
    return ", ".join(known[:MOST_NAMES]) + (f" and {len(known) - MOST_NAMES:,} more" if len(known) > MOST_NAMES else "")


def refuse(location: SourceLocation, first_row: int, is_bad: pa.Array | np.ndarray | Sequence[bool], what: str) -> None:
    """Raise InputError for the first row in which `is_bad` is true."""
    bad = np.flatnonzero(np.asarray(is_bad))
    if len(bad):
        raise location.error(f"{location.place(first_row + int(bad[0]))}: {what}")


def refuse_blank(location: SourceLocation, name: str, column: pa.Array, first_row: int) -> None:
    """Raise InputError for the first row in which a column is null or an empty text."""
    blank = pc.or_kleene(column.is_null(), pc.equal(column, "")) if is_text(column.type) else column.is_null()
    refuse(location, first_row, blank, f"column {name!r} is empty")


def codes(column: pa.ChunkedArray) -> np.ndarray:
    """Return a number for each entry of a column, by their first rows; -1 for null."""
    entries = column.combine_chunks()
    entries = entries if pa.types.is_dictionary(entries.type) else entries.dictionary_encode()
    return entries.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def generic_names(num_features: int) -> tuple[str, ...]:
    """Return names for features that have none."""
    return tuple(f"feature_{index}" for index in range(num_features))
