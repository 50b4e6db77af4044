"""Tables with one row per sequence and one column per step, recognised by the columns' names and what their rows hold."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from rnnflow.advice.inspection.column_kinds import is_whole
from rnnflow.advice.inspection.features import note_impure
from rnnflow.advice.inspection.guess import Guess
from rnnflow.advice.inspection.names import SYNONYMS, forms_of
from rnnflow.advice.inspection.sample import LIST_ROWS, Sample
from rnnflow.generation.sources import wide
from rnnflow.generation.sources.values import codes, holds_numbers, is_list
from rnnflow.runtime.errors import InputError

MIN_STEPS = 8
MOST = 0.8
STEP_NAMES = (
    *("", "t", "step", "time", "timestep", "att", "v", "val", "value", "x", "col", "column", "c", "sample", "pixel"),
)
"""What the columns of steps are called, apart from their number; sensors and coefficients are not called so."""


def steps_in(sample: Sample, taken: Collection[str | None] = ()) -> Mapping[str, Sequence[str]]:
    """Return the columns of each feature's steps where a row seems to be a sequence; none where it is a step.

    A person may have given some columns another part.

    Raises:
        InputError: rows seem to be sequences, but their features have unlike steps.
    """
    table = sample.table
    if sample.has_lists or sample.kind not in ("CSV", "Parquet", "JSON lines") or not table.num_rows:
        return {}
    numbers = [field.name for field in table.schema if holds_numbers(field.type) and not is_list(field.type)]
    numbers = [name for name in numbers if name not in taken]
    of_steps = {prefix: columns for prefix, columns in wide.numbered(numbers).items() if len(columns) >= MIN_STEPS}
    found = {prefix: list(columns.values()) for prefix, columns in of_steps.items()}
    for prefix in {"column", wide.FEATURE} & set(found):
        if prefix == wide.FEATURE or sample.settings.get("names") == "numbered":
            found[prefix] = _without_ends(table, found[prefix])
    of_features = [name for columns in found.values() for name in columns]
    if not found or len(of_features) < MOST * (len(numbers) - 1):
        return {}
    free = [name for name in table.column_names if name not in of_features]
    is_named = all(prefix.strip("_ .-").lower() in STEP_NAMES for prefix in found)
    if not _rows_are_sequences(table, free, is_named):
        return {}
    (first, steps), *others = of_steps.items()
    for prefix, columns in others:
        if odd := sorted(set(steps) ^ set(columns)):
            raise InputError(
                f"rows seem to be sequences, but only one of the features {first!r} and {prefix!r} has a column of step "
                f"{odd[0]:g}; add the other, which may be empty, or name columns with --features"
            )
    return found


def _without_ends(table: pa.Table, columns: list[str]) -> list[str]:
    """Return columns that no words name but the first or the last where it holds no step: the rows' numbers, or classes."""
    ends = [name for name in (columns[0], columns[-1]) if is_whole(table[name])]
    are_whole = 2 * sum(is_whole(table[name]) for name in columns) > len(columns)
    counts = {name: len(table[name].unique()) for name in ends}
    rows = [
        name
        for name in ends
        if bool((np.diff(table[name].to_numpy()) == 1).all()) or (counts[name] == len(table) and not are_whole)
    ]
    few = [name for name in ends if name not in rows and counts[name] <= max(2, len(table) // 3)]
    several = [name for name in few if counts[name] > 1] or few  # a file may be of one class
    labels = several if len(several) == 1 else []  # of two, nothing says which it is
    return [name for name in columns if name not in (*rows, *labels)]


def _rows_are_sequences(table: pa.Table, free: Sequence[str], is_named: bool) -> bool:
    if any(pa.types.is_temporal(table[name].type) for name in free):
        return False
    ids = [name for name in free if _plays(name, "id")]
    if ids:
        return all(len(table[name].unique()) == table.num_rows for name in ids)
    labels = [name for name in free if _plays(name, "label")] or free
    if is_named and labels:
        return True
    # Labels change from row to row between sequences, and not within a recording.
    return table.num_rows > 3 and any((np.diff(codes(table[name])) != 0).mean() > 0.2 for name in labels)


def _plays(name: str, part: str) -> bool:
    return any(form in SYNONYMS[part] for form in forms_of(name, part))


def collapsed(sample: Sample, steps: Mapping[str, Sequence[str]]) -> Sample:
    """Return the first rows with a list for each feature in place of its steps' columns."""
    table = sample.table.slice(0, LIST_ROWS)
    lists = {
        prefix: np.stack([table[name].to_numpy().astype(np.float64) for name in columns], axis=1).tolist()
        for prefix, columns in steps.items()
    }
    rest = table.drop_columns([name for columns in steps.values() for name in columns])
    for prefix, rows in lists.items():
        rest = rest.append_column(f"{prefix} of all steps", pa.array(rows, pa.list_(pa.float64())))
    return replace(sample, table=rest)


def describe(found: Guess, sample: Sample, steps: Mapping[str, Sequence[str]]) -> None:
    """Say in a guess that was made from lists that the file has one column per step."""
    count = len(next(iter(steps.values())))
    names = ", ".join(f"{columns[0]} … {columns[-1]}" for columns in steps.values())
    found.layout, found.features = "wide", list(steps)
    found.remarks.append(f"columns {names} are taken as the {count:,} steps of a row")
    for places in wide.numbered([name for columns in steps.values() for name in columns]).values():
        gaps, named = np.diff(list(places)), list(places.values())
        wider = np.flatnonzero(gaps > 1.5 * np.median(gaps))
        if 0 < len(wider) < len(gaps) / 4:
            before, after = named[wider[0]], named[wider[0] + 1]
            found.remarks.append(f"no column is between {before!r} and {after!r}: is a step missing there?")
    note_impure(sample, found, [name for columns in steps.values() for name in columns])
