"""Brier score: half the squared distance of the probabilities from the truth, which is 1 for one class (Brier, 1950).

Half, so that it lies between 0 and 1 and is the usual score for two classes.
"""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric
from rnnflow.evaluation.scores.weighting import mean


def measure(answers: Answers) -> Measure:
    squares = np.einsum("sc,sc->s", answers.probabilities, answers.probabilities, dtype=np.float64)
    right = answers.probabilities[np.arange(len(answers)), answers.labels].astype(np.float64)
    return mean(answers, (squares - 2 * right + 1) / 2)


METRIC = Metric(measure)
