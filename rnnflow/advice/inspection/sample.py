"""The first rows of a file, in the types that its values suggest."""

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.advice.inspection.dialect import (
    LIKELY,
    PLACEHOLDERS,
    SIGNS,
    Dialect,
    are_only_groups,
    guess_dialect,
    number_format,
)
from rnnflow.advice.inspection.names import SYNONYMS, forms_of
from rnnflow.generation.sources.arrays import AXES, LENGTHS, by_split, load_arrays
from rnnflow.generation.sources.csv_files import LIST, lists, read_csv
from rnnflow.generation.sources.csv_header import head, lines_of
from rnnflow.generation.sources.files import FORMATS, format_of
from rnnflow.generation.sources.json_lines import first_rows
from rnnflow.generation.sources.lines import open_text
from rnnflow.generation.sources.numbers_in_text import NULLS, NumberFormat, parsed
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.source_file import SourceTable
from rnnflow.generation.sources.times import cast_all
from rnnflow.generation.sources.values import is_list, is_text
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import library

HEAD_BYTES = 2**18
SAMPLE_BYTES = 2**23
SCALAR_ROWS = 100_000
LIST_ROWS = 100
KINDS = (pa.int64(), pa.bool_(), pa.float64(), pa.date32(), pa.timestamp("s"), pa.timestamp("ns"))
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
    impure: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Columns of numbers with a few other texts: what is to be said of each, and the texts if they stand for missing numbers."""

    @property
    def has_lists(self) -> bool:
        return any(is_list(column.type) for column in self.table.schema)


def read_sample(path: Path, delimiter: str | None, decimal: str | None = None) -> Sample:
    """Return the first rows of a file; what is not said of a CSV file is found out.

    Raises:
        InputError: the file cannot be read, or its numbers may be two things.
    """
    kind, read = FORMATS[format_of(path)]
    if kind == "CSV":
        return _of_csv(path, delimiter, decimal)
    if kind == "Parquet":
        table = read(path, Path(path.name), FilesParams())
        return Sample(kind, _first_rows(table), names_features=table.features is not None)
    if kind == "JSON lines":
        return Sample(kind, first_rows(path))
    return _of_arrays(path) if kind == "NumPy" else Sample(kind, pa.table({}))


def _first_rows(table: SourceTable) -> pa.Table:
    """Return some rows of all columns; of empty names, which alone can come twice, one stands for all."""
    fields = {field.name: field for field in table.schema}
    batch = next(iter(table.batches(list(fields))), None)
    found = pa.Table.from_batches(
        [] if batch is None else [batch], pa.schema(fields.values()) if batch is None else None
    )
    for index, column in enumerate(found.schema):
        if pa.types.is_float16(column.type):  # which Arrow cannot round
            found = found.set_column(index, column.name, found[column.name].cast(pa.float32()))
    num_rows = LIST_ROWS if any(is_list(column.type) for column in found.schema) else SCALAR_ROWS
    return found.slice(0, max(1, min(num_rows, SAMPLE_BYTES * len(found) // max(1, found.nbytes))))


def first_cells(path: Path) -> dict[str, str]:
    """Return the cells of a file's first row by column, as they are written.

    Raises:
        InputError: the file cannot be read.
    """
    if FORMATS[format_of(path)][0] == "CSV":
        return dict(zip(*head(path, _dialect(path, None)[1]), strict=False))
    return {
        name: str(entry) for row in read_sample(path, None).table.slice(0, 1).to_pylist() for name, entry in row.items()
    }


def _dialect(path: Path, delimiter: str | None) -> tuple[Dialect, FilesParams]:
    with library(f"{path}: cannot be read"), io.BufferedReader(open_text(path)) as file:
        lines = b"".join(file.readlines(HEAD_BYTES)).decode("utf-8-sig", errors="replace").splitlines()
    dialect = guess_dialect(lines, "\t" if ".tsv" in path.suffixes else delimiter)
    return dialect, FilesParams.model_validate(dialect.settings())


def _of_csv(path: Path, delimiter: str | None, decimal: str | None) -> Sample:
    dialect, files = _dialect(path, delimiter)
    if ending := lines_of(path, files, *head(path, files)).ending:
        dialect.remarks.append(f"each line ends in {ending!r}, which is left out")
    source = read_csv(path, Path(path.name), files, as_text=True)
    texts = _first_rows(source)
    table = pa.table({name: _typed(texts[name].combine_chunks()) for name in texts.column_names})
    sample = Sample("CSV", _with_lists(table, source.location), dialect.settings(), remarks=dialect.remarks)
    return _with_numbers(sample, files.delimiter, source.location, decimal)


def _typed(cells: pa.Array) -> pa.Array:
    """Return cells in the first type that all of them have; but 1.234 in all may be a thousand and more."""
    plain = pc.utf8_trim_whitespace(cells)
    plain = pc.if_else(pc.is_in(plain, pa.array(NULLS)), pa.scalar(None, pa.string()), plain)
    if plain.null_count == len(plain):
        return pa.nulls(len(plain))
    for kind in KINDS:
        is_open = pa.types.is_floating(kind) and are_only_groups(cells, ".")
        if not is_open and (found := cast_all(plain, kind)) is not None:
            return found
    return cells


def _with_lists(table: pa.Table, location: SourceLocation) -> pa.Table:
    """Return a table with cells such as `[1, 2]` as lists, the first rows of it."""
    texts = [column.name for column in table.schema if is_text(column.type) and len(table)]
    listed = [name for name in texts if LIST.match(table[name][0].as_py() or "")]
    table = table.slice(0, LIST_ROWS) if listed else table
    for name in listed:
        cells = lists(location, name, table[name].combine_chunks(), None, 0)
        table = table.set_column(table.schema.get_field_index(name), name, cells)
    return table


def _with_numbers(sample: Sample, delimiter: str, location: SourceLocation, decimal: str | None) -> Sample:
    """Return columns of text as numbers where that is what most of their cells are, in whatever format."""
    table = sample.table
    names = [column.name for column in table.schema if is_text(column.type) and not _may_be_category(column.name)]
    texts = {name: table[name].combine_chunks() for name in names}
    known = number_format(location, list(texts.values()), delimiter, decimal)
    if known is not None and known.decimal == "," and any(pa.types.is_floating(column.type) for column in table.schema):
        known = None  # other columns have points
    sample.settings.update(vars(known or NumberFormat()))
    for name, cells in texts.items():
        values, is_other = parsed(cells, known or NumberFormat())
        other_rows = np.flatnonzero(is_other.to_numpy(zero_copy_only=False))
        num_known = len(values) - values.null_count
        if num_known <= LIKELY * (num_known + len(other_rows)):
            continue
        table = table.set_column(table.schema.get_field_index(name), name, values)
        is_odd = pc.match_substring_regex(cells, f"[{SIGNS}]")  # no number unless its format is known
        row = pc.index(is_odd, True).as_py()
        if known is not None and row >= 0 and values[row].is_valid:
            sample.remarks.append(f"column {name!r}: {cells[row].as_py()!r} is read as {values[row].as_py():g}")
        if len(other_rows):
            others = list(dict.fromkeys(cells.take(pa.array(other_rows)).to_pylist()))
            are_units = len(other_rows) == 1 and other_rows[0] == 0
            remark = (
                f"column {name!r}: {len(cells) - len(other_rows):,} of {len(cells):,} cells are numbers, first other: "
                f"{others[0][:40]!r} in {location.place(int(other_rows[0]))}; "
                f"{'if it is a unit, remove the line; ' if are_units else ''}generate.files.missing takes such texts as missing"
            )
            are_placeholders = all(text.strip().lower() in PLACEHOLDERS for text in others)
            sample.impure[name] = remark, others if are_placeholders else []
    return replace(sample, table=table)


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
