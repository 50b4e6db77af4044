"""How a CSV file is written, from its first lines: delimiter, lines above the names, comments, names, decimals."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.csv_header import MAX_CELL, looks_like_values
from rnnflow.generation.sources.lines import BLANKS
from rnnflow.generation.sources.numbers_in_text import NULLS, NumberFormat
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.runtime.errors import InputError

DELIMITERS = ",;\t|"
COMMENTS = "#%"
PLACEHOLDERS = frozenset(
    {"?", "-", "--", "---", ".", "*", "x", "na", "n.a.", "none", "missing", "unknown", "nil", "nodata"}
)
"""What people write, in any case, where a number is missing."""
NUM_LINES = 200
FEW_GROUPS = 3
"""Cells with groups of three digits, of which fewer may be so by chance."""
LIKELY = 0.5
"""Share of the cells that must be numbers for a column to be one of numbers."""
SIGNS = ",' \u00a0\u202f\u2019"
"""What numbers may hold besides digits and points."""
_SEP = re.compile(r"sep=(.)\s*")
_PLAIN = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)$"


@dataclass
class Dialect:
    """Settings of `generate.files`, and what a person should know of them."""

    delimiter: str = ","
    skip: int = 0
    comment: str | None = None
    names: list[str] | str | None = None
    remarks: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "remarks"}


FORMATS = tuple(
    NumberFormat(*signs) for signs in ((",", None), (",", "."), (".", ","), (",", " "), (".", " "), (".", "'"))
)


def guess_dialect(lines: Sequence[str], delimiter: str | None) -> Dialect:
    """Return how the first lines of a file are written; a person may have said the delimiter."""
    csv.field_size_limit(MAX_CELL)
    found = Dialect(comment=_comment(lines[:NUM_LINES], delimiter))
    if found.comment:
        first = next(line for line in lines if line.startswith(found.comment))
        found.remarks.append(f"lines that begin with {found.comment!r} are left out, the first is {first[:40]!r}")
    content = [
        (index, line)
        for index, line in enumerate(lines[:NUM_LINES])
        if line.strip() and not (found.comment and line.startswith(found.comment))
    ]
    if content and (matched := _SEP.fullmatch(content[0][1])):  # what Excel writes for itself
        found.skip = content[0][0] + 1
        delimiter = delimiter or matched[1]
        content = content[1:]
    texts = [line for _, line in content]
    best = _best_columns(delimiter or DELIMITERS, texts)
    if best.num_columns == 1 and delimiter is None:
        best = _columns(BLANKS, texts)
    found.delimiter = best.delimiter
    if best.num_above:
        found.skip = content[best.num_above - 1][0] + 1
        shown = ", ".join(repr(line[:40]) for _, line in content[: min(3, best.num_above)])
        found.remarks.append(f"the first {found.skip} lines are skipped: {shown}")
    _find_names(found, lines, texts[best.num_above :], best)
    return found


def _comment(lines: Sequence[str], delimiter: str | None) -> str | None:
    """Return what comments begin with; lines with as many columns as the others are rows, whose first cell has the sign."""
    columns = _best_columns(delimiter or DELIMITERS, [line for line in lines if line.strip()])
    for sign in COMMENTS:
        begun = [line for line in lines if line.startswith(sign)]
        num_rows = sum(len(cells) == columns.num_columns for cells in _cells(begun, columns.delimiter))
        if begun and not (num_rows > 1 and 2 * num_rows > len(begun)):
            return sign
    return None


class _Columns(NamedTuple):
    """What a delimiter makes of lines."""

    delimiter: str
    num_columns: int
    num_above: int
    """Lines above the first that has all columns."""
    share: float
    """Of the lines below that have them."""


def _best_columns(delimiters: str, lines: Sequence[str]) -> _Columns:
    found = [_columns(sign, lines) for sign in delimiters]
    return max(found, key=lambda each: (each.num_columns > 1, each.share > 0.9, -each.num_above, each.num_columns))


def _columns(delimiter: str, lines: Sequence[str]) -> _Columns:
    rows = list(_cells(lines, delimiter))
    counts = [len(cells) for cells in rows]
    if not counts:
        return _Columns(delimiter, 0, 0, 0.0)
    usual = Counter(counts[len(counts) // 2 :]).most_common(1)[0][0]
    above = counts.index(usual)
    # A single line with one name too few is no text above the names.
    if usual == 1 or counts[:above] == [usual - 1] != [1] or usual in counts[:above]:
        above = 0
    elif above and counts[above - 1] == usual - 1 and not any(cells[-1] for cells in rows[above:]):
        above -= 1  # the names, without the delimiter that each row ends in
    above += _num_titles(rows[above:])
    below = counts[above:]
    return _Columns(delimiter, usual, above, below.count(usual) / len(below))


def _num_titles(rows: Sequence[Sequence[str]]) -> int:
    """Return how many rows have one cell at most, as the titles that Excel exports, if the names of all columns follow."""
    count = next((index for index, cells in enumerate(rows) if sum(map(bool, cells)) > 1), 0)
    names = rows[count] if rows else []
    return count if len(names) > 2 and all(names) and not looks_like_values(names) else 0


def _cells(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    for line in lines:
        if delimiter == BLANKS:
            yield line.split()
            continue
        try:
            yield from csv.reader([line], delimiter=delimiter)
        except csv.Error:
            yield line.split(delimiter)


def _find_names(found: Dialect, lines: Sequence[str], content: Sequence[str], columns: _Columns) -> None:
    header, following = [*_cells(content[:2], found.delimiter), [], []][:2]
    if not looks_like_values(header, following):
        return
    place = next(index for index, line in enumerate(lines) if line == content[0]) + 1
    above = lines[place - 2] if place > 1 else ""
    if found.comment and above.startswith(found.comment):
        names = [name.strip() for name in next(_cells([above.lstrip(found.comment)], found.delimiter), [])]
        if len(names) == columns.num_columns > 1 and not looks_like_values(names) and len(set(names)) == len(names):
            found.names = names
            found.remarks.append(f"the comment in line {place - 1} names the columns")
            return
    found.names = "numbered"
    found.remarks.append(
        f"line {place} looks like values, so no line names the columns; they are called column_0, column_1 and so on, "
        "generate.files.names gives them better names"
    )


def are_only_groups(cells: pa.Array, sign: str) -> bool:
    """Return whether a sign may stand between thousands: what has it has groups of three digits, what has none no more."""
    texts = pc.utf8_trim_whitespace(cells)
    known = texts.filter(pc.invert(pc.is_in(texts, pa.array(NULLS))))
    has_sign = pc.match_substring(known, sign)
    grouped, whole = known.filter(has_sign), known.filter(pc.invert(has_sign))
    patterns = ((grouped, rf"^[+-]?[1-9]\d{{0,2}}({re.escape(sign)}\d{{3}})+$"), (whole, r"^[+-]?\d{1,3}$"))
    return len(grouped) >= FEW_GROUPS and all(
        len(texts) and pc.all(pc.match_substring_regex(texts, shape)).as_py() for texts, shape in patterns
    )


def number_format(
    location: SourceLocation, columns: Sequence[pa.Array], delimiter: str, decimal: str | None
) -> NumberFormat | None:
    """Return how columns of text write numbers, if most of one's cells are numbers in some format.

    Beside a semicolon as delimiter, commas stand before decimals; a person may have said what does.

    Raises:
        InputError: nothing says what commas mean.
    """
    votes: Counter[NumberFormat] = Counter()
    example: pa.Array = pa.array([], pa.string())
    of_points = next((column for column in columns if are_only_groups(column, ".")), None)
    are_groups = any(are_only_groups(column, ",") for column in columns)
    for column in columns:
        texts = pc.utf8_trim_whitespace(column)
        cells = texts.filter(pc.invert(pc.is_in(texts, pa.array(NULLS))))
        # What is a number as it stands says nothing of a format.
        odd = cells.filter(pc.invert(pc.match_substring_regex(cells, _PLAIN)))
        signed = odd.filter(pc.match_substring_regex(odd, f"[.{SIGNS}]"))
        for known in FORMATS:
            matching = signed.filter(known.matches(signed))
            num_others = len(odd) - len(matching)
            if len(cells) - num_others > LIKELY * len(cells) and len(matching) >= max(1, 0.9 * len(odd)):
                votes[known] += 1
                example = example if len(example) else matching[:1]
    if of_points is not None and decimal is None and not votes and delimiter == ";":
        raise _ambiguous(location, of_points.filter(pc.match_substring(of_points, ".")))
    fitting = {known: count for known, count in votes.items() if decimal in (None, known.decimal)}
    if of_points is not None and (decimal == "," or {known.decimal for known in fitting} == {","}):
        return NumberFormat(",", ".")
    if not fitting:
        return None
    most = max(fitting.values())
    best = [known for known in FORMATS if fitting.get(known) == most]
    are_two = {known.decimal for known in best} == {",", "."}
    if are_two and len({known.values(example)[0].as_py() for known in best}) == 1:
        return next(known for known in best if (known.decimal == ",") == (delimiter == ";"))
    if (delimiter != ";" or are_groups) and are_two:
        raise _ambiguous(location, example)
    return best[0]


def _ambiguous(location: SourceLocation, cells: pa.Array) -> InputError:
    text = cells[0].as_py().strip()
    with_point, with_comma = text.replace(",", ""), text.replace(".", "").replace(",", ".")
    return location.error(f"is {text!r} {with_point} or {with_comma}? --decimal . or --decimal , says it")
