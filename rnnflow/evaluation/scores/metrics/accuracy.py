"""Accuracy: the share of sequences whose most probable class is the true one."""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric, Shares
from rnnflow.evaluation.scores.weighting import mean


def measure(answers: Answers) -> Measure:
    return mean(answers, answers.is_right)


def shares(answers: Answers) -> Shares:
    return np.array([answers.is_right.sum()]), np.array([float(len(answers))])


METRIC = Metric(measure, shares)
