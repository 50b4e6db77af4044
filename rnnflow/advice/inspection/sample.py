"""The first rows of a file, in the types that its values suggest."""

import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from rnnflow.advice.inspection.dialect import (
    SIGNS,
    AmbiguousNumbersError,
    NumberFormat,
    are_only_groups,
    guess_dialect,
    number_format,
    numbers_of,
)
from rnnflow.advice.inspection.names import SYNONYMS, forms_of
from rnnflow.generation.sources.arrays import AXES, LENGTHS, by_split, load_arrays
from rnnflow.generation.sources.bad_rows import torn_row
from rnnflow.generation.sources.csv_files import BAD_CELL
from rnnflow.generation.sources.csv_header import head, lines_of
from rnnflow.generation.sources.files import FORMATS, format_of
from rnnflow.generation.sources.json_lines import first_rows
from rnnflow.generation.sources.lines import LineFilter, open_text
from rnnflow.generation.sources.values import is_list, is_text
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.parquet_bounds import open_footer, written_out
from rnnflow.sequences.parquet_metadata import KEY

CSV_BYTES = 4 * 2**20
SCALAR_ROWS = 100_000
LIST_ROWS = 100
SAMPLE_VALUES = 2**25
FEW_FEATURES = 32
"""A file of arrays may hold (sequence, feature, time) where so few are followed by three times as many."""
CATEGORIES = ("split", "label", "group", "id")


@dataclass(frozen=True)
class Sample:
    """What a guess is made from; without columns where the format says itself what is what."""

    kind: str
    """Of the file: Parquet, CSV, NumPy, ts or ARFF."""
    table: pa.Table
    settings: dict[str, Any] = field(default_factory=dict)
    """Of `generate.files`, as far as the file's format needs them."""
    names_features: bool = False
    """The file is in this project's own format."""
    remarks: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Of arrays."""
    impure: dict[str, str] = field(default_factory=dict)
    """Columns of numbers with a few other texts, and what is to be said of each."""
    placeholders: dict[str, list[str]] = field(default_factory=dict)
    """Texts in them that stand for missing numbers."""

    @property
    def has_lists(self) -> bool:
        return any(is_list(column.type) for column in self.table.schema)


def read_sample(path: Path, delimiter: str | None, decimal: str | None = None) -> Sample:
    """Return the first rows of a file.

    Args:
        path: the file.
        delimiter: of CSV; none finds it out.
        decimal: the same for the sign before decimals.

    Raises:
        InputError: the file cannot be read, or its numbers may be two things.
    """
    kind = FORMATS[format_of(path)][0]
    if kind == "CSV":
        return _of_csv(path, delimiter, decimal)
    if kind == "Parquet":
        return _of_parquet(path)
    if kind == "JSON lines":
        return Sample(kind, first_rows(path))
    return _of_arrays(path) if kind == "NumPy" else Sample(kind, pa.table({}))


def _of_parquet(path: Path) -> Sample:
    footer = open_footer(path)
    schema = footer.schema
    values_a_row = footer.num_values() // max(1, footer.metadata.num_rows)
    repeated = footer.repeated_texts(SCALAR_ROWS)
    try:
        with pq.ParquetFile(path, memory_map=True, read_dictionary=repeated) as parquet:
            num_rows = LIST_ROWS if any(is_list(column.type) for column in schema) else SCALAR_ROWS
            at_once = max(1, min(num_rows, SAMPLE_VALUES // max(1, values_a_row)))
            batches = [written_out(path, batch, repeated) for batch in _first(parquet.iter_batches(at_once))]
            for batch in batches:
                batch.validate(full=True)  # a text may be none
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a complete Parquet file: {' '.join(str(error).split())}") from None
    if twice := [name for index, name in enumerate(schema.names) if name in schema.names[:index]]:
        raise InputError(f"{path}: two columns are called {twice[0]!r}; rename one")
    table = pa.Table.from_batches(batches, None if batches else schema)
    for index, column in enumerate(table.schema):
        if pa.types.is_float16(column.type):  # which Arrow cannot round
            table = table.set_column(index, column.name, table[column.name].cast(pa.float32()))
    return Sample("Parquet", table, names_features=KEY in (schema.metadata or {}))


def _first(batches: Any) -> list[pa.RecordBatch]:
    batch = next(iter(batches), None)
    return [] if batch is None else [batch]


def _of_csv(path: Path, delimiter: str | None, decimal: str | None) -> Sample:
    dialect = guess_dialect(_first_lines(path), "\t" if ".tsv" in path.suffixes else delimiter)
    files = FilesParams.model_validate({"delimiter": dialect.delimiter} | dialect.settings())
    header, rows = head(path, files)
    lines = lines_of(path, files, header, rows)
    if lines.ending:
        dialect.remarks.append(f"each line ends in {lines.ending!r}, which is left out")
    try:
        content = lines.head(CSV_BYTES)
        table = _parsed(content, header, files, [])
        _refuse_bytes(path, table, lines, files)
        floats = [column.name for column in table.schema if pa.types.is_floating(column.type)]
        clocks = [column.name for column in table.schema if pa.types.is_time(column.type)]
        texts = _parsed(content, header, files, floats + clocks)
        for name in floats + clocks:  # 1.234 may be a thousand and more, 10:15 is in a format
            if name in clocks or are_only_groups(texts[name], "."):
                table = table.set_column(table.schema.get_field_index(name), name, texts[name])
    except (pa.ArrowException, OSError) as error:
        what = (
            torn_row(str(error), lines, files.names is None) or f"cannot be read as CSV: {' '.join(str(error).split())}"
        )
        raise InputError(f"{path}: {what}") from None
    # Only empty names can come twice; what is said of the first of them holds for all.
    names = table.column_names
    table = table.select([index for index, name in enumerate(names) if name not in names[:index]])
    sample = Sample("CSV", _with_lists(table), dialect.settings(), remarks=dialect.remarks)
    try:
        return _with_numbers(sample, files, lines, decimal)
    except AmbiguousNumbersError as error:
        text = error.text.strip()
        with_point, with_comma = text.replace(",", ""), text.replace(".", "").replace(",", ".")
        raise InputError(
            f"{path}: is {text!r} {with_point} or {with_comma}? --decimal . or --decimal , says it"
        ) from None


def _parsed(content: bytes, header: list[str], files: FilesParams, texts: list[str]) -> pa.Table:
    """Return rows in the types that their cells suggest, but `texts` as text."""
    return arrow_csv.read_csv(
        io.BytesIO(content),
        # With one thread, messages know the line.
        read_options=arrow_csv.ReadOptions(column_names=header if files.names else None, use_threads=False),
        parse_options=arrow_csv.ParseOptions(delimiter=files.delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string())),
    )


def _refuse_bytes(path: Path, table: pa.Table, lines: LineFilter, files: FilesParams) -> None:
    """Refuse cells that are no UTF-8, which Arrow takes for bytes."""
    for name in [column.name for column in table.schema if pa.types.is_binary(column.type)]:
        for row, cell in enumerate(table[name].to_pylist()):
            if cell is not None and cell.decode(errors="replace").encode() != cell:
                line = lines.number(row + (0 if files.names else 1))
                raise InputError(f"{path}: line {line}: column {name!r} is not UTF-8 text; save the file in UTF-8")


def _first_lines(path: Path) -> list[str]:
    try:
        with io.BufferedReader(open_text(path)) as file:
            content = b"".join(file.readlines(CSV_BYTES // 16))
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    return content.decode("utf-8-sig", errors="replace").splitlines()


def _with_lists(table: pa.Table) -> pa.Table:
    """Return `table` with cells such as `[1, 2]` as lists, the first rows of it."""
    listed = [column.name for column in table.schema if is_text(column.type) and _begins_list(table[column.name])]
    if not listed:
        return table
    table = table.slice(0, LIST_ROWS)
    for name in listed:
        try:
            cells = pa.array([json.loads(cell) if cell else None for cell in table[name].to_pylist()])
        except BAD_CELL:
            continue
        table = table.set_column(table.schema.get_field_index(name), name, cells)
    return table


def _begins_list(column: pa.ChunkedArray) -> bool:
    return len(column) > 0 and str(column[0].as_py() or "").lstrip().startswith("[")


def _with_numbers(sample: Sample, files: FilesParams, lines: LineFilter, decimal: str | None) -> Sample:
    """Return columns of text as numbers where that is what most of their cells are, in whatever format."""
    table = sample.table
    texts = {
        column.name: [str(cell or "") for cell in table[column.name].to_pylist()]
        for column in table.schema
        if is_text(column.type) and not _may_be_category(column.name)
    }
    known = number_format(list(texts.values()), files.delimiter, decimal)
    if known is not None and known.decimal == "," and any(pa.types.is_floating(column.type) for column in table.schema):
        known = None  # other columns have points
    sample.settings.update(known.settings() if known else {})
    for name, cells in texts.items():
        numbers = numbers_of(cells, known or NumberFormat(".", None))
        if numbers is None:
            continue
        if (
            known is not None
            and (row := _first_odd(cells)) is not None
            and (value := numbers.values[row].as_py()) is not None
        ):
            sample.remarks.append(f"column {name!r}: {cells[row]!r} is read as {value:g}")
        table = table.set_column(table.schema.get_field_index(name), name, numbers.values)
        if numbers.others:
            text, row = next(iter(numbers.others.items()))
            line = lines.number(row + (0 if files.names else 1))
            sample.impure[name] = (
                f"column {name!r}: {len(cells) - numbers.num_others:,} of {len(cells):,} cells are numbers, "
                f"first other: {text[:40]!r} in line {line}; generate.files.missing takes such texts as missing"
            )
            sample.placeholders[name] = list(numbers.others) if numbers.are_placeholders else []
    return replace(sample, table=table)


def _first_odd(cells: list[str]) -> int | None:
    """Return the first row that is no number unless its format is known."""
    return next((row for row, cell in enumerate(cells) if any(sign in cell for sign in SIGNS)), None)


def _may_be_category(name: str) -> bool:
    return any(form in SYNONYMS[part] for part in CATEGORIES for form in forms_of(name, part)[:1])


def _of_arrays(path: Path) -> Sample:
    """Return the arrays that have an entry for each sequence, as columns; those of many axes are lists of lists."""
    arrays = load_arrays(path)
    remarks = []
    splits = by_split(arrays)
    shared = [name for name in next(iter(splits.values()), {}) if sum(name in own for own in splits.values()) > 1]
    if shared and not any(array.ndim > 2 for name, array in arrays.items() if not _is_of_split(name)):
        remarks.append(f"arrays of given splits: {', '.join(splits)}")
        rest = {name: array for name, array in arrays.items() if not _is_of_split(name)}
        arrays = {name: arrays[own] for name, own in next(iter(splits.values())).items()} | rest
    known = {
        name: array for name, array in arrays.items() if name != LENGTHS and array.ndim and array.dtype.kind in "fiubU"
    }
    deepest = max(known, key=lambda name: known[name].ndim, default="")
    settings: dict[str, str] = {}
    if deepest and known[deepest].ndim == 3:
        axes = _axes(known[deepest], [*(array for name, array in arrays.items() if name != deepest)], arrays)
        if axes != "sequence-time-feature":
            settings["axes"] = axes
            remarks.append(
                f"array {deepest!r} of {known[deepest].shape} is taken as ({', '.join(axes.split('-'))}); generate.files.axes "
                "says another order"
            )
            known[deepest] = known[deepest].transpose(AXES[axes])
    num_rows = len(known[deepest]) if deepest else 0
    columns = {
        name: pa.array((array[:, 0] if name != deepest and array.shape[1:] == (1,) else array)[:LIST_ROWS].tolist())
        for name, array in known.items()
        if len(array) == num_rows
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    return Sample("NumPy", pa.table(columns), settings, remarks=remarks, shapes=shapes)


def is_features_first(first: int, second: int) -> bool:
    """Return whether two axes are more likely (feature, time) than (time, feature)."""
    return first <= FEW_FEATURES and 3 * first <= second


def _is_of_split(name: str) -> bool:
    return bool(by_split([name]))


def _axes(deepest: np.ndarray, others: list[np.ndarray], arrays: Any) -> str:
    """Return the likely order of an array's axes: labels say how many sequences there are, lengths how many steps."""
    first, second, third = deepest.shape
    counts = {len(array) for array in others if array.ndim}
    if first not in counts and second in counts:
        return "time-sequence-feature"
    longest = int(np.max(arrays[LENGTHS], initial=0)) if LENGTHS in arrays else None
    is_swapped = longest > second if longest is not None else is_features_first(second, third)
    return "sequence-feature-time" if is_swapped else "sequence-time-feature"
