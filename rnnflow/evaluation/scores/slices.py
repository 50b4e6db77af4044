"""Accuracy by slice: of short to long sequences, of each group, from early to late, of each class."""

from collections.abc import Iterator

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.intervals import wilson

MAX_GROUPS = 100
"""The worst of them; a data set may have a group for each sequence."""


def slices(answers: Answers) -> list[dict[str, object]]:
    """Return accuracy, its interval and the number of sequences of each slice, the first being all sequences."""
    rows = [_row(answers, "all", "", np.full(len(answers), True))]
    rows += [_row(answers, "length", span(low, high), inside) for low, high, inside in by_length(answers)]
    for index in np.unique(answers.labels):
        rows.append(_row(answers, "class", answers.classes[index], answers.labels == index))
    if answers.times is not None:
        days = answers.times.astype("datetime64[s]")
        rows += [
            _row(answers, "time", span(low, high), inside) for low, high, inside in _quantiles(days, answers.num_slices)
        ]
    return rows + _by_group(answers)


def span(low: object, high: object) -> str:
    """Return a range in words, which may be a single value."""
    return str(low) if low == high else f"{low} to {high}"


def by_length(answers: Answers) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield shortest and longest of each slice by length, and which sequences are in it."""
    yield from _quantiles(answers.lengths, answers.num_slices)


def _quantiles(values: np.ndarray, num_slices: int) -> Iterator[tuple]:
    places = np.linspace(0, 1, num_slices + 1)
    edges = np.unique(np.quantile(values.astype(np.int64), places, method="higher"))
    numbers = np.clip(np.searchsorted(edges, values.astype(np.int64), side="right") - 1, 0, max(0, len(edges) - 2))
    for index in np.unique(numbers):
        inside = numbers == index
        yield values[inside].min(), values[inside].max(), inside


def _by_group(answers: Answers) -> list[dict[str, object]]:
    if answers.groups is None:
        return []
    counts = np.bincount(answers.groups)
    right = np.bincount(answers.groups, answers.is_right)
    shown = np.argsort(wilson(right, counts)[1], kind="stable")[:MAX_GROUPS]
    return [
        _interval("group", answers.group_names[index], float(right[index]), int(counts[index]))
        for index in sorted(shown)
    ]


def _row(answers: Answers, by: str, name: str, inside: np.ndarray) -> dict[str, object]:
    return _interval(by, name, float(answers.is_right[inside].sum()), int(inside.sum()))


def _interval(by: str, name: str, num_right: float, num_sequences: int) -> dict[str, object]:
    low, high = map(float, wilson(num_right, num_sequences))
    accuracy = num_right / num_sequences
    return {"by": by, "slice": name, "count": num_sequences, "accuracy": accuracy, "low": low, "high": high}
