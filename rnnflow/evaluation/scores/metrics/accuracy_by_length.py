"""Accuracy by length: of slices from short to long sequences, over the longest of each."""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.intervals import wilson
from rnnflow.evaluation.scores.metrics.interface import Metric, Rows, line
from rnnflow.evaluation.scores.slices import by_length


def curve(answers: Answers) -> Rows:
    longest, counts, right = np.array(
        [(high, inside.sum(), answers.is_right[inside].sum()) for _, high, inside in by_length(answers)]
    ).T
    low, high = wilson(right, counts)
    values = {"accuracy": right / counts, "95 % low": low, "95 % high": high}
    return [
        row
        for name, value in values.items()
        for row in line(name, "longest sequence", longest, "accuracy", np.asarray(value))
    ]


METRIC = Metric(curve=curve)
