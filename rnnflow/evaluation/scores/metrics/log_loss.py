"""Log loss: the mean of minus the logarithm of the true class's probability; of a class, over its sequences."""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric, Values, Weights
from rnnflow.evaluation.scores.weighting import mean, ratio, sums_by


def measure(answers: Answers) -> Measure:
    right = answers.probabilities[np.arange(len(answers)), answers.labels].astype(np.float64)
    losses = -np.log(np.maximum(right, np.finfo(np.float32).tiny))
    whole = mean(answers, losses)
    total = sums_by(answers, answers.labels, len(answers.classes), losses)
    actual = sums_by(answers, answers.labels, len(answers.classes), np.ones(len(answers)))

    def loss(weights: Weights) -> Values:
        return np.concatenate([whole(weights), ratio(total(weights), actual(weights))])

    return loss


METRIC = Metric(measure, upper=np.inf)
