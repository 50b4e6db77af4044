"""CSV files, block after block: one row per time step, or cells such as `[1.5, 2.5]` with a sequence each."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from rnnflow.generation.sources.bad_rows import BadRow, SetAside, TornRows
from rnnflow.generation.sources.csv_header import delimiter_of, head, lines_of
from rnnflow.generation.sources.lines import MAX_LINE
from rnnflow.generation.sources.numbers_in_text import NULLS, NumberFormat, parsed
from rnnflow.generation.sources.paths import text_of_path
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.source_file import SourceTable
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError

BLOCK_BYTES = MAX_LINE
BAD_CELL = (ValueError, TypeError, OverflowError, RecursionError, pa.ArrowException)
"""What a cell that is no list of numbers raises: 10^400 overflows, ten thousand brackets are nested too deeply."""
NUMBERS = pa.list_(pa.float64())
STEPS = pa.list_(NUMBERS)
LIST = re.compile(r"\s*\[\s*([][+\-.\d]|nan|null)", re.IGNORECASE)
"""What begins a list, as a unit such as `[m/s]` does not."""
_NUMBER = re.compile(r"\s*[+-]?\d+([.,]\d*)?\s*")
_BAD_VALUE = re.compile(r"In CSV column #(\d+): Row #(\d+): CSV conversion error to \w+: (.*)", re.DOTALL)
_TORN = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
_CURES = {
    '"': "blanks before a quotation mark make it part of the cell; remove them",
    "'": "only double quotation marks are left out around a cell; replace them",
    "\u2212": "the sign before it is U+2212; replace it by a hyphen",
    r"(\d[ ;,|]+[+-]?(?=\d)[\d.]*?){4}": "a list of numbers is written as [1.5, 2]",
}
"""By what texts hold that are no numbers."""


def read_csv(
    path: Path, below: Path, files: FilesParams, set_aside: SetAside | None = None, as_text: bool = False
) -> SourceTable:
    """Return what a CSV file holds, or as text how its cells are written.

    What `set_aside` takes are rows that cannot be read; their recordings lack a step or a value and have to be left out. Without
    it the first of them is an error.

    Raises:
        InputError: it is empty or no UTF-8, or its columns do not fit the params.
    """
    file = _CsvFile(path, below, files, set_aside, as_text)
    return SourceTable(file.location, file.schema, file.batches)


def _kind(cell: str) -> pa.DataType:
    if LIST.match(cell):
        return STEPS if cell.lstrip()[1:].lstrip().startswith("[") else NUMBERS
    return pa.bool_() if cell.strip().lower() in ("true", "false") else pa.float64()


class _CsvFile:
    """Reads one file and knows the line of each row."""

    def __init__(self, path: Path, below: Path, files: FilesParams, set_aside: SetAside | None, as_text: bool) -> None:
        self.path = path
        self.location = SourceLocation(str(path), lambda row: f"line {self.line(row)}")
        self.files = files
        self.set_aside = set_aside
        header, row = head(path, files)
        self.lines = lines_of(path, files, header, row)
        columns = files.columns
        texts = {columns.id, columns.label, columns.group, columns.time, columns.split} - set(files.features or ())
        texts |= {columns.dimension} if files.layout == "melted" else set()
        texts |= set(header) if as_text else set()
        cells = dict(zip(header, row, strict=False))
        self.kinds = {name: pa.string() if name in texts else _kind(cells.get(name, "")) for name in header}
        self.schema = pa.schema([(name, self.kinds[name]) for name in header])
        # Numbers are read as text first because of thousands, or to find those that are none.
        converted = {STEPS, NUMBERS} | ({pa.float64()} if files.thousands is not None or set_aside else set())
        self.read_as = {name: pa.string() if kind in converted else kind for name, kind in self.kinds.items()}
        self.format = NumberFormat(files.decimal, files.thousands)
        self.num_headings = 0 if files.names else 1
        self.has_ids = columns.id in header
        self.stem = None if self.has_ids else text_of_path(below, columns.id)
        self.are_sequences = files.layout == "wide" or any(map(pa.types.is_list, self.kinds.values()))
        self.torn = TornRows(self.num_headings)
        self.lines.look_at_comment = self._refuse_row

    def line(self, row: int) -> int:
        return self._line_of_any(row + self.torn.num_above(row))

    def batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        num_rows = 0
        try:
            for batch in self._reader(names):
                self._refuse_repeated_names(batch, num_rows)
                if self.has_ids:
                    self.torn.look_at(batch.column(self.files.columns.id), num_rows)
                columns = [self._converted(name, batch, num_rows) for name in names]
                yield pa.RecordBatch.from_arrays(columns, names)
                num_rows += batch.num_rows
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise InputError(f"{self.path}: {self._explanation(str(error))}") from None
        if self.lines.num_kept != num_rows + len(self.torn.rows) + self.num_headings:
            line = lines_of(self.path, self.files, [], []).open_quote()
            place = f"line {line}: " if line else ""
            raise InputError(
                f"{self.path}: {place}a quotation mark is not closed, or a cell holds a line break: {self.lines.num_kept:,} "
                f"lines are {num_rows + self.num_headings:,} rows; close it, or leave the break out"
            )
        if self.set_aside:
            self.torn.set_aside(self.set_aside, self._line_of_any, self.are_sequences)

    def _line_of_any(self, row: int) -> int:
        return self.lines.number(row + self.num_headings)

    def _refuse_row(self, comment: str, line: int) -> None:
        """Refuse what is left out as a comment and has the columns of a row: an id or a class may begin with the sign."""
        cells = comment.split(delimiter_of(self.path, self.files))
        if len(cells) == len(self.schema) and any(map(_NUMBER.fullmatch, cells[1:])):
            raise InputError(
                f"{self.path}: line {line} begins as a comment and is like a row, {comment[:40]!r}; remove it, or the sign before "
                "it, or set generate.files.comment: null"
            )

    def _refuse_repeated_names(self, batch: pa.RecordBatch, first_row: int) -> None:
        """Two files that were joined hold the line of names twice; as a row it would be a recording of its own."""
        texts = [name for name in batch.schema.names if pa.types.is_string(self.kinds[name])]
        are_names = [
            pc.equal(batch.column(name), name).fill_null(False).to_numpy(zero_copy_only=False) for name in texts
        ]
        repeats = np.flatnonzero(np.logical_and.reduce(are_names)) if texts else np.empty(0)
        if len(repeats):
            line = self.line(first_row + int(repeats[0]))
            raise InputError(f"{self.path}: {self._no_number(line, texts[0], texts[0])}")

    def _reader(self, names: list[str]) -> arrow_csv.CSVStreamingReader:
        files = self.files
        return arrow_csv.open_csv(
            self.lines,
            # With one thread, messages know the line.
            read_options=arrow_csv.ReadOptions(
                block_size=BLOCK_BYTES, use_threads=False, column_names=None if self.num_headings else self.schema.names
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter_of(self.path, files),
                newlines_in_values=True,
                invalid_row_handler=self.torn.leave_out if self.set_aside and self.has_ids else None,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: self.read_as[name] for name in names},
                include_columns=names,
                decimal_point=files.decimal,
                null_values=[*NULLS, *files.missing],
            ),
        )

    def _converted(self, name: str, batch: pa.RecordBatch, first_row: int) -> pa.Array:
        kind, cells = self.kinds[name], batch.column(name)
        if kind == self.read_as[name]:
            return cells
        is_list = pa.types.is_list(kind)
        return lists(self.location, name, cells, kind, first_row) if is_list else self._numbers(name, batch, first_row)

    def _numbers(self, name: str, batch: pa.RecordBatch, first_row: int) -> pa.Array:
        """Return numbers such as `1.234,5`; null where one is none and is set aside."""
        values, is_other = parsed(batch.column(name), self.format, self.files.missing)
        for row in np.flatnonzero(is_other.to_numpy(zero_copy_only=False)):
            self._refuse_cell(name, batch, int(row), first_row)
        return values

    def _refuse_cell(self, name: str, batch: pa.RecordBatch, row: int, first_row: int) -> None:
        line, text = self.line(first_row + row), batch.column(name)[row].as_py()
        if self.set_aside is None or not (self.has_ids or self.are_sequences):
            raise InputError(f"{self.path}: {self._no_number(line, name, text)}")
        recording = str(batch.column(self.files.columns.id)[row]) if self.has_ids else f"{self.stem}#{first_row + row}"
        self.set_aside(BadRow(recording, line, name, text, "expected a number"))

    def _no_number(self, line: int, name: str, text: str) -> str:
        if text.strip() == name:
            return f"line {line} repeats the names of the columns; remove it"
        cure = next((cure for sign, cure in _CURES.items() if re.search(sign, text[:200])), "")
        cure = cure or (
            ("remove the line if it holds units or names; " if line == self.line(0) else "")
            + "generate.files.features names the columns to take, generate.files.missing the texts of missing numbers"
        )
        return f"line {line}: column {name!r}: expected a number, got {text[:40]!r}; {cure}"

    def _explanation(self, message: str) -> str:
        if bad := _BAD_VALUE.search(message):
            name, line, what = self.schema.names[int(bad[1])], self.lines.number(int(bad[2]) - 1), bad[3]
            if "UTF8" in what:
                return f"line {line}: column {name!r} is not UTF-8 text; save the file in UTF-8"
            return self._no_number(line, name, what.removeprefix("invalid value ")[1:-1])
        if torn := _TORN.search(message):
            first = "the first line has" if self.num_headings else "expected"
            place = f"line {self.lines.number(int(torn[1]) - 1)}: {torn[3]} columns, {first} {torn[2]}"
            return f"{place}; remove what is no row, part lines that ran together, quote cells that hold a delimiter"
        if "invalid UTF8" in message:
            return "not UTF-8 text; save the file in UTF-8"
        return f"cannot be read as CSV: {' '.join(message.split())}"


def lists(location: SourceLocation, name: str, cells: pa.Array, kind: pa.DataType | None, first_row: int) -> pa.Array:
    """Return lists that are written as in JSON, or as Python prints them.

    Raises:
        InputError: one is no list of numbers.
    """
    texts = [text and text.replace("nan", "NaN").replace("None", "null") for text in cells.to_pylist()]
    try:
        return pa.array([json.loads(text) if text else None for text in texts], kind)
    except BAD_CELL:
        bad = next(row for row, text in enumerate(texts) if not _is_list(text, kind))
        raise location.error(
            f"{location.place(first_row + bad)}: column {name!r}: expected a list of numbers such as [1.5, 2], got "
            f"{texts[bad][:40]!r}"
        ) from None


def _is_list(text: str, kind: pa.DataType | None) -> bool:
    try:
        pa.array([json.loads(text) if text else None], kind)
    except BAD_CELL:
        return False
    return True
