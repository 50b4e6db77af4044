"""Balanced accuracy: the mean recall of the classes that are there; of a class, its recall."""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric, Shares, Values, Weights
from rnnflow.evaluation.scores.weighting import ratio, sums_by, with_mean


def measure(answers: Answers) -> Measure:
    num_classes = len(answers.classes)
    right = sums_by(answers.labels, num_classes, answers.is_right)
    actual = sums_by(answers.labels, num_classes, np.ones(len(answers)))

    def recall(weights: Weights) -> Values:
        return with_mean(ratio(right(weights), actual(weights)))

    return recall


def shares(answers: Answers) -> Shares:
    """Return none of all sequences, since a mean of shares is none."""
    num_classes = len(answers.classes)
    right = np.bincount(answers.labels, answers.is_right, num_classes)
    return np.array([np.nan, *right]), np.array([np.nan, *np.bincount(answers.labels, minlength=num_classes)])


METRIC = Metric(measure, shares)
