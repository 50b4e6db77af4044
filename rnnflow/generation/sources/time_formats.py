"""Times in a format of its own, brought into ISO 8601, which Arrow reads strictly: it knows no 31st of February."""

import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.params.time_format import pattern

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def in_iso(texts: pa.StringArray, time_format: str) -> pa.StringArray:
    """Return times that are written in a format of Python's `strptime`; null where one is not."""
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
