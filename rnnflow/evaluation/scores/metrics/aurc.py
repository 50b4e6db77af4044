"""Area under the risk-coverage curve: the mean share of errors if only the surest answers are given (Geifman et al., 2019)."""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import MAX_POINTS, Measure, Metric, Rows, Values, Weights, line
from rnnflow.evaluation.scores.weighting import ranked, ratio


def measure(answers: Answers) -> Measure:
    rank = ranked(answers, answers.confidence, answers.is_right == 1, answers.max_ranks)

    def area(weights: Weights) -> Values:
        right, wrong = rank(weights)
        drawn = right + wrong
        return ((drawn * _risk(right, wrong)).sum(0) / drawn.sum(0))[None]

    return area


def risk_coverage(answers: Answers) -> Rows:
    """Return the share of errors among the answers over the share of sequences that are answered, the surest first."""
    right, wrong = ranked(answers, answers.confidence, answers.is_right == 1, MAX_POINTS)(answers.each_once)
    coverage = np.cumsum(right + wrong, 0) / len(answers)
    return line("answered", "coverage", coverage[:, 0], "risk", _risk(right, wrong)[:, 0])


def _risk(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return the share of errors down to each rank; 0 where nothing has been drawn yet."""
    errors = np.cumsum(wrong, 0)
    return np.nan_to_num(ratio(errors, errors + np.cumsum(right, 0)))


METRIC = Metric(measure, curve=risk_coverage)
