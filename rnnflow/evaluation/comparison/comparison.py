"""Whether a challenger is better than the production model: a paired comparison on the same test sequences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnflow.evaluation.comparison.paired_bootstrap import Pairs, resampled
from rnnflow.params.compare import CompareParams
from rnnflow.runtime.array_types import Float64

Verdict = Literal["better", "not worse", "worse", "undecided"]


@dataclass(frozen=True)
class Interval:
    """A difference, challenger minus production."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassDifference:
    """The difference in the recall of one class; `low` and `high` are one-sided bounds, each at the confidence."""

    name: str
    num_sequences: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """All that the verdict rests on."""

    challenger_only: int
    """Sequences that only the challenger got right."""
    production_only: int
    p_value: float
    """Of McNemar's exact test."""
    differences: Mapping[str, Interval]
    classes: tuple[ClassDifference, ...]


@dataclass(frozen=True)
class Judgement:
    """The verdict, and why."""

    verdict: Verdict
    reasons: list[str]


def compare(pairs: Pairs, settings: CompareParams) -> Comparison:
    """Return the differences between two models, with their uncertainty."""
    is_right = pairs.challenger.predictions == pairs.labels, pairs.production.predictions == pairs.labels
    challenger_only = int((is_right[0] & ~is_right[1]).sum())
    production_only = int((~is_right[0] & is_right[1]).sum())
    sample = resampled(pairs, settings)
    tail = 100 * (1 - settings.confidence) / 2
    differences = {
        name: Interval(sample.estimates[name], *map(float, np.percentile(values, (tail, 100 - tail))))
        for name, values in sample.values.items()
    }
    return Comparison(
        challenger_only,
        production_only,
        mcnemar(challenger_only, production_only),
        differences,
        tuple(_class_differences(pairs, is_right, sample.recalls, settings.confidence)),
    )


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: whether the discordant pairs are evenly shared."""
    from scipy.stats import binomtest  # loads in a second

    num_discordant = first_only + second_only
    return float(binomtest(first_only, num_discordant).pvalue) if num_discordant else 1.0


def judge(found: Comparison, settings: CompareParams) -> Judgement:
    """Return what the differences mean.

    `better` needs a significant gain in accuracy, `not worse` a loss that is certainly below `margin`; both that no
    class, and neither macro F1 nor log loss, stands against it. `worse` is a loss that is significant, of all
    sequences or of a class. All else is `undecided`.
    """
    accuracy = found.differences["accuracy"]
    is_significant = found.p_value <= 1 - settings.confidence
    said = f"accuracy {_interval(accuracy)}, McNemar's p {found.p_value:.2g}"
    # McNemar's test takes sequences as independent; the bootstrap resamples groups where there are any.
    if is_significant and accuracy.high < 0:
        return Judgement("worse", [f"significantly less accurate: {said}"])
    objections, is_harmed = _objections(found, settings)
    if objections:
        return Judgement("worse" if is_harmed else "undecided", [*objections, said])
    if is_significant and accuracy.low > 0:
        return Judgement("better", [f"significantly more accurate: {said}"])
    if accuracy.low > -settings.margin:
        return Judgement("not worse", [f"loses less than the margin of {settings.margin:g}: {said}"])
    return Judgement("undecided", [f"the test split cannot tell: {said}; the margin is {settings.margin:g}"])


def _objections(found: Comparison, settings: CompareParams) -> tuple[list[str], bool]:
    """Return what stands against a challenger that is not less accurate as a whole, and whether a class is worse."""
    objections, is_harmed = [], False
    for entry in found.classes:
        recall = f"class {entry.name!r}: recall {_interval(entry)} on {entry.num_sequences} sequences"
        margin = settings.class_margin
        if entry.high < (-margin if entry.num_sequences < settings.min_class_sequences else 0) and entry.low < -margin:
            objections.append(f"{recall}, significantly worse")
            is_harmed = True
        elif entry.num_sequences >= settings.min_class_sequences and entry.low <= -margin:
            objections.append(f"{recall}, may be worse by more than the margin of {margin:g}")
    if found.differences["macro_f1"].high < 0:
        objections.append(f"macro F1 {_interval(found.differences['macro_f1'])}, significantly worse")
    if found.differences["log_loss"].low > settings.log_loss_margin:
        objections.append(
            f"log loss {_interval(found.differences['log_loss'])}, worse by more than the margin of "
            f"{settings.log_loss_margin:g}"
        )
    return objections, is_harmed


def _interval(difference: Interval | ClassDifference) -> str:
    return f"{difference.estimate:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"


def _class_differences(
    pairs: Pairs, is_right: tuple[np.ndarray, np.ndarray], recalls: Float64[np.ndarray, "resample class"], level: float
) -> Iterator[ClassDifference]:
    """Yield each class that is in the test split.

    The bounds are the adjusted Wald bounds for matched pairs (Agresti and Min, 2005), which hold for few discordant
    pairs as well; where there are groups, the bootstrap's if those are wider.
    """
    from scipy.stats import norm

    z = float(norm.ppf(level))
    num_classes = len(pairs.classes)
    counts = np.bincount(pairs.labels, minlength=num_classes)
    won = np.bincount(pairs.labels[is_right[0] & ~is_right[1]], minlength=num_classes)
    lost = np.bincount(pairs.labels[~is_right[0] & is_right[1]], minlength=num_classes)
    for index in np.flatnonzero(counts):
        size = counts[index] + 2
        centre = (won[index] - lost[index]) / size
        error = z * np.sqrt(won[index] + lost[index] + 1 - size * centre**2) / size
        low, high = centre - error, centre + error
        if pairs.groups is not None:
            tail = 100 * (1 - level)
            resampled = np.nanpercentile(recalls[:, index], (tail, 100 - tail))
            low, high = min(low, resampled[0]), max(high, resampled[1])
        estimate = (won[index] - lost[index]) / counts[index]
        yield ClassDifference(pairs.classes[index], int(counts[index]), float(estimate), float(low), float(high))
