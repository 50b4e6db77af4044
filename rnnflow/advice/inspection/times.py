"""Whether a column holds times, and in which unit."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.times import cast_all, in_iso
from rnnflow.generation.sources.values import is_list, is_text
from rnnflow.params.time_format import pattern
from rnnflow.runtime.errors import InputError

EARLIEST, LATEST = 6e8, 4.2e9
"""1989 to 2103, in seconds since 1970."""
YEARS, DAYS = 1500, 3e6
"""The first year, and the last day as astronomers count them, that numbers may be."""
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DATES = (
    *(sign.join(parts) for sign in "./-" for parts in (("%d", "%m", "%Y"), ("%m", "%d", "%Y"), ("%Y", "%m", "%d"))),
    *(sign.join(parts) for sign in "./-" for parts in (("%d", "%m", "%y"), ("%m", "%d", "%y"))),
    *("%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%Y%m%d"),
)
_CLOCKS = ("%H:%M:%S.%f", "%H:%M:%S,%f", "%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
_FORMATS = (
    *_DATES,
    *("%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S,%f", "%M:%S.%f"),
    *("%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z", "%Y%m%d-%H%M%S", "%Y%m%d_%H%M%S"),
    *(
        date + sign + clock + zone
        for date in _DATES
        for sign in (" ", "T", ", ", "-")
        for clock in _CLOCKS
        for zone in ("", "%z", " %z")
    ),
)
_OF_DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_NAMED_UNIT = re.compile(r"(?:^|[_ (\[])(ms|us|ns|milli|micro|nano)(?:s|seconds)?[)\]]?$")
_LOOKS_LIKE_TIME = re.compile(r"\d[-:/.]\d")


def are_times(column: pa.ChunkedArray) -> bool:
    """Return whether a column can say when something happened; a list column has a time for each step."""
    kind = column.type.value_type if is_list(column.type) and not _is_tensor(column.type) else column.type
    if is_text(kind):
        first = next((entry for entry in _flat(column) if entry), "")
        return _LOOKS_LIKE_TIME.search(str(first)) is not None
    return bool(
        pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    )


def rise(column: pa.ChunkedArray, is_new: np.ndarray | None) -> bool:
    """Return whether each time is above the one in the row above it, but where another recording begins."""
    if is_list(column.type) or is_text(column.type):
        return True
    entries = column.combine_chunks()
    if not (pa.types.is_floating(entries.type) or pa.types.is_integer(entries.type)):
        entries = entries.cast(pa.timestamp("us"))
    values = entries.to_numpy(zero_copy_only=False)
    return bool((values[1:] > values[:-1])[_within(is_new)].all())


def repeat(column: pa.ChunkedArray, is_new: np.ndarray | None) -> bool:
    """Return whether a recording has the same time in two rows that follow one another."""
    if is_list(column.type) or len(column) < 2:
        return False
    entries = column.combine_chunks()
    same = pc.equal(entries[1:], entries[:-1]).fill_null(False).to_numpy(zero_copy_only=False)
    return bool(same[_within(is_new)].any())


def _within(is_new: np.ndarray | None) -> np.ndarray | slice:
    return slice(None) if is_new is None else ~is_new


def unit_of(name: str, table: pa.Table) -> str:
    """Return the unit of times that are numbers: by their size if they are since 1970, else by the column's name."""
    if name not in table.column_names:
        return "s"
    values = np.array([entry for entry in _flat(table[name]) if isinstance(entry, int | float)], dtype=np.float64)
    values = values[np.isfinite(values)]
    for unit, factor in UNITS.items():
        if len(values) and values.min() >= EARLIEST * factor and values.max() <= LATEST * factor:
            return unit
    named = _NAMED_UNIT.search(name.lower())
    return {"milli": "ms", "micro": "us", "nano": "ns"}.get(named[1], named[1]) if named and len(values) else "s"


def doubt(name: str, unit: str, table: pa.Table) -> list[str]:
    """Return a remark on numbers that may be years, or days as in Excel and Matlab, instead of seconds since 1970."""
    column = table[name] if name in table.column_names else pa.chunked_array([[]], pa.string())
    if unit != "s" or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return []
    low, high = pc.min_max(column).as_py().values()
    if low is None or not YEARS <= low <= high <= DAYS:
        return []
    return [
        f"the times of column {name!r}, {low:.10g} to {high:.10g}, are taken as seconds since 1970; if they are years or days, "
        "write dates such as 2026-01-31, or read no times (generate.files.columns.time: null)"
    ]


def format_of(name: str, table: pa.Table) -> str | None:
    """Return the format of times that are neither numbers nor ISO 8601, none where no format that is known fits.

    Raises:
        InputError: two formats fit, so that nothing says which number is the day.
    """
    column = table[name].combine_chunks().drop_null() if name in table.column_names else pa.nulls(0)
    is_number = pa.types.is_integer(column.type)
    if not len(column) or not (is_number or is_text(column.type)):
        return None
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    first = texts[0].as_py()
    if is_number:  # 20260301 or 20260301103000
        known = _OF_DIGITS.get(len(first)) if pc.all(pc.match_substring_regex(texts, "^(19|20)")).as_py() else None
        likely = [known] if known else []
    elif _are_iso(texts) or cast_all(texts, pa.float64()) is not None:
        return None
    else:
        likely = [known for known in _FORMATS if _has_signs(first, known) and re.fullmatch(pattern(known), first)]
    fitting = [known for known in likely if (iso := in_iso(texts, known)).null_count == 0 and _are_iso(iso)]
    if len(fitting) > 1:
        raise InputError(
            f"column {name!r}: which number of {first!r} is the day? --time-format '{fitting[0]}' or "
            f"--time-format '{fitting[1]}' says it"
        )
    return fitting[0] if fitting else None


def _has_signs(text: str, time_format: str) -> bool:
    """Return whether what stands between the parts of a time is in a text: to compile all patterns takes seconds."""
    return all(sign in text for sign in re.split("%.", time_format))


def _are_iso(texts: pa.StringArray) -> bool:
    return any(cast_all(texts, pa.timestamp("ns", zone)) is not None for zone in ("UTC", None))


def _flat(column: pa.ChunkedArray) -> list[object]:
    entries = column.combine_chunks()
    if is_list(entries.type) and not _is_tensor(entries.type):
        entries = entries.flatten()
    if pa.types.is_temporal(entries.type):
        return []  # neither numbers nor texts, and Python has no year beyond 9999
    return list(entries.slice(0, 10_000).to_pylist())


def _is_tensor(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.FixedShapeTensorType)
