"""The files of an evaluation: every metric with its interval, its curve or matrix, and the slices."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rnnflow.evaluation.scores import metrics
from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.calibration import Calibration, share_answered
from rnnflow.evaluation.scores.early import EarlyAnswers
from rnnflow.evaluation.scores.intervals import intervals
from rnnflow.evaluation.scores.slices import slices
from rnnflow.runtime.atomic_writes import write_rows

Found = Mapping[str, np.ndarray]
"""Of each metric: estimate, low and high end, of all sequences and, for some, of each class."""
COLUMNS = "estimate", "low", "high"


def write(folder: Path, answers: Answers, num_resamples: int) -> tuple[Found, list[dict[str, object]]]:
    """Write `tables/`, `curves/` and `matrices/`; return the metrics with their intervals, and the slices."""
    known = metrics.load()
    found = intervals(answers, known, num_resamples)
    cut = slices(answers)
    write_rows(folder / "tables" / "intervals.csv", _intervals(found, answers.classes))
    write_rows(folder / "tables" / "slices.csv", cut)
    for name, metric in known.items():
        for place, table in ("curves", metric.curve), ("matrices", metric.matrix):
            if table and (rows := table(answers)):
                write_rows(folder / place / f"{name}.csv", rows)
    return found, cut


def figures(answers: Answers, calibration: Calibration, early: EarlyAnswers | None = None) -> dict[str, object]:
    """Return each metric of all sequences, without intervals, how many of them are answered, and how early."""
    known = ((name, metric.measure) for name, metric in metrics.load().items())
    estimates = {name: _number(measure(answers)(answers.each_once)[0, 0]) for name, measure in known if measure}
    answered = share_answered(answers, calibration.threshold)
    return {**estimates, **answered, **(early.figures() if early else {}), "num_sequences": len(answers)}


def worst(rows: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    """Return the slice that is bad for certain: its interval ends lowest, however few sequences others have."""
    return min(rows, key=lambda row: float(str(row["high"])))


def _intervals(found: Found, classes: Sequence[str]) -> list[dict[str, object]]:
    """Return a row for each value; `class` is empty where it is that of all sequences. Nothing stands for undefined."""
    return [
        {"metric": metric, "class": name} | {column: _number(end) for column, end in zip(COLUMNS, ends, strict=True)}
        for metric, values in found.items()
        for name, ends in zip(["", *classes], values.T, strict=False)
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
