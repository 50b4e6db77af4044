"""The first lines of a CSV file: the names of its columns, and what the cells below tell of its lines."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.lines import BLANKS, MAX_LINE, LineFilter
from rnnflow.generation.sources.wide import place_of
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError

MAX_CELL = MAX_LINE
"""Characters."""
_VALUE = re.compile(
    r"\s*[+-]?[\d.,' ]*\d[\d.,' ]*(e[+-]?\d+)?\s*|\[.*|\s*\d{4}-\d\d-\d\d\b.*|\?+|-+|nan|na|n/a|null", re.IGNORECASE
)
"""Of a column, and no name for one."""
FEW_STEPS, MANY_STEPS = 3, 8
EVEN = 1.2
"""Of the longest gap to the shortest: months are of 28 to 31 days."""
_ENDED = re.compile(r"\s*[+-]?[\d.,]*\d(e[+-]?\d+)?;", re.IGNORECASE)


def delimiter_of(path: Path, files: FilesParams) -> str:
    return "\t" if ".tsv" in path.suffixes else files.delimiter


def head(path: Path, files: FilesParams) -> tuple[list[str], list[str]]:
    """Return the names of the columns and the cells of the first row, if there is one.

    Raises:
        InputError: the file is empty or no UTF-8 text, names are missing, or two columns have the same one.
    """
    csv.field_size_limit(MAX_CELL)
    lines = LineFilter(path, files.skip, files.comment, files.delimiter == BLANKS)
    try:
        with lines.texts() as texts:
            rows = [*islice(filter(None, csv.reader(texts, delimiter=delimiter_of(path, files))), 2)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected CSV in UTF-8: {error}; save the file in UTF-8") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not rows:
        raise InputError(f"{path}: empty, expected a line with the names of the columns")
    first, following = [*rows, []][:2]
    if files.names is None:
        return _checked(path, first, following, files.skip), following
    names = [f"column_{index}" for index in range(len(first))] if files.names == "numbered" else files.names
    if len(names) != len(first):
        raise InputError(f"{path}: line {files.skip + 1}: {len(first)} cells, generate.files.names has {len(names)}")
    return names, first


def lines_of(path: Path, files: FilesParams, header: Sequence[str], row: Sequence[str]) -> LineFilter:
    """Return the lines for Arrow to read; the first row may end as in `0.5,1.2,-0.3;`, or with a delimiter that the names lack."""
    delimiter, ending = delimiter_of(path, files), ""
    if row and delimiter != ";" and _ENDED.fullmatch(row[-1]):
        ending = ";"
    elif row and len(row) == len(header) + 1 and not row[-1]:
        ending = delimiter
    return LineFilter(path, files.skip, files.comment, files.delimiter == BLANKS, ending)


def _checked(path: Path, header: list[str], following: list[str], skip: int) -> list[str]:
    if looks_like_values(header, following):
        raise InputError(
            f"{path}: line {skip + 1} looks like values, expected the names of the columns; generate.files.names gives them"
        )
    if repeated := [name for name, count in Counter(header).items() if count > 1 and name]:
        raise InputError(
            f"{path}: line {skip + 1}: two columns are called {repeated[0]!r}; rename one, or skip the line "
            "(generate.files.skip) and give generate.files.names"
        )
    return header


def looks_like_values(header: Sequence[str], following: Sequence[str] = ()) -> bool:
    """Return whether a line that should hold names holds values; steps may be called 0, 1, 2 and so on, or by their dates.

    A name does not stand above itself, in the line that follows.
    """
    if any(cell and cell == below for cell, below in zip(header, following, strict=False)):
        return True
    values = [cell.strip() for cell in header if _VALUE.fullmatch(cell)]
    return bool(values) and not _are_steps(values)


def _are_steps(names: Sequence[str]) -> bool:
    """Return whether numbers or dates are the names of steps: they begin with 0 or 1, or are many, and rise evenly."""
    places = [place_of(name) for name in names]
    if len(places) < FEW_STEPS or None in places:
        return False
    gaps = np.diff(np.array(places, np.float64))
    are_even = (gaps > 0).all() and gaps.max() < EVEN * gaps.min()
    return bool(are_even and (len(places) >= MANY_STEPS or (places[0] in (0, 1) and gaps[0] == 1)))
