"""The paired bootstrap of two models: how far the differences in their metrics would move on other sequences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from rnnflow.classifier.predict_split import Labels
from rnnflow.evaluation.scores.intervals import MAX_GROUPS, few_groups
from rnnflow.evaluation.scores.scoring import Scores
from rnnflow.params.compare import CompareParams
from rnnflow.runtime.array_types import Float64, Int

METRICS = ("accuracy", "macro_f1", "log_loss")
NUMBERS_AT_ONCE = 2**22
"""Of resampled counts, so that memory does not grow with the number of resamples."""


@dataclass(frozen=True)
class Pairs:
    """What two models answered to the same sequences.

    Attributes:
        labels: the true classes.
        challenger: its scores.
        production: those of the model in production.
        classes: names of the classes.
        groups: subject or device of each sequence, as a number; none where sequences are independent.
    """

    labels: Labels
    challenger: Scores
    production: Scores
    classes: tuple[str, ...]
    groups: Int[np.ndarray, " sequence"] | None = None


def macro_f1(labels: Labels, predictions: Int[np.ndarray, " sequence"], num_classes: int) -> float:
    """Return the mean F1 of the classes that are among the labels."""
    right = np.bincount(labels[predictions == labels], minlength=num_classes)
    actual, predicted = (np.bincount(values, minlength=num_classes) for values in (labels, predictions))
    return float(_f1(right, actual, predicted)[actual > 0].mean())


def _f1(right: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return 2 * right / np.maximum(actual + predicted, 1)


@dataclass(frozen=True)
class Sample:
    """Of the bootstrap: the differences in the data, and in each resample."""

    estimates: Mapping[str, float]
    values: Mapping[str, Float64[np.ndarray, " resample"]]
    recalls: Float64[np.ndarray, "resample class"]


class _Cells:
    """Sequences with the same label and the same two predictions: all that accuracy, recall and F1 depend on.

    A resample is then a count for each cell instead of a row for each sequence, exact and as cheap for a million
    sequences as for a thousand.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.num_classes = len(pairs.classes)
        shape = (self.num_classes,) * 3
        predictions = pairs.challenger.predictions, pairs.production.predictions
        codes = np.ravel_multi_index((pairs.labels, *predictions), shape)
        unique, self.of_sequence, self.counts = np.unique(codes, return_inverse=True, return_counts=True)
        self.labels, *self.predictions = np.unravel_index(unique, shape)
        losses = pairs.challenger.losses.astype(np.float64) - pairs.production.losses
        self.loss_differences = losses
        self.loss_means = np.bincount(self.of_sequence, losses) / self.counts
        squares = np.bincount(self.of_sequence, losses**2) / self.counts
        self.loss_variances = np.maximum(squares - self.loss_means**2, 0)

    def statistics(
        self, counts: Float64[np.ndarray, "resample cell"], losses: Float64[np.ndarray, " resample"]
    ) -> tuple[dict[str, Float64[np.ndarray, " resample"]], Float64[np.ndarray, "resample class"]]:
        """Return the differences by metric, and in the recall of each class, for counts of the cells."""
        totals = counts.sum(1)
        actual = self._by_class(counts, self.labels)
        right, f1 = [], []
        for predictions in self.predictions:
            is_right = predictions == self.labels
            right.append(self._by_class(counts[:, is_right], self.labels[is_right]))
            scores = _f1(right[-1], actual, self._by_class(counts, predictions))
            f1.append((scores * (actual > 0)).sum(1) / (actual > 0).sum(1))
        won = right[0] - right[1]
        with np.errstate(invalid="ignore"):  # a class that no resampled group has is not a number
            recalls = won / actual
        return {"accuracy": won.sum(1) / totals, "macro_f1": f1[0] - f1[1], "log_loss": losses / totals}, recalls

    def _by_class(self, counts: np.ndarray, classes: np.ndarray) -> Float64[np.ndarray, "resample class"]:
        size = len(classes)
        is_of_class = csr_array((np.ones(size), (np.arange(size), classes)), shape=(size, self.num_classes))
        return counts @ is_of_class


def resampled(pairs: Pairs, settings: CompareParams) -> Sample:
    """Return the paired bootstrap: of the sequences of each class, or of whole groups where there are any."""
    rng = np.random.default_rng(settings.seed)
    cells = _Cells(pairs)
    estimates, _ = cells.statistics(cells.counts[None].astype(np.float64), cells.loss_differences.sum()[None])
    groups = None if pairs.groups is None else few_groups(pairs.groups, MAX_GROUPS)
    draw = _draws_of_classes(cells) if groups is None else _draws_of_groups(cells, groups)
    num_groups = 0 if groups is None else int(groups.max()) + 1
    at_once = max(1, NUMBERS_AT_ONCE // max(len(cells.counts), num_groups))
    parts = [
        cells.statistics(*draw(rng, min(at_once, settings.num_resamples - start)))
        for start in range(0, settings.num_resamples, at_once)
    ]
    return Sample(
        {name: float(values[0]) for name, values in estimates.items()},
        {name: np.concatenate([values[name] for values, _ in parts]) for name in METRICS},
        np.concatenate([recalls for _, recalls in parts]),
    )


_Draw = Callable[
    [np.random.Generator, int], tuple[Float64[np.ndarray, "resample cell"], Float64[np.ndarray, " resample"]]
]
"""Returns, for so many resamples, the counts of the cells and the sum of the differences in loss."""


def _draws_of_classes(cells: _Cells) -> _Draw:
    """Resample the sequences of each class.

    The loss within a cell is drawn as the normal distribution that the sum of its sequences tends to.
    """
    starts = np.flatnonzero(np.diff(cells.labels, prepend=-1))
    strata = [slice(start, end) for start, end in pairwise([*starts.tolist(), len(cells.labels)])]

    def draw(rng: np.random.Generator, num_resamples: int) -> tuple[np.ndarray, np.ndarray]:
        counts = np.empty((num_resamples, len(cells.counts)))
        for stratum in strata:
            inside = cells.counts[stratum]
            counts[:, stratum] = rng.multinomial(inside.sum(), inside / inside.sum(), num_resamples)
        noise = rng.standard_normal(num_resamples)
        return counts, counts @ cells.loss_means + np.sqrt(counts @ cells.loss_variances) * noise

    return draw


def _draws_of_groups(cells: _Cells, groups: Int[np.ndarray, " sequence"]) -> _Draw:
    """Resample whole groups, whose sequences depend on each other."""
    num_groups = int(groups.max()) + 1
    ones = np.ones(len(groups))
    by_group = csr_array((ones, (groups, cells.of_sequence)), shape=(num_groups, len(cells.counts)))
    losses = np.bincount(groups, cells.loss_differences, num_groups)

    def draw(rng: np.random.Generator, num_resamples: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = rng.integers(0, num_groups, (num_resamples, num_groups))
        weights = np.stack([np.bincount(row, minlength=num_groups) for row in drawn]).astype(np.float64)
        return np.asarray(weights @ by_group), weights @ losses

    return draw
