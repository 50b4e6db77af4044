"""Tables with one row per sequence and one column per step: the steps of a feature are called alike, with a number."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.layout import Layout
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.values import numbers
from rnnflow.runtime.errors import InputError

SEQUENCE = "sequence of a row"
FEATURE = "value"
_LAST = re.compile(r"(.*?)[ _.\-]?[\[(]?(\d+)[\])]?", re.DOTALL)
_INSIDE = re.compile(r"(\D*?)[ _.\-]?(\d+)[ _.\-]?(\D+)", re.DOTALL)
"""A number at the end, as in `x_0` and `x[0]`, or the only one, as in `0_x` and `t0_x`."""
_NUMBER, _DATE = re.compile(r"[+-]?\d+(\.\d+)?"), re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d)?)?)?")


def numbered(names: Sequence[str]) -> dict[str, dict[float, str]]:
    """Return the columns that are called alike but for a number, by what is before the number, in its order.

    What is a number or a date as a whole is a step of the feature `value`.
    """
    found: dict[str, dict[float, str]] = {}
    for name in names:
        if (step := _step(name)) is not None:
            prefix, number = step
            found.setdefault(prefix, {})[number] = name
    return {prefix: dict(sorted(columns.items())) for prefix, columns in found.items()}


def _step(name: str) -> tuple[str, float] | None:
    """Return the feature and the number of a step's column."""
    if (number := place_of(name)) is not None:
        return FEATURE, number
    if matched := _LAST.fullmatch(name) or _INSIDE.fullmatch(name):
        return "_".join(filter(None, (matched[1], *matched.groups()[2:]))) or FEATURE, float(matched[2])
    return None


def place_of(name: str) -> float | None:
    """Return the number that a name is, or the microseconds since 1970 of a date."""
    if _NUMBER.fullmatch(name):
        return float(name)
    try:
        return float(np.datetime64(name, "us").astype(np.int64)) if _DATE.fullmatch(name) else None
    except ValueError:
        return None


def steps_of(path: str, free: Sequence[str], features: Sequence[str] | None) -> Mapping[str, Sequence[str]]:
    """Return the columns of each feature's steps, in order, of those that play no other part; without features, all are one's.

    Raises:
        InputError: a feature has no columns, or other steps than the first; nothing says which of several it is.
    """
    found = numbered(free)
    if features is None:
        several = [prefix for prefix, columns in found.items() if len(columns) > 1]
        if len(several) > 1:
            named = ", ".join(map(repr, several[:5]))
            raise InputError(f"{path}: columns of several features, {named}; name them in generate.files.features")
        is_all = len(found) == 1 and sum(map(len, found.values())) == len(free)
        columns = list(next(iter(found.values())).values()) if is_all else list(free)
        if not columns:
            raise InputError(f"{path}: no column is left for the steps")
        return {FEATURE: columns}
    columns_of: dict[tuple[str, float], str] = {}
    for name in free:
        step = _step(name)
        if step and step[0] in features and (other := columns_of.setdefault(step, name)) != name:
            raise InputError(f"{path}: columns {other!r} and {name!r} are one step of feature {step[0]!r}; rename one")
    for name in features:
        if name not in found:
            raise InputError(f"{path}: no column is called like {name + '0'!r}, which generate.files.features names")
        if list(found[name]) != list(found[features[0]]):
            raise InputError(f"{path}: feature {name!r} has other steps than feature {features[0]!r}")
    return {name: list(found[name].values()) for name in features}


def as_lists(
    location: SourceLocation, layout: Layout, batches: Iterable[pa.RecordBatch]
) -> tuple[tuple[str, ...], Layout, Iterator[pa.RecordBatch]]:
    """Return the features of a table with one column per step, and the layout and rows of one with a column of sequences."""
    features = layout.wide_features
    read_as = replace(layout, form="sequence", columns=(SEQUENCE,), wide_features=())

    def lists() -> Iterator[pa.RecordBatch]:
        first_row = 0
        for batch in filter(len, batches):
            values = [numbers(location, name, batch.column(name), first_row) for name in layout.columns]
            by_feature = np.stack(values, axis=1).reshape(len(batch), len(features), -1)
            flat = pa.array(by_feature.transpose(0, 2, 1).reshape(-1))  # (row, step, feature)
            columns = {SEQUENCE: pa.FixedSizeListArray.from_arrays(flat, len(values))}
            columns |= {name: batch.column(name) for name in read_as.needed if name != SEQUENCE}
            yield pa.RecordBatch.from_pydict(columns)
            first_row += len(batch)

    return features, read_as, lists()
