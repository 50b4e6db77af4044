"""Which columns are features, and why others are none."""

from collections.abc import Sequence, Sized

import numpy as np
import pyarrow as pa

from rnnflow.advice.inspection.column_kinds import (
    are_numbers_in_text,
    first_text,
    has_decimal_commas,
)
from rnnflow.advice.inspection.guess import Guess
from rnnflow.advice.inspection.names import INDEX_NAMES, is_strong
from rnnflow.advice.inspection.sample import Sample, is_features_first
from rnnflow.generation.sources.list_form import FEATURES_FIRST
from rnnflow.generation.sources.values import codes, generic_names, holds_numbers, is_list, is_text

MAX_LIKELY_CLASSES = 50
FEW_GAPS, EVENLY = 20, 0.9
"""Of how many steps a rise is none by chance, and the share of them that are about as long as the usual one."""
OFTEN = 0.5
"""Share of the rows in which a counter counts on."""


def find_features(sample: Sample, found: Guess, free: Sequence[str], not_read: str | None) -> None:
    """Take the columns of numbers that play no other part as features, and say why others are left out.

    One may hold times that are not read. Features, missing texts and remarks are added to the guess.
    """
    if (sequence := found.columns.get("sequence")) is not None:
        found.features = _names_of_sequence(sample, found, sequence)
        return
    reasons = {name: "it is a time" if name == not_read else _why_no_feature(sample, found, name) for name in free}
    features = [name for name, reason in reasons.items() if reason is None]
    if features and len(features) < len(reasons):
        found.features = features
    found.remarks += [
        f"column {name!r} is no feature: {reason}; --features takes it" for name, reason in reasons.items() if reason
    ]
    found.remarks += [
        f"column {name!r} never changes within a recording: is it a measurement? --features leaves it out"
        for name in features
        if not sample.has_lists and _never_changes(sample.table[name], _recordings(sample, found))
    ]
    note_impure(sample, found, found.features or features)


def note_impure(sample: Sample, found: Guess, names: Sequence[str]) -> None:
    """Say which of the columns hold other texts than numbers, and take those that stand for none as missing."""
    for name in names:
        if name in sample.impure:
            remark, placeholders = sample.impure[name]
            found.remarks.append(remark)
            found.missing += [text for text in placeholders if text not in found.missing]


def _names_of_sequence(sample: Sample, found: Guess, name: str) -> list[str] | None:
    """Return names for the features of a column that cannot say them itself."""
    if name not in sample.table.column_names or sample.kind == "NumPy":
        return None
    kind = sample.table[name].type
    if isinstance(kind, pa.FixedShapeTensorType) or not is_list(kind):
        return None
    if not is_list(kind.value_type):
        found.remarks.append(f"column {name!r} is taken as one feature; --features names them if it has more")
        return ["value"]
    rows = [row for row in sample.table[name].to_pylist() if row and all(row)] or [[[0.0]]]
    if is_by_feature := _hold_features(rows):
        sample.settings["axes"] = FEATURES_FIRST
        found.remarks.append(
            f"column {name!r} is taken as a list of all steps for each of {len(rows[0])} features; generate.files.axes says "
            "another order"
        )
    elif pa.types.is_fixed_size_list(kind.value_type):
        return None
    return list(generic_names(len(rows[0] if is_by_feature else rows[0][0])))


def _hold_features(rows: Sequence[Sequence[Sized]]) -> bool:
    """Return whether the lists of each row seem to be features with all their steps, and not steps with all features."""
    num_lists, widths = {len(row) for row in rows}, [{len(entry) for entry in row} for row in rows]
    if len(num_lists) > 1 or any(len(own) > 1 for own in widths):
        return False
    return len(set.union(*widths)) > 1 or is_features_first(len(rows[0]), len(rows[0][0]))


def _why_no_feature(sample: Sample, found: Guess, name: str) -> str | None:
    column = sample.table[name]
    is_last = name == sample.table.column_names[-1] and sample.settings.get("names") == "numbered"
    if not name or (is_last and pa.types.is_null(column.type)):
        return "it has no name" if not name else "it is empty, behind the last delimiter"
    if name.lower() in INDEX_NAMES:
        return "it numbers the rows"
    if has_decimal_commas(column):
        return "its decimals have commas, write points"
    if is_text(column.type) and are_numbers_in_text(column):
        return f"its numbers are texts such as {first_text(column)!r}, write plain ones"
    if not holds_numbers(column.type):
        return f"it is {f'text such as {first_text(column)!r}' if is_text(column.type) else column.type}"
    if sample.has_lists != is_list(column.type):
        return "it has one number for a whole sequence"
    if is_strong(name):
        return "of its name"
    if not sample.has_lists and (how := _how_it_rises(sample, found, name)):
        return how
    if not pa.types.is_integer(column.type):
        return None
    return "it repeats the label" if _repeats_label(sample, found, name) else _how_it_counts(sample, found, name)


def _how_it_rises(sample: Sample, found: Guess, name: str) -> str | None:
    """Return whether a column always rises within recordings, and by much the same; or would, were its rows sorted."""
    values, recordings = sample.table[name].to_numpy().astype(np.float64), _recordings(sample, found)
    if _are_even(values, recordings):
        return "it rises evenly from step to step, as a time does"
    order = np.lexsort([values, recordings])
    if _are_even(values[order], recordings[order]):
        return "it numbers steps, but the rows of a recording stand in another order; sort them by it"
    return None


def _recordings(sample: Sample, found: Guess) -> np.ndarray:
    """Return which recording each row is of."""
    table, identity = sample.table, found.columns["id"]
    return codes(table[identity]) if identity in table.column_names else np.zeros(len(table))


def _never_changes(column: pa.ChunkedArray, recordings: np.ndarray) -> bool:
    """Return whether a column has another value only in another recording, as an age has."""
    changes, begins = np.diff(codes(column)) != 0, np.diff(recordings) != 0
    return bool(changes.any() and not changes[~begins].any() and np.count_nonzero(~begins) >= FEW_GAPS)


def _are_even(values: np.ndarray, recordings: np.ndarray) -> bool:
    gaps = np.diff(values)[np.diff(recordings) == 0]
    usual = np.median(gaps) if len(gaps) >= FEW_GAPS else 0
    return bool(usual > 0 and (gaps > 0).all() and ((gaps > usual / 2) & (gaps < usual * 2)).mean() > EVENLY)


def _repeats_label(sample: Sample, found: Guess, name: str) -> bool:
    label = found.columns["label"]
    if label not in sample.table.column_names:
        return False
    labels, own = codes(sample.table[label]), codes(sample.table[name])
    num_labels = len(np.unique(labels))
    pairs = np.unique(np.stack([labels, own]), axis=1).shape[1]
    return num_labels > 1 and pairs == num_labels == len(np.unique(own))


def _how_it_counts(sample: Sample, found: Guess, name: str) -> str | None:
    """Return whether a column rises by one from row to row, within recordings or again and again."""
    table = sample.table
    values = table[name].fill_null(0).to_numpy().astype(np.int64)
    if len(values) < 3:
        return None
    rises = np.diff(values) == 1
    begins = np.diff(_recordings(sample, found)) != 0
    restarts = ~(rises | begins)
    if rises.any() and not restarts.any():
        return "it counts the rows"
    starts = np.flatnonzero(restarts) + 1
    again = np.unique(values[starts])
    if rises.mean() < OFTEN or len(again) > 1 or again[0] not in (0, 1, values[0]):
        return None
    if found.columns["id"] == found.columns.get("label"):
        return "it counts the rows"
    return (
        f"it counts the rows and starts again {len(starts):,} times within recordings, first in row {starts[0] + 1:,}; "
        "does a recording begin there? --id names the column that says it"
    )
