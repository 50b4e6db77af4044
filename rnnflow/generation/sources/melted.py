"""Tables with a row for each feature of a step, spread into one row per step. A file at a time is held in memory."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.layout import Layout
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.times import read_times
from rnnflow.generation.sources.values import codes, numbers, refuse, refuse_blank
from rnnflow.params.generate import FilesParams


def spread(
    location: SourceLocation, layout: Layout, batches: Iterable[pa.RecordBatch], files: FilesParams
) -> tuple[tuple[str, ...], Layout, list[pa.RecordBatch], SourceLocation]:
    """Return the features, and the layout and rows of a table with a column for each, and where these stand in the file.

    Recordings come in the order of their first rows, their steps by number; a feature without a row at a step is missing. Where the
    params name no features, all are taken, by name.

    Raises:
        InputError: a feature comes twice at a step, or what holds for a step differs between its rows.
    """
    table = pa.Table.from_batches(list(batches)).combine_chunks()
    if not len(table):
        raise location.error("no rows below the names of the columns")
    (value,) = layout.columns
    assert layout.dimension is not None
    dimensions = table[layout.dimension].cast(pa.string()).combine_chunks()
    refuse_blank(location, layout.dimension, dimensions, 0)
    there = sorted(pc.unique(dimensions).to_pylist())
    if missing := [name for name in files.features or () if name not in there]:
        raise location.error(
            f"column {layout.dimension!r} never says {missing[0]!r}, which generate.files.features names"
        )
    names = tuple(files.features or there)
    values = numbers(location, value, table[value].combine_chunks(), 0)
    features_of_rows = pc.index_in(dimensions, pa.array(names)).fill_null(-1).to_numpy(zero_copy_only=False)
    identity = layout.parts["id"].column
    recordings = codes(table[identity]) if identity else np.zeros(len(table), np.int64)
    keys = [recordings, _steps(location, layout, table, files)]
    order = np.lexsort([features_of_rows, *keys[::-1]])
    order = order[features_of_rows[order] >= 0]
    is_new_step = _differs(order, *keys)
    is_again = ~is_new_step & ~_differs(order, features_of_rows)
    again = np.zeros(len(table), bool)
    again[order[is_again]] = True
    refuse(location, 0, again, "its feature came before at this step of the recording")
    step_of_rows = np.cumsum(is_new_step) - 1
    first_rows = np.minimum.reduceat(order, np.flatnonzero(is_new_step))
    for column in [part.column for part in layout.parts.values() if part.column]:
        entries = codes(table[column])
        changed = np.zeros(len(table), bool)
        changed[order] = entries[order] != entries[first_rows[step_of_rows]]
        refuse(location, 0, changed, f"column {column!r} differs from other rows of the same step")
    spread_values = np.full((len(first_rows), len(names)), np.nan, np.float32)
    spread_values[step_of_rows, features_of_rows[order]] = values[order]
    kept = table.select([name for name in layout.needed if name not in (layout.dimension, value)]).take(first_rows)
    columns = {name: kept[name].combine_chunks() for name in kept.column_names}
    spread_columns = tuple(f"{value} of {name}" for name in names)
    columns |= {name: pa.array(spread_values[:, index]) for index, name in enumerate(spread_columns)}
    placed = SourceLocation(location.path, lambda step: location.place(int(first_rows[step])))
    read_as = replace(layout, form="long", columns=spread_columns, dimension=None, step=None)
    return names, read_as, [pa.RecordBatch.from_pydict(columns)], placed


def _steps(location: SourceLocation, layout: Layout, table: pa.Table, files: FilesParams) -> np.ndarray:
    """Return what orders the rows of a recording: numbers, or times."""
    if layout.step is not None:
        steps = table[layout.step].combine_chunks()
        refuse(location, 0, np.isnan(numbers(location, layout.step, steps, 0)), f"column {layout.step!r} is empty")
        steps = steps.cast(pa.float64()) if pa.types.is_decimal(steps.type) else steps
        return steps.to_numpy(zero_copy_only=False)  # not as float32, in which 2^24 + 1 is 2^24
    time = layout.parts["time"].column
    assert time is not None
    return read_times(location, time, table[time].combine_chunks(), files, 0).microseconds


def _differs(order: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """Return where a row has another key than the one before it, rows taken in an order."""
    differs = np.ones(len(order), bool)
    differs[1:] = np.logical_or.reduce([key[order[1:]] != key[order[:-1]] for key in keys])
    return differs
