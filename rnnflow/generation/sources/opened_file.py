"""A file whose layout is known and whose steps are still to be read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from rnnflow.generation.sources import columns, melted, wide
from rnnflow.generation.sources.columns import TIME_SINCE_LAST_STEP
from rnnflow.generation.sources.cross_check import CrossCheck
from rnnflow.generation.sources.list_form import FEATURES_FIRST, STEPS_FIRST, ListForm
from rnnflow.generation.sources.long_form import LongForm
from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.generation.sources.row_reader import RowReader
from rnnflow.generation.sources.source_file import SourceTable
from rnnflow.generation.sources.values import generic_names, is_list
from rnnflow.params.generate import FilesParams


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


def open_table(table: SourceTable, below: Path, files: FilesParams) -> OpenedFile:
    """Return what the columns of a table are by the params; `below` is its path below `data/raw`."""
    location, schema, named = table.location, table.schema, table.features
    known = named or (tuple(files.features) if files.features else None)
    layout = read_as = columns.layout(location, schema, files, below, None if named else known)
    check = CrossCheck(location, layout)
    rows: Iterable[pa.RecordBatch] = check.rows(table.batches(layout.needed))
    if layout.form == "wide":
        features, read_as, rows = wide.as_lists(location, layout, rows)
    elif layout.form == "melted":
        features, read_as, rows, location = melted.spread(location, layout, rows, files)
    elif layout.form == "sequence":
        if named is None and files.axes != STEPS_FIRST:
            _require_lists_of_lists(location, schema, layout.columns[0], files.axes)
        features = known or _names_of(location, schema, layout.columns[0], files.axes)
    else:
        features = layout.columns
    reads: RowReader = LongForm(location, read_as, files)
    if read_as.form != "long":
        reads = ListForm(location, read_as, files, num_features=len(features))
    chunks = reads.chunks(rows)
    if layout.form != "melted" or known is None:  # else some of the rows are left out
        chunks = check.steps(chunks)
    if files.time_since_last_step:
        features = (*features, TIME_SINCE_LAST_STEP)
    return OpenedFile(location, layout.form, features, tuple(layout.parts), chunks, lambda: reads.zone_is_known)


def _require_lists_of_lists(location: SourceLocation, schema: pa.Schema, sequence: str, axes: str) -> None:
    """Refuse another order than (time, feature) where nothing can have it, instead of leaving it aside."""
    kind = schema.field(sequence).type
    if axes != FEATURES_FIRST or not (is_list(kind) and is_list(kind.value_type)):
        raise location.error(
            f"column {sequence!r} is {kind}; generate.files.axes: {axes} is of NumPy arrays"
            f"{' and of lists of lists' if axes == FEATURES_FIRST else ''}, leave it out"
        )


def _names_of(location: SourceLocation, schema: pa.Schema, sequence: str, axes: str) -> tuple[str, ...]:
    """Return names for the features of a column of sequences, where its type says how many there are."""
    kind = schema.field(sequence).type
    if isinstance(kind, pa.FixedShapeTensorType) and len(kind.shape) == 2:
        return generic_names(kind.shape[1])
    inner = kind if axes == FEATURES_FIRST else kind.value_type if is_list(kind) else None
    if inner is not None and pa.types.is_fixed_size_list(inner):
        return generic_names(inner.list_size)
    raise location.error(f"nothing names the features of column {sequence!r}; name them in generate.files.features")
