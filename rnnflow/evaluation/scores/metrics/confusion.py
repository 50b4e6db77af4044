"""Confusion: how many sequences of each actual class were predicted as each class."""

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Metric, Rows


def matrix(answers: Answers) -> Rows:
    num_classes = len(answers.classes)
    counts = np.bincount(answers.labels * num_classes + answers.predictions, minlength=num_classes**2)
    names = ((actual, predicted) for actual in answers.classes for predicted in answers.classes)
    return [
        {"actual": actual, "predicted": predicted, "count": int(count)}
        for (actual, predicted), count in zip(names, counts, strict=True)
    ]


METRIC = Metric(matrix=matrix)
