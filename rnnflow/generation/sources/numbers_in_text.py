"""Numbers as people write them: decimals after a point or a comma, and signs between thousands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

NULLS = arrow_csv.ConvertOptions().null_values
_THOUSANDS = {" ": "[ \u00a0\u202f]", "'": "['\u2019]"}
"""Signs that are printed in several ways; a blank may be one that breaks no line."""


@dataclass(frozen=True)
class NumberFormat:
    """The signs in numbers, as `generate.files` has them."""

    decimal: str = "."
    thousands: str | None = None

    def matches(self, texts: pa.Array) -> pa.BooleanArray:
        """Return which texts are numbers, null where one is null."""
        decimal = re.escape(self.decimal)
        grouped = rf"[1-9]\d{{0,2}}({self._between}\d{{3}})+|" if self.thousands else ""
        shape = rf"^[+-]?(({grouped}\d+)({decimal}\d*)?|{decimal}\d+)([eE][+-]?\d+)?$"
        return pc.match_substring_regex(texts, shape)

    def values(self, numbers: pa.Array) -> pa.Array:
        """Return what numbers in this format are."""
        plain = pc.replace_substring_regex(numbers, self._between, "") if self.thousands else numbers
        return pc.replace_substring(plain, self.decimal, ".").cast(pa.float64())

    @property
    def _between(self) -> str:
        return _THOUSANDS.get(self.thousands or "", re.escape(self.thousands or ""))


def parsed(cells: pa.Array, known: NumberFormat, missing: Sequence[str] = ()) -> tuple[pa.Array, pa.BooleanArray]:
    """Return the numbers of a column of text, null where there is none, and which texts stand for neither number nor null."""
    texts = pc.utf8_trim_whitespace(cells)
    texts = pc.if_else(pc.is_in(texts, pa.array([*NULLS, *missing])), pa.scalar(None, pa.string()), texts)
    is_number = known.matches(texts)
    is_other = pc.invert(is_number).fill_null(False)
    return known.values(pc.if_else(is_number, texts, pa.scalar(None, pa.string()))), is_other
