"""Average precision: the precision over all recalls of a class, each class against the others, and the mean."""

from collections.abc import Mapping

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import MAX_POINTS, Measure, Metric, Rows, Values, Weights, line
from rnnflow.evaluation.scores.weighting import ranked, ratio, with_mean


def measure(answers: Answers) -> Measure:
    ranks = [
        ranked(answers, answers.probabilities[:, label], answers.labels == label, answers.max_ranks)
        for label in range(len(answers.classes))
    ]

    def average(weights: Weights) -> Values:
        averages = []
        for rank in ranks:
            positive, negative = rank(weights)
            averages.append(ratio((positive * _precision(positive, negative)).sum(0), positive.sum(0)))
        return with_mean(np.stack(averages))

    return average


def curves(answers: Answers) -> Rows:
    """Return the precision over the recall of each class."""
    rows: list[Mapping[str, object]] = []
    for label, name in enumerate(answers.classes):
        rank = ranked(answers, answers.probabilities[:, label], answers.labels == label, MAX_POINTS)
        positive, negative = rank(answers.each_once)
        if positive.any():
            recall = np.cumsum(positive[:, 0]) / positive.sum()
            rows += line(name, "recall", recall, "precision", _precision(positive, negative)[:, 0])
    return rows


def _precision(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return it down to each rank; 0 where nothing has been drawn yet."""
    found = np.cumsum(positive, 0)
    return np.nan_to_num(ratio(found, found + np.cumsum(negative, 0)))


METRIC = Metric(measure, curve=curves)
