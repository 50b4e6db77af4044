"""Expected calibration error: how far confidence is from accuracy, in bins of equal width (Guo et al., 2017).

A finite number of sequences makes it too large, a small one much too large.
"""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric, Rows, Values, Weights, line
from rnnflow.evaluation.scores.weighting import sums_by


def measure(answers: Answers) -> Measure:
    bins, num_bins = _bins(answers), answers.num_bins
    gaps = sums_by(answers, bins, num_bins, answers.is_right - answers.confidence)
    counts = sums_by(answers, bins, num_bins, np.ones(len(answers)))

    def error(weights: Weights) -> Values:
        return (np.abs(gaps(weights)).sum(0) / counts(weights).sum(0))[None]

    return error


def reliability(answers: Answers) -> Rows:
    """Return the accuracy over the confidence of each bin, beside what it should be."""
    bins = _bins(answers)
    counts = np.bincount(bins, minlength=answers.num_bins)
    used = counts > 0
    confidence, accuracy = (
        np.bincount(bins, values, answers.num_bins)[used] / counts[used]
        for values in (answers.confidence, answers.is_right)
    )
    ideal = np.array([0.0, 1.0])
    axes = "confidence", "accuracy"
    return [
        *line("reliability", axes[0], confidence, axes[1], accuracy),
        *line("ideal", axes[0], ideal, axes[1], ideal),
    ]


def _bins(answers: Answers) -> np.ndarray:
    return np.minimum((answers.confidence * answers.num_bins).astype(np.int64), answers.num_bins - 1)


METRIC = Metric(measure, curve=reliability)
