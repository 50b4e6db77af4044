"""The worst errors, drawn: a sequence, and the probabilities after each of its steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from rnnflow.evaluation.report import charts
from rnnflow.evaluation.report.drawing import svg
from rnnflow.evaluation.report.worst_errors import WorstError


@dataclass(frozen=True)
class ErrorCard:
    """One of the worst errors with its two charts, and the probabilities of the two classes after the last step."""

    error: WorstError
    values: Markup
    answers: Markup
    of_predicted: float
    of_actual: float


def card(error: WorstError, features: Sequence[str], classes: Sequence[str]) -> ErrorCard:
    """Draw one of the worst errors; `features` and `classes` are the model's."""
    of_predicted, of_actual = (
        float(error.probabilities[-1, classes.index(name)]) for name in (error.predicted, error.actual)
    )
    return ErrorCard(
        error,
        svg(charts.values(_values(error, features), len(features)), f"Values of sequence {error.id}"),
        svg(charts.answers(_answers(error, classes)), f"Probabilities over the steps of sequence {error.id}"),
        of_predicted,
        of_actual,
    )


def _answers(error: WorstError, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the probability of each class over the steps, those that matter last, so that they are drawn on top."""
    roles = {error.actual: "actual", error.predicted: "predicted"}
    return [
        {"step": step, "class": name, "probability": probability, "role": roles.get(name, "other")}
        for name in sorted(classes, key=roles.__contains__)
        for step, probability in zip(
            error.steps.tolist(), error.probabilities[:, classes.index(name)].tolist(), strict=True
        )
    ]


def _values(error: WorstError, features: Sequence[str]) -> list[dict[str, Any]]:
    """Return the known values, and where each is between the least and the largest of its feature."""
    num_steps = len(error.values)
    steps = np.unique(np.linspace(0, num_steps - 1, min(num_steps, charts.MAX_POINTS)).round().astype(int))
    rows = []
    for index, name in enumerate(features):
        column = error.values[steps, index].astype(float)
        is_known = ~np.isnan(column)
        low, width = (np.nanmin(column), np.ptp(column[is_known]) or 1.0) if is_known.any() else (0.0, 1.0)
        rows += [
            {"step": int(step) + 1, "feature": name, "value": value, "level": (value - low) / width}
            for step, value in zip(steps[is_known], column[is_known].tolist(), strict=True)
        ]
    return rows
