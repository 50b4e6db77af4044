"""Macro precision: of the sequences that are given a class, the share that is of it; the mean over the classes."""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric, Shares, Values, Weights
from rnnflow.evaluation.scores.weighting import ratio, sums_by, with_mean


def measure(answers: Answers) -> Measure:
    num_classes = len(answers.classes)
    right = sums_by(answers.predictions, num_classes, answers.is_right)
    predicted = sums_by(answers.predictions, num_classes, np.ones(len(answers)))

    def precision(weights: Weights) -> Values:
        return with_mean(ratio(right(weights), predicted(weights)))

    return precision


def shares(answers: Answers) -> Shares:
    """Return none of all sequences, since a mean of shares is none."""
    num_classes = len(answers.classes)
    right = np.bincount(answers.predictions, answers.is_right, num_classes)
    return np.array([np.nan, *right]), np.array([np.nan, *np.bincount(answers.predictions, minlength=num_classes)])


METRIC = Metric(measure, shares)
