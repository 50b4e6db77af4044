"""What a column says of time."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources import time_formats
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.values import is_text, refuse
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.array_types import Int64
from rnnflow.runtime.errors import InputError

_ZONE = r"\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?P<zone>[Zz]|[+-]\d\d(?::?\d\d)?)$"
LATEST = 2.0**53
"""The year 2255, in microseconds; what lies behind it has another unit. So far float64 knows each of them."""
MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}


@dataclass(frozen=True)
class Times:
    """A column of times."""

    microseconds: Int64[np.ndarray, " row"]
    """Since 1970 in UTC."""
    has_zone: bool
    """Those without one are taken as UTC."""


def read_times(location: SourceLocation, name: str, column: pa.Array, files: FilesParams, first_row: int) -> Times:
    """Return what a column says of time.

    Raises:
        InputError: one is missing or no time, or some have a zone and others have none.
    """
    empty = pc.or_kleene(column.is_null(), pc.equal(column, "")) if is_text(column.type) else column.is_null()
    refuse(location, first_row, empty, f"column {name!r} is empty")
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(column.type):
        stamps = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        return _in_utc(location, name, stamps, files)
    if pa.types.is_duration(column.type) or pa.types.is_time(column.type):
        to = pa.duration("us") if pa.types.is_duration(column.type) else pa.time64("us")
        return Times(column.cast(to, safe=False).view(pa.int64()).to_numpy(), has_zone=False)
    if files.time_format is not None:
        return _stamps(location, name, column.cast(pa.string()), files, first_row)
    unit = files.time_unit
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return Times(_microseconds(location, name, column, unit, first_row), has_zone=False)
    if not is_text(column.type):
        raise InputError(f"{location.path}: column {name!r} is {column.type}, expected times")
    column = column.cast(pa.string())
    for zone in (None, "UTC"):  # what is plain ISO 8601, all of it with a zone or none, needs no regular expressions
        if (stamps := _parsed(column, pa.timestamp("us", zone))) is not None:
            return _in_utc(location, name, stamps, files)
    try:
        plain = pc.replace_substring(column, files.decimal, ".").cast(pa.float64())
        return Times(_microseconds(location, name, plain, unit, first_row), has_zone=False)
    except pa.ArrowInvalid:
        return _stamps(location, name, column, files, first_row)


def _microseconds(location: SourceLocation, name: str, column: pa.Array, unit: str, first_row: int) -> np.ndarray:
    known = column.to_numpy(zero_copy_only=False).astype(np.float64) * MICROSECONDS[unit]
    with np.errstate(invalid="ignore"):
        is_odd = ~(np.abs(known) < LATEST)
    if is_odd.any():
        text = column[int(is_odd.argmax())].as_py()
        what = f"column {name!r} is no time in {unit} since 1970: {text!r}; generate.files.time_unit or time_format says it"
        refuse(location, first_row, is_odd, what)
    if pa.types.is_integer(column.type) and MICROSECONDS[unit] >= 1:
        return column.cast(pa.int64()).to_numpy() * int(MICROSECONDS[unit])
    return np.rint(known).astype(np.int64)


def _stamps(location: SourceLocation, name: str, texts: pa.StringArray, files: FilesParams, first_row: int) -> Times:
    column = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r" ?UTC$", "Z")
    if files.time_format is not None:
        column = time_formats.in_iso(column, files.time_format)
    zones = pc.struct_field(pc.extract_regex(column, _ZONE), 0)
    has_zone = zones.is_valid().to_numpy(zero_copy_only=False)
    kind = pa.timestamp("ns" if _has_nanoseconds(column) else "us", "UTC" if has_zone.any() else None)
    stamps = _parsed(column, kind)
    is_odd = has_zone & False if stamps is not None else np.array([_parsed(entry, kind) is None for entry in column])
    if is_odd.any() and not (has_zone.any() and not has_zone[is_odd].all()):
        text = texts[int(is_odd.argmax())].as_py()[:40]
        tried = f"the format {files.time_format!r}" if files.time_format else f"a number of {files.time_unit}, ISO 8601"
        advice = (
            "generate.files.time_format says another one, such as '%d.%m.%Y %H:%M:%S', columns.time: null reads none"
        )
        refuse(location, first_row, is_odd, f"column {name!r} is no time: {text!r}; tried {tried}; {advice}")
    if has_zone.any() and not has_zone.all():
        odd, what = (~has_zone, "has no time zone") if has_zone[0] else (has_zone, "has a time zone")
        refuse(location, first_row, odd, f"column {name!r} {what}, unlike the rows above")
    assert stamps is not None
    return _in_utc(location, name, stamps.cast(pa.timestamp("us", kind.tz), safe=False), files)


def _in_utc(location: SourceLocation, name: str, stamps: pa.TimestampArray, files: FilesParams) -> Times:
    """Return times as they are, or those without a zone in the one that the params name."""
    if stamps.type.tz is None and files.time_zone is not None:
        try:
            stamps = pc.assume_timezone(stamps, files.time_zone)
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{location.path}: column {name!r}: {reason}; write times in UTC, or with their offset"
            ) from None
    return Times(stamps.view(pa.int64()).to_numpy(), has_zone=stamps.type.tz is not None)


def _has_nanoseconds(column: pa.StringArray) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, r"\.\d{7}")).as_py())


def _parsed(texts: pa.StringArray | pa.StringScalar, kind: pa.DataType) -> pa.TimestampArray | pa.Scalar | None:
    """Return texts as times; none where one is no time of this kind, or null."""
    try:
        times = texts.cast(kind)
    except pa.ArrowInvalid:
        return None
    is_whole = times.null_count == 0 if isinstance(times, pa.Array) else times.is_valid
    return times if is_whole else None
