"""What the file of a metric contains."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.runtime.array_types import Float64

Weights = Float64[np.ndarray, "unit resample"]
"""How often each unit counts, a sequence or a group that is drawn as a whole, once for each resample of the bootstrap."""
Values = Float64[np.ndarray, "value resample"]
"""Of all sequences; where a metric has a value for each class as well, those follow. NaN where one is undefined."""
Measure = Callable[[Weights], Values]
Shares = tuple[Float64[np.ndarray, " value"], Float64[np.ndarray, " value"]]
"""How many sequences, of how many: of all, and where there are such, of each class."""
Rows = Sequence[Mapping[str, object]]
MAX_POINTS = 200
"""Of a line: more are not seen, and a table of a million sequences would have as many."""


@dataclass(frozen=True)
class Metric:
    """A metric: a number with its interval, a plot, or both.

    Attributes:
        measure: returns what computes the metric for weighted units, so that whatever does not depend on the weights
            is computed once and not for each resample. It is a few lines of NumPy: scikit-learn, which the tests
            compare with, checks its arguments at each call, which takes longer than the computation.
        shares: of sequences, for a metric that is one; its interval is then Wilson's.
        curve: lines to draw, as `curve` and `.dvc/plots/curve.json` know them.
        matrix: counts by `actual` and `predicted` class.
        upper: the largest value it can have; the smallest is 0.
    """

    measure: Callable[[Answers], Measure] | None = None
    shares: Callable[[Answers], Shares] | None = None
    curve: Callable[[Answers], Rows] | None = None
    matrix: Callable[[Answers], Rows] | None = None
    upper: float = 1.0


def line(name: str, x_axis: str, x: np.ndarray, y_axis: str, y: np.ndarray) -> Rows:
    """Return a line of a plot, thinned out.

    Args:
        name: tells it from other lines of the plot.
        x_axis: what stands on this axis.
        x: of each point.
        y_axis: what stands on the other.
        y: of each point.
    """
    shown = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).astype(int))
    return [{"x_axis": x_axis, "line": name, "x": float(x[index]), y_axis: float(y[index])} for index in shown]
