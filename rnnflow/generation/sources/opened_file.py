"""A file whose layout is known and whose steps are still to be read; what the readers of all formats return."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources import columns, wide
from rnnflow.generation.sources.columns import TIME_SINCE_LAST_STEP, Layout
from rnnflow.generation.sources.list_form import ListForm
from rnnflow.generation.sources.long_form import LongForm
from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.generation.sources.values import is_list, numbers
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError


@dataclass(frozen=True)
class OpenedFile:
    """What a file holds.

    Raises:
        InputError: while `chunks` are read, at the first that is not as it should be.
    """

    location: SourceLocation
    form: str
    features: tuple[str, ...]
    parts: tuple[str, ...]
    """Those of `id`, `label`, `group`, `time`, `split` that it has."""
    chunks: Iterator[RecordingChunk]
    zone_is_known: Callable[[], bool | None]
    """Whether times have a zone, once steps were read."""


def open_table(
    location: SourceLocation,
    schema: pa.Schema,
    below: Path,
    files: FilesParams,
    named: tuple[str, ...] | None,
    batches: Callable[[list[str]], Iterable[pa.RecordBatch]],
) -> OpenedFile:
    """Return a file that is a table.

    Args:
        location: the file.
        schema: its columns.
        below: its path below `data/raw`.
        files: the params.
        named: the features, where the file itself names them.
        batches: reads the columns of these names.
    """
    known = named or (tuple(files.features) if files.features else None)
    layout = columns.layout(location, schema, files, below, None if named else known)
    if layout.form == "wide":
        return _open_wide(location, layout, files, batches)
    features = known if layout.form == "sequence" else layout.columns
    if features is None:
        features = _names_of(location, schema, layout.columns[0])
    form: LongForm | ListForm
    if layout.form == "long":
        form = LongForm(location, layout, files)
    else:
        form = ListForm(location, layout, len(features), files)
    if files.time_since_last_step:
        features = (*features, TIME_SINCE_LAST_STEP)
    chunks = form.chunks(batches(layout.needed))
    return OpenedFile(location, layout.form, features, tuple(layout.parts), chunks, lambda: form.zone_is_known)


def _open_wide(
    location: SourceLocation,
    layout: Layout,
    files: FilesParams,
    batches: Callable[[list[str]], Iterable[pa.RecordBatch]],
) -> OpenedFile:
    """Return a table with a column a step as one with a column of sequences."""
    lists = replace(layout, form="sequence", columns=(wide.SEQUENCE,), wide_features=())
    form = ListForm(location, lists, len(layout.wide_features), files)
    features = layout.wide_features + ((TIME_SINCE_LAST_STEP,) if files.time_since_last_step else ())
    kept = [name for name in lists.needed if name != wide.SEQUENCE]
    num_features = len(layout.wide_features)

    def values(batch: pa.RecordBatch, first_row: int) -> list[np.ndarray]:
        return [numbers(location, name, batch.column(name), first_row) for name in layout.columns]

    rows = wide.as_lists(batches(layout.needed), values, kept, num_features)
    return OpenedFile(location, "wide", features, tuple(layout.parts), form.chunks(rows), lambda: form.zone_is_known)


def _names_of(location: SourceLocation, schema: pa.Schema, sequence: str) -> tuple[str, ...]:
    """Return names for the features of a column of sequences, where its type says how many there are."""
    kind = schema.field(sequence).type
    if isinstance(kind, pa.FixedShapeTensorType) and len(kind.shape) == 2:
        return generic_names(kind.shape[1])
    if is_list(kind) and pa.types.is_fixed_size_list(kind.value_type):
        return generic_names(kind.value_type.list_size)
    raise InputError(
        f"{location.path}: nothing names the features of column {sequence!r}; name them in generate.files.features"
    )


def generic_names(num_features: int) -> tuple[str, ...]:
    """Return names for features that have none."""
    return tuple(f"feature_{index}" for index in range(num_features))
