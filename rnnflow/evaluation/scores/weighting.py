"""Sums over weighted sequences, of which most metrics are made."""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csc_array

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric, Shares, Values, Weights
from rnnflow.runtime.array_types import Bool, Float, Float64, Int


def mean(answers: Answers, of_sequence: Float64[np.ndarray, " sequence"]) -> Measure:
    """Return what computes the mean of a number of each sequence."""
    if answers.units is None:
        return lambda weights: (of_sequence @ weights / weights.sum(0))[None]
    total, size = (np.bincount(answers.units, each, answers.num_units) for each in (of_sequence, None))
    return lambda weights: (total @ weights / (size @ weights))[None]


def sums_by(
    answers: Answers,
    kinds: Int[np.ndarray, " sequence"],
    num_kinds: int,
    of_sequence: Float64[np.ndarray, " sequence"],
) -> Callable[[Weights], Float64[np.ndarray, "kind resample"]]:
    """Return what sums a number of each sequence over the sequences of each kind.

    The sums of each unit are taken once, so that a resample costs as much as there are units, however many sequences they have.
    """
    units = np.arange(len(answers)) if answers.units is None else answers.units
    table = csc_array((of_sequence, (kinds, units)), shape=(num_kinds, answers.num_units)).tocsr()
    table.eliminate_zeros()  # many are flags, each of which would be multiplied for every resample
    return lambda weights: table @ weights


def with_mean(of_class: Float64[np.ndarray, "class resample"]) -> Values:
    """Return the mean over the classes that have a value, and the value of each."""
    is_known = ~np.isnan(of_class)
    means = ratio(np.where(is_known, of_class, 0).sum(0), is_known.sum(0))
    return np.concatenate([means[None], of_class])


def mean_share_right(classes_of: Callable[[Answers], Int[np.ndarray, " sequence"]]) -> Metric:
    """Return the mean over the classes of the share of right answers: recall by the labels, precision by the predictions.

    Args:
        classes_of: returns by which class each sequence is counted.
    """

    def measure(answers: Answers) -> Measure:
        kinds, num_classes = classes_of(answers), len(answers.classes)
        right, all_of = (
            sums_by(answers, kinds, num_classes, each) for each in (answers.is_right, np.ones(len(answers)))
        )
        return lambda weights: with_mean(ratio(right(weights), all_of(weights)))

    def shares(answers: Answers) -> Shares:
        """Return none of all sequences, since a mean of shares is none."""
        kinds, num_classes = classes_of(answers), len(answers.classes)
        right = np.bincount(kinds, answers.is_right, num_classes)
        return np.array([np.nan, *right]), np.array([np.nan, *np.bincount(kinds, minlength=num_classes)])

    return Metric(measure, shares)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return the ratio; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def ranked(
    answers: Answers,
    scores: Float[np.ndarray, " sequence"],
    is_positive: Bool[np.ndarray, " sequence"],
    max_ranks: int | None,
) -> Callable[[Weights], tuple[Float64[np.ndarray, "rank resample"], Float64[np.ndarray, "rank resample"]]]:
    """Return what sums the positive sequences and the others of each rank, the highest score first.

    Sequences with the same score share a rank, and neighbours as well where there would be more than `max_ranks`.
    """
    ranks = np.unique(-scores, return_inverse=True)[1]
    if max_ranks is not None:
        num_before = np.cumsum(np.bincount(ranks)) - 1  # so that ranks hold about as many sequences each
        ranks = np.unique((num_before * max_ranks // len(scores))[ranks], return_inverse=True)[1]
    num_ranks = int(ranks.max()) + 1
    positive = sums_by(answers, ranks, num_ranks, is_positive.astype(np.float64))
    negative = sums_by(answers, ranks, num_ranks, (~is_positive).astype(np.float64))
    return lambda weights: (positive(weights), negative(weights))
