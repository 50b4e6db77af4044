"""What a column says of time."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.values import is_text, refuse, refuse_blank
from rnnflow.params.generate import FilesParams
from rnnflow.params.time_format import pattern
from rnnflow.runtime.array_types import Int64

_ZONE = r"\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?P<zone>[Zz]|[+-]\d\d(?::?\d\d)?)$"
LATEST = 2.0**53
"""The year 2255, in microseconds; what lies behind it has another unit. So far float64 knows each of them."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
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
    refuse_blank(location, name, column, first_row)
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
        raise location.error(f"column {name!r} is {column.type}, expected times")
    column = column.cast(pa.string())
    for zone in (None, "UTC"):  # what is plain ISO 8601, all of it with a zone or none, needs no regular expressions
        if (stamps := cast_all(column, pa.timestamp("us", zone))) is not None:
            return _in_utc(location, name, stamps, files)
    plain = cast_all(pc.replace_substring(column, files.decimal, "."), pa.float64())
    if plain is None:
        return _stamps(location, name, column, files, first_row)
    return Times(_microseconds(location, name, plain, unit, first_row), has_zone=False)


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
        column = in_iso(column, files.time_format)
    zones = pc.struct_field(pc.extract_regex(column, _ZONE), 0)
    has_zone = zones.is_valid().to_numpy(zero_copy_only=False)
    has_nanoseconds = pc.any(pc.match_substring_regex(column, r"\.\d{7}")).as_py()
    kind = pa.timestamp("ns" if has_nanoseconds else "us", "UTC" if has_zone.any() else None)
    stamps = None if column.null_count else cast_all(column, kind)
    is_odd = has_zone & False
    if stamps is None:
        is_odd = np.array([not each.is_valid or cast_all(pa.array([each]), kind) is None for each in column])
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
            raise location.error(f"column {name!r}: {reason}; write times in UTC, or with their offset") from None
    return Times(stamps.view(pa.int64()).to_numpy(), has_zone=stamps.type.tz is not None)


def cast_all(texts: pa.StringArray, kind: pa.DataType) -> pa.Array | None:
    """Return texts in another type, null where they are null; none where one cannot be of that type."""
    try:
        texts.drop_null()[:1].cast(kind)  # Arrow would word an error for each of a million
        found = texts.cast(kind)
    except pa.ArrowInvalid:
        return None
    return found if found.null_count == texts.null_count else None


def in_iso(texts: pa.StringArray, time_format: str) -> pa.StringArray:
    """Return times in a format of Python's `strptime` as ISO 8601, null where one is not written so.

    Arrow reads ISO 8601 strictly: it knows no 31st of February.
    """
    found = pc.extract_regex(texts, f"^{pattern(time_format)}$")
    parts = {field.name: pc.struct_field(found, index) for index, field in enumerate(found.type)}
    if "y" in parts:  # 00 to 68 are of this century, as in POSIX
        is_late = pc.greater(parts["y"].cast(pa.int8()), 68)
        parts["Y"] = pc.binary_join_element_wise(pc.if_else(is_late, "19", "20"), parts["y"], "")
    if "b" in parts:
        parts["m"] = _text(pc.add(pc.index_in(pc.utf8_lower(parts["b"]), pa.array(MONTHS)), 1))
    if "I" in parts:
        hours = parts["I"].cast(pa.int8())
        is_pm = pc.equal(pc.utf8_lower(parts["p"]), "pm")
        past_noon = pc.if_else(pc.equal(hours, 12), pc.subtract(hours, 12), hours)
        parts["H"] = _text(
            pc.if_else(
                pc.is_in(hours, pa.array(range(1, 13), pa.int8())),
                pc.add(past_noon, pc.if_else(is_pm, pa.scalar(12, pa.int8()), pa.scalar(0, pa.int8()))),
                None,
            )
        )
    date = "1970-01-01"  # of a clock's times
    if "d" in parts:
        date = pc.binary_join_element_wise(parts["Y"], *(_padded(parts[name]) for name in "md"), "-")
    clock = pc.binary_join_element_wise(*(_padded(parts.get(name, "00")) for name in "HMS"), ":")
    fraction = pc.binary_join_element_wise(".", parts["f"], "") if "f" in parts else ""
    return pc.binary_join_element_wise(date, "T", clock, fraction, parts.get("z", ""), "")


def _padded(numbers: pa.StringArray | str) -> pa.StringArray | str:
    return numbers if isinstance(numbers, str) else pc.utf8_lpad(numbers, 2, "0")


def _text(numbers: pa.Array) -> pa.StringArray:
    return numbers.cast(pa.string())
