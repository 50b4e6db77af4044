"""Which column of a file plays which part, and what its values become."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources import label_table, wide
from rnnflow.generation.sources.layout import PARTS, Layout, Part
from rnnflow.generation.sources.paths import text_of_path
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.values import holds_numbers, is_list, is_text, listed, refuse, refuse_blank
from rnnflow.params.generate import ColumnNames, FilesParams

OPTIONAL = ("group", "time", "split")
TIME_SINCE_LAST_STEP = "time_since_last_step"
_INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls the index of a table."""


def layout(
    location: SourceLocation, schema: pa.Schema, files: FilesParams, below: Path, features: Sequence[str] | None
) -> Layout:
    """Return what the columns are by the params, and by their types where the params say nothing.

    `features` are the names in the params, or in the file itself.

    Raises:
        InputError: a column is missing, or no column holds numbers.
    """
    parts = {name: part for name in PARTS if (part := _part(location, schema, files, below, name)) is not None}
    parts["label"] = replace(parts["label"], trims=files.trim_labels, renamed=files.label_names)
    taken = {part.column for part in parts.values()} | {getattr(files.columns, name) for name in files.ignored}
    free = [name for name in schema.names if name not in taken and not _INDEX.fullmatch(name)]
    if files.layout == "melted":
        return _melted(location, schema, files, parts)
    sequence = files.columns.sequence
    if sequence in free and is_list(schema.field(sequence).type):
        return Layout("sequence", parts, (sequence,))
    if files.layout == "wide":
        steps = wide.steps_of(location.path, free, files.features)
        columns = tuple(name for names in steps.values() for name in names)
        _check_numbers(location, schema, columns)
        return Layout("wide", parts, columns, tuple(steps))
    names = list(features or free)
    _check_numbers(location, schema, names)
    if not names:
        raise location.error(
            f"no column of numbers and no column {files.columns.sequence!r} of sequences; name them in generate.files"
        )
    are_lists = {is_list(schema.field(name).type) for name in names}
    if len(are_lists) > 1:
        raise location.error(f"some of the features {', '.join(names)} are lists and some are not")
    return Layout("features" if are_lists == {True} else "long", parts, tuple(names))


def _melted(location: SourceLocation, schema: pa.Schema, files: FilesParams, parts: dict[str, Part]) -> Layout:
    names = files.columns
    for name in (names.dimension, names.value, names.step):
        if name is not None and name not in schema.names:
            raise location.error(f"column {name!r} is missing, there are {listed(schema.names)}")
    if names.step is None and parts.get("time", Part()).column is None:
        raise location.error("layout melted needs a column of steps or of times; generate.files.columns names it")
    _check_numbers(location, schema, [names.value])
    return Layout("melted", parts, (names.value,), dimension=names.dimension, step=names.step)


def _check_numbers(location: SourceLocation, schema: pa.Schema, names: Sequence[str]) -> None:
    known = set(schema.names)
    for name in names:
        if not name:
            raise location.error("a column has no name; name those to take in generate.files.features")
        if name not in known:
            raise location.error(f"column {name!r} is missing, there are {listed(schema.names)}")
        if not holds_numbers(schema.field(name).type):
            raise location.error(
                f"column {name!r} is {schema.field(name).type}, expected numbers; "
                "name the columns to take in generate.files.features"
            )


def _part(location: SourceLocation, schema: pa.Schema, files: FilesParams, below: Path, part: str) -> Part | None:
    if part in files.ignored:
        return Part(text="") if part == "label" else None
    if part == "label" and files.labels is not None:
        return _of_label_table(location, schema, files, below)
    name = getattr(files.columns, part)
    if name is None:
        return None
    if name in schema.names:
        return Part(column=name)
    if (of_path := text_of_path(below, name)) is not None:
        return Part(text=of_path)
    if part in OPTIONAL and (files.ignored or name == ColumnNames.model_fields[part].default):
        return None
    raise location.error(f"column {name!r} is missing, there are {listed(schema.names)}{_advice(schema, part)}")


def _advice(schema: pa.Schema, part: str) -> str:
    if len(schema.names) == 1 and any(sign in schema.names[0] for sign in ",;\t|"):
        return "; generate.files.delimiter says what stands between two columns"
    if part == "label":
        return "; generate.files.columns.label names the column of classes, generate.files.labels a table of them"
    return "; one recording a file has generate.files.columns.id: path" if part == "id" else ""


def _of_label_table(location: SourceLocation, schema: pa.Schema, files: FilesParams, below: Path) -> Part:
    """Return the class of the file, or where its rows have ids, the table that holds a class for each."""
    assert files.labels is not None
    path = Path(location.path).parents[len(below.parts) - 1] / files.labels.path
    classes = label_table.read(path, files)
    if files.columns.id in schema.names:
        return Part(column=files.columns.id, table=classes.of, table_path=str(path))
    return Part(text=classes.of_file(below))


def text(location: SourceLocation, part: Part, batch: pa.RecordBatch, first_row: int) -> pa.StringArray:
    """Return a part of each row as text.

    Raises:
        InputError: it is missing in a row, or of a type that is no text and no whole number.
    """
    if part.column is None:
        return pa.array([_meaning(part, part.text or "")] * batch.num_rows, pa.string())
    known = _as_text(location, part.column, batch.column(part.column))
    known = pc.utf8_trim_whitespace(known) if part.trims else known
    refuse_blank(location, part.column, known, first_row)
    if part.table is None and not part.renamed:
        return known
    encoded = known.dictionary_encode()
    found = pa.array([_meaning(part, key) for key in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)
    what = f"no class in {part.table_path} for what is in column {part.column!r}"
    refuse(location, first_row, found.is_null(), what)
    return found


def _meaning(part: Part, entry: str) -> str | None:
    """Return what an entry of a file is called in the data set; none if a table of labels does not know it."""
    found = entry if part.table is None else part.table.get(label_table.plain_key(entry))
    if found is None:
        return None
    found = found.strip() if part.trims else found
    return part.renamed.get(found, found)


def _as_text(location: SourceLocation, name: str, column: pa.Array) -> pa.StringArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_known = is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    is_known |= pa.types.is_decimal(kind) and kind.scale == 0  # whole numbers of a database
    if pa.types.is_floating(kind):  # as pandas keeps whole numbers of which one is missing
        column = column.cast(pa.float64())  # Arrow cannot round float16
        is_known = bool(pc.all(pc.equal(pc.round(column), column)).as_py())
        column = column.cast(pa.int64()) if is_known else column
    if not is_known:
        raise location.error(f"column {name!r} is {kind}, expected text or whole numbers")
    return column.cast(pa.string())
