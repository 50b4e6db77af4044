"""Macro F1: the mean over the classes that are there of the harmonic mean of precision and recall."""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric, Values, Weights
from rnnflow.evaluation.scores.weighting import ratio, sums_by, with_mean


def measure(answers: Answers) -> Measure:
    num_classes, ones = len(answers.classes), np.ones(len(answers))
    right = sums_by(answers, answers.labels, num_classes, answers.is_right)
    actual = sums_by(answers, answers.labels, num_classes, ones)
    predicted = sums_by(answers, answers.predictions, num_classes, ones)

    def f1(weights: Weights) -> Values:
        is_there = actual(weights)
        scores = ratio(2 * right(weights), is_there + predicted(weights))
        return with_mean(np.where(is_there > 0, scores, np.nan))

    return f1


METRIC = Metric(measure)
