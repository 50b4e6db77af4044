"""Which column of a file plays which part, and what its values become."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from rnnflow.generation.sources import label_table, wide
from rnnflow.generation.sources.paths import levels
from rnnflow.generation.sources.steps import Origin
from rnnflow.params.generate import ColumnNames, FilesParams
from rnnflow.runtime.errors import InputError

PARTS = ("id", "label", "group", "time", "split")
OPTIONAL = ("group", "time", "split")
TIME_SINCE_LAST_STEP = "time_since_last_step"
_PATH = re.compile(r"path(?:\[(-\d+)\])?")
_INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls the index of a table."""
_ZONE = r"\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?P<zone>[Zz]|[+-]\d\d(?::?\d\d)?)$"
MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}


@dataclass(frozen=True)
class Part:
    """Where a part comes from: a column, or the same text for the whole file."""

    column: str | None = None
    text: str | None = None
    table: Mapping[str, str] | None = None
    """Where the column holds keys of a table of labels: what each key stands for."""
    table_path: str = ""
    trims: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What the columns of one file are."""

    form: str
    """`long`: a row a time step; `sequence`: a column holds sequences; `features`: a list column for each feature;
    `wide`: a column for each step, feature after feature."""
    parts: dict[str, Part]
    """Those of `PARTS` that there are."""
    columns: tuple[str, ...]
    """With the values: one for each feature, or the one of the sequences."""
    wide_features: tuple[str, ...] = ()

    @property
    def needed(self) -> list[str]:
        named = [part.column for part in self.parts.values() if part.column is not None]
        return list(dict.fromkeys([*named, *self.columns]))


def layout(
    origin: Origin, schema: pa.Schema, files: FilesParams, below: Path, features: Sequence[str] | None
) -> Layout:
    """Return what the columns are by the params, and by their types where the params say nothing.

    Args:
        origin: the file, for messages.
        schema: its columns.
        files: the params.
        below: the file's path below `data/raw`.
        features: their names in the params, or in the file itself.

    Raises:
        InputError: a column is missing, or no column holds numbers.
    """
    parts = {name: part for name in PARTS if (part := _part(origin, schema, files, below, name)) is not None}
    parts["label"] = replace(parts["label"], trims=files.trim_labels, renamed=files.label_names)
    taken = {part.column for part in parts.values()}
    known = set(schema.names)
    sequence = files.columns.sequence
    if sequence in known - taken and is_list(schema.field(sequence).type):
        return Layout("sequence", parts, (sequence,))
    if files.layout == "wide":
        free = [name for name in schema.names if name not in taken and not _INDEX.fullmatch(name)]
        steps = wide.steps_of(origin.path, free, files.features)
        _check_numbers(origin, schema, [name for names in steps.values() for name in names])
        columns = tuple(name for names in steps.values() for name in names)
        return Layout("wide", parts, columns, tuple(steps))
    names = list(features or [name for name in schema.names if name not in taken and not _INDEX.fullmatch(name)])
    _check_numbers(origin, schema, names)
    if not names:
        raise InputError(
            f"{origin.path}: no column of numbers and no column {files.columns.sequence!r} of sequences; "
            "name them in generate.files"
        )
    are_lists = {is_list(schema.field(name).type) for name in names}
    if len(are_lists) > 1:
        raise InputError(f"{origin.path}: some of the features {', '.join(names)} are lists and some are not")
    return Layout("features" if are_lists == {True} else "long", parts, tuple(names))


def _check_numbers(origin: Origin, schema: pa.Schema, names: Sequence[str]) -> None:
    known = set(schema.names)
    for name in names:
        if not name:
            raise InputError(f"{origin.path}: a column has no name; name those to take in generate.files.features")
        if name not in known:
            raise InputError(f"{origin.path}: column {name!r} is missing, there are {', '.join(schema.names)}")
        if not holds_numbers(schema.field(name).type):
            raise InputError(
                f"{origin.path}: column {name!r} is {schema.field(name).type}, expected numbers; "
                "name the columns to take in generate.files.features"
            )


def _part(origin: Origin, schema: pa.Schema, files: FilesParams, below: Path, part: str) -> Part | None:
    if part == "label" and files.labels is not None:
        return _of_label_table(origin, schema, files, below)
    name = getattr(files.columns, part)
    if name is None:
        return None
    if name in schema.names:
        return Part(column=name)
    if matched := _PATH.fullmatch(name):
        return Part(text=_of_path(below, matched.group(1)))
    if part in OPTIONAL and name == ColumnNames.model_fields[part].default:
        return None
    raise InputError(
        f"{origin.path}: column {name!r} is missing, there are {', '.join(schema.names)}{_advice(schema, part)}"
    )


def _advice(schema: pa.Schema, part: str) -> str:
    if len(schema.names) == 1 and any(sign in schema.names[0] for sign in ",;\t|"):
        return "; generate.files.delimiter says what stands between two columns"
    if part == "label":
        return "; classes in a table of their own have generate.files.labels"
    return "; one recording a file has generate.files.columns.id: path" if part == "id" else ""


def _of_label_table(origin: Origin, schema: pa.Schema, files: FilesParams, below: Path) -> Part:
    """Return the class of the file, or where its rows have ids, the table that holds a class for each."""
    assert files.labels is not None
    path = Path(origin.path).parents[len(below.parts) - 1] / files.labels.path
    table = label_table.read(path, files)
    if files.columns.id in schema.names:
        return Part(column=files.columns.id, table=table, table_path=str(path))
    stem = "/".join(levels(below))
    for key in (below.as_posix(), stem, below.name, levels(below)[-1]):
        if key in table:
            return Part(text=table[key])
    raise InputError(f"{path}: no {below.as_posix()!r} in column {files.labels.key!r}, and so no class for the file")


def _of_path(below: Path, index: str | None) -> str:
    parts = levels(below)
    if index is None:
        return "/".join(parts)
    if -int(index) > len(parts):
        raise InputError(f"{below}: path[{index}] is not below data/raw")
    return parts[int(index)]


def holds_numbers(kind: pa.DataType) -> bool:
    """Return whether a column of this type can be a feature, as a number a row or a list a row."""
    if is_list(kind):
        return holds_numbers(kind.value_type)
    return bool(
        pa.types.is_null(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Return whether the type is any of Arrow's lists, a tensor of fixed shape included."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def text(origin: Origin, part: Part, batch: pa.RecordBatch, first_row: int) -> pa.StringArray:
    """Return a part of each row as text.

    Raises:
        InputError: it is missing in a row, or of a type that is no text and no whole number.
    """
    if part.column is None:
        return _named(part, pa.array([part.text] * batch.num_rows, pa.string()))
    column = batch.column(part.column)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise InputError(f"{origin.path}: column {part.column!r} is {kind}, expected text or whole numbers")
    known = column.cast(pa.string())
    known = pc.utf8_trim_whitespace(known) if part.trims else known
    refuse(origin, first_row, pc.or_kleene(known.is_null(), pc.equal(known, "")), f"column {part.column!r} is empty")
    if part.table is None:
        return _named(part, known)
    encoded = known.dictionary_encode()
    labels = pa.array([part.table.get(key) for key in encoded.dictionary.to_pylist()], pa.string()).take(
        encoded.indices
    )
    refuse(origin, first_row, labels.is_null(), f"no class in {part.table_path} for what is in column {part.column!r}")
    return _named(part, labels)


def _named(part: Part, texts: pa.StringArray) -> pa.StringArray:
    """Return labels as they are called in the data set."""
    if part.trims:
        texts = pc.utf8_trim_whitespace(texts)
    if not part.renamed:
        return texts
    encoded = texts.dictionary_encode()
    names = [part.renamed.get(name, name) for name in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def numbers(origin: Origin, name: str, column: pa.Array, first_row: int) -> np.ndarray:
    """Return a column as float32, NaN where it is null.

    Raises:
        InputError: it holds no numbers, or an infinite one.
    """
    if not holds_numbers(column.type) or is_list(column.type):
        raise InputError(f"{origin.path}: column {name!r} is {column.type}, expected numbers")
    if pa.types.is_boolean(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.int8())
    known = column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    refuse(origin, first_row, np.isinf(known), f"column {name!r} is infinite, or too large for float32")
    return known


@dataclass(frozen=True)
class Times:
    """A column of times."""

    microseconds: Int64[np.ndarray, " row"]
    """Since 1970 in UTC."""
    zones: pa.Array | None
    """The time zone each one is written in, or none where they have no zone and are taken as UTC."""


def times(origin: Origin, name: str, column: pa.Array, unit: str, first_row: int) -> Times:
    """Return what a column says of time.

    Raises:
        InputError: one is missing or no time, or some have a zone and others have none.
    """
    empty = pc.or_kleene(column.is_null(), pc.equal(column, "")) if is_text(column.type) else column.is_null()
    refuse(origin, first_row, empty, f"column {name!r} is empty")
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(column.type):
        tz = column.type.tz
        stamps = column.cast(pa.timestamp("us", tz), safe=False).view(pa.int64()).to_numpy()
        return Times(stamps, pa.array([tz] * len(column)) if tz else None)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return Times(_microseconds(origin, name, column, unit, first_row), None)
    if not is_text(column.type):
        raise InputError(f"{origin.path}: column {name!r} is {column.type}, expected times")
    column = pc.replace_substring_regex(pc.utf8_trim_whitespace(column.cast(pa.string())), r" ?UTC$", "Z")
    try:
        return Times(_microseconds(origin, name, column.cast(pa.float64()), unit, first_row), None)
    except pa.ArrowInvalid:
        return _stamps(origin, name, column, first_row)


def _microseconds(origin: Origin, name: str, column: pa.Array, unit: str, first_row: int) -> np.ndarray:
    known = column.to_numpy(zero_copy_only=False).astype(np.float64) * MICROSECONDS[unit]
    with np.errstate(invalid="ignore"):
        is_odd = ~(np.abs(known) < 2.0**62)
    refuse(origin, first_row, is_odd, f"column {name!r} is no time in {unit} since 1970")
    if pa.types.is_integer(column.type) and MICROSECONDS[unit] >= 1:
        return column.cast(pa.int64()).to_numpy() * int(MICROSECONDS[unit])
    return np.rint(known).astype(np.int64)


def _stamps(origin: Origin, name: str, column: pa.Array, first_row: int) -> Times:
    zones = pc.struct_field(pc.extract_regex(column, _ZONE), 0)
    has_zone = zones.is_valid().to_numpy(zero_copy_only=False)
    if has_zone.any() and not has_zone.all():
        odd, what = (~has_zone, "has no time zone") if has_zone[0] else (has_zone, "has a time zone")
        refuse(origin, first_row, odd, f"column {name!r} {what}, unlike the rows above")
    is_zoned = bool(has_zone.all())
    kind = pa.timestamp("ns" if _has_nanoseconds(column) else "us", "UTC" if is_zoned else None)
    try:
        stamps = column.cast(kind).cast(pa.timestamp("us", kind.tz), safe=False)
        return Times(stamps.view(pa.int64()).to_numpy(), zones if is_zoned else None)
    except pa.ArrowInvalid:
        odd = [not _parses(entry, kind) for entry in column]
        refuse(origin, first_row, odd, f"column {name!r} is no time in ISO 8601")
        raise


def _has_nanoseconds(column: pa.StringArray) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, r"\.\d{7}")).as_py())


def _parses(entry: pa.StringScalar, kind: pa.DataType) -> bool:
    try:
        entry.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def refuse(origin: Origin, first_row: int, is_bad: pa.Array | np.ndarray | Sequence[bool], what: str) -> None:
    """Raise InputError for the first row in which `is_bad` is true."""
    bad = np.flatnonzero(np.asarray(is_bad))
    if len(bad):
        raise InputError(f"{origin.path}: {origin.place(first_row + int(bad[0]))}: {what}")
