"""Area under the ROC curve, each class against the others, and the mean over the classes; undefined if one is absent."""

from collections.abc import Mapping

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import MAX_POINTS, Measure, Metric, Rows, Values, Weights, line
from rnnflow.evaluation.scores.weighting import ranked, ratio, with_mean


def measure(answers: Answers) -> Measure:
    num_classes = len(answers.classes)
    # Of two classes, each is the other's mirror image.
    labels = range(num_classes) if num_classes > 2 else [1, 1]
    ranks = {
        label: ranked(answers, answers.probabilities[:, label], answers.labels == label, answers.max_ranks)
        for label in set(labels)
    }

    def area(weights: Weights) -> Values:
        areas = {}
        for label, rank in ranks.items():
            positive, negative = rank(weights)
            above = np.cumsum(positive, 0) - positive / 2
            areas[label] = ratio((negative * above).sum(0), positive.sum(0) * negative.sum(0))
        of_class = np.stack([areas[label] for label in labels])
        values = with_mean(of_class)
        values[0, np.isnan(of_class).any(0)] = np.nan
        return values

    return area


def curves(answers: Answers) -> Rows:
    """Return the share of a class that is found over the share of the others that is taken for it."""
    rows: list[Mapping[str, object]] = []
    for label, name in enumerate(answers.classes):
        rank = ranked(answers, answers.probabilities[:, label], answers.labels == label, MAX_POINTS)
        positive, negative = (sums[:, 0] for sums in rank(answers.each_once))
        if positive.any() and negative.any():
            found, false = (np.cumsum([0.0, *sums]) / sums.sum() for sums in (positive, negative))
            rows += line(name, "false positive rate", false, "true positive rate", found)
    return rows


METRIC = Metric(measure, curve=curves)
