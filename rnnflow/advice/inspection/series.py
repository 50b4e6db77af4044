"""Tables with one row per sequence and one column per step, recognised by the columns' names and what their rows hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from rnnflow.advice.inspection.column_kinds import is_whole
from rnnflow.advice.inspection.features import note_impure
from rnnflow.advice.inspection.guess import Guess
from rnnflow.advice.inspection.names import SYNONYMS, forms_of
from rnnflow.advice.inspection.sample import LIST_ROWS, Sample
from rnnflow.generation.sources import wide
from rnnflow.generation.sources.values import holds_numbers, is_list

MIN_STEPS = 8
MOST = 0.8
STEP_NAMES = (
    *("", "t", "step", "time", "timestep", "att", "v", "val", "value", "x", "col", "column", "c", "sample", "pixel"),
)
"""What the columns of steps are called, apart from their number; sensors and coefficients are not called so."""


def steps_in(sample: Sample) -> Mapping[str, Sequence[str]]:
    """Return the columns of each feature's steps where a row seems to be a sequence; none where it is a step."""
    table = sample.table
    if sample.has_lists or sample.kind not in ("CSV", "Parquet", "JSON lines") or not table.num_rows:
        return {}
    numbers = [field.name for field in table.schema if holds_numbers(field.type) and not is_list(field.type)]
    of_steps = {prefix: columns for prefix, columns in wide.numbered(numbers).items() if len(columns) >= MIN_STEPS}
    if len({tuple(columns) for columns in of_steps.values()}) != 1:
        return {}
    found = {prefix: list(columns.values()) for prefix, columns in of_steps.items()}
    if "column" in found and sample.settings.get("names") == "numbered":
        found["column"] = _without_label(table, found["column"])
    taken = [name for columns in found.values() for name in columns]
    if len(taken) < MOST * (len(numbers) - 1):
        return {}
    free = [name for name in table.column_names if name not in taken]
    is_named = all(prefix.strip("_ .-").lower() in STEP_NAMES for prefix in found)
    return found if _rows_are_sequences(table, free, is_named) else {}


def _without_label(table: pa.Table, columns: list[str]) -> list[str]:
    """Return columns without names but the first or last, where it has a few whole numbers: the classes."""
    for name in (columns[0], columns[-1]):
        if is_whole(table[name]) and len(table[name].unique()) <= max(2, len(table[name]) // 3):
            return [other for other in columns if other != name]
    return columns


def _rows_are_sequences(table: pa.Table, free: Sequence[str], is_named: bool) -> bool:
    if any(pa.types.is_temporal(table[name].type) for name in free):
        return False
    ids = [name for name in free if _plays(name, "id")]
    if ids:
        return all(len(table[name].unique()) == table.num_rows for name in ids)
    labels = [name for name in free if _plays(name, "label")] or free
    return (is_named and bool(labels)) or any(_changes_often(table[name]) for name in labels)


def _plays(name: str, part: str) -> bool:
    return any(form in SYNONYMS[part] for form in forms_of(name, part))


def _changes_often(column: pa.ChunkedArray) -> bool:
    """Return whether labels change from row to row as they do between sequences, and not within a recording."""
    codes = column.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return len(codes) > 3 and bool((np.diff(codes) != 0).mean() > 0.2)


def collapsed(sample: Sample, steps: Mapping[str, Sequence[str]]) -> Sample:
    """Return the first rows with a list for each feature in place of its steps' columns."""
    table = sample.table.slice(0, LIST_ROWS)
    lists = {
        prefix: np.stack([table[name].to_numpy().astype(np.float64) for name in columns], axis=1).tolist()
        for prefix, columns in steps.items()
    }
    rest = table.drop_columns([name for columns in steps.values() for name in columns])
    for prefix, rows in lists.items():
        rest = rest.append_column(_name(prefix), pa.array(rows, pa.list_(pa.float64())))
    return replace(sample, table=rest)


def _name(prefix: str) -> str:
    return f"{prefix} of all steps"


def describe(found: Guess, sample: Sample, steps: Mapping[str, Sequence[str]]) -> None:
    """Say in a guess that was made from lists that the file has one column per step."""
    count = len(next(iter(steps.values())))
    names = ", ".join(f"{columns[0]} … {columns[-1]}" for columns in steps.values())
    rest = [name for name in sample.table.column_names if name not in map(_name, steps)]
    unused = [name for name in rest if name not in found.columns.values()]
    is_one = len(steps) == 1 and not unused
    found.layout = "wide"
    found.features = None if is_one else list(steps)
    found.remarks.append(f"columns {names} are taken as the {count:,} steps of a row")
    for prefix, numbers in wide.numbered([name for columns in steps.values() for name in columns]).items():
        absent = sorted(set(range(min(numbers), max(numbers))) - set(numbers))
        if 0 < len(absent) < len(numbers) / 4:
            found.remarks.append(f"no column is called {prefix}{absent[0]}: is a step missing between its neighbours?")
    note_impure(sample, found, [name for columns in steps.values() for name in columns])
