"""Confidence intervals, at 95 %: Wilson's for shares, the bootstrap's for all else; and a test of a loss of accuracy."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics.interface import Measure, Metric, Weights
from rnnflow.runtime.array_types import Float64, Int

Numbers = np.ndarray | float | int

TAIL = 0.025
Z = 1.959963984540054
"""Of the normal distribution, what leaves so much on either side."""
ONE_SIDED_Z = 1.6448536269514722
"""What leaves .05 on one side."""
SEED = 0
WEIGHTS_AT_ONCE = 2**22
"""So that memory does not grow with the number of resamples."""
MAX_RANKS = 256
"""Of scores, that the resamples tell apart: sorting exactly takes ten times longer and moves an interval by nothing to see.
The estimate in its middle is exact.
"""
MAX_SEQUENCES = 50_000
"""That are resampled, where there are no groups: of more, as many of each class by its share, and the spread is scaled to all,
since it falls with the square root of their number (Politis and Romano, 1994).
"""
MAX_GROUPS = 1000
"""That are drawn one by one: of more, several at random are drawn together, which leaves the spread of a sum as it is."""


def wilson(num_right: Numbers, num_sequences: Numbers) -> tuple[Numbers, Numbers]:
    """Return Wilson's interval (1927) of shares; NaN of none.

    As `scipy.stats.binomtest` does, which takes one share at a time and a second to load.
    """
    size = np.asarray(num_sequences, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = num_right / size
        centre = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
        half = Z * np.sqrt(share * (1 - share) / size + Z**2 / (4 * size**2)) / (1 + Z**2 / size)
    # At 0 and 1 an end is the share itself, but for rounding.
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def is_shown_to_lose_less(num_lost: int, num_gained: int, num_sequences: int, margin: float) -> bool:
    """Return whether accuracy falls by less than the margin, at 95 %: Tango's test of matched pairs (1998).

    Args:
        num_lost: sequences that are right before and wrong after.
        num_gained: the other way round.
        num_sequences: all that were tried.
        margin: of accuracy, above zero.
    """
    lost, gained, size = num_lost, num_gained, num_sequences
    # The most likely share of gained sequences where the loss is just the margin, from which comes the variance.
    half = lost + gained - (2 * size - lost + gained) * margin
    share = (half + np.sqrt(half**2 + 8 * size * gained * margin * (1 - margin))) / (4 * size)
    variance = size * (2 * share + margin * (1 - margin))
    return bool(size * margin - (lost - gained) > ONE_SIDED_Z * np.sqrt(variance))


def fewest_to_show(margin: float) -> int:
    """Return how many sequences it takes to show that accuracy falls by less than the margin, where none is lost."""
    return int(ONE_SIDED_Z**2 * (1 - margin) / margin) + 1


def intervals(
    answers: Answers, metrics: Mapping[str, Metric], num_resamples: int
) -> Mapping[str, Float64[np.ndarray, "3 value"]]:
    """Return estimate, low end and high end of each metric's values; NaN where a value is undefined.

    Sequences of a group depend on each other: where there are groups, whole groups are resampled, and a share has the wider
    of the two intervals. Otherwise the sequences of each class are.
    """
    measures = {name: metric.measure for name, metric in metrics.items() if metric.measure}
    some = _some(answers)
    resampled = _resampled(some, {name: measure(some) for name, measure in measures.items()}, num_resamples)
    scale = np.sqrt(len(some) / len(answers))
    found = {}
    for name, measure in measures.items():
        metric, estimate = metrics[name], measure(answers)(answers.each_once)[:, 0]
        low, high = _bootstrap(estimate, resampled[name], metric.upper, scale)
        if metric.shares:
            lows, highs = wilson(*metric.shares(answers))
            if answers.groups is not None:
                lows, highs = np.fmin(lows, low), np.fmax(highs, high)
            low, high = np.where(np.isnan(lows), low, lows), np.where(np.isnan(highs), high, highs)
        found[name] = np.stack([estimate, low, high])
    return found


def _bootstrap(
    estimate: Float64[np.ndarray, " value"],
    resampled: Float64[np.ndarray, "value resample"],
    upper: float,
    scale: float,
) -> tuple[Float64[np.ndarray, " value"], Float64[np.ndarray, " value"]]:
    """Return the percentile interval, moved by the bias of the bootstrap.

    A calibration error is larger in nearly every resample than in the data; unmoved, its interval would lie beside it.
    """
    ends = np.full((2, len(estimate)), np.nan)
    is_known = ~np.isnan(estimate) & ~np.isnan(resampled).all(1)
    known = resampled[is_known]
    mean = np.nanmean(known, 1)
    bias = mean - estimate[is_known]
    if scale != 1:
        known = mean[:, None] + scale * (known - mean[:, None])
    ends[:, is_known] = np.clip(np.nanquantile(known, [TAIL, 1 - TAIL], axis=1) - bias, 0, upper)
    return ends[0], ends[1]


def _some(answers: Answers) -> Answers:
    """Return what is resampled: all, or so many that it ends in a minute, with the same shares of the classes."""
    if answers.groups is not None:
        return replace(answers, max_ranks=MAX_RANKS, units=few_groups(answers.groups, MAX_GROUPS))
    if len(answers) <= MAX_SEQUENCES:
        return replace(answers, max_ranks=MAX_RANKS)
    mixed = np.random.default_rng(SEED).permutation(len(answers))
    by_class = mixed[np.argsort(answers.labels[mixed], kind="stable")]
    taken = by_class[np.linspace(0, len(answers) - 1, MAX_SEQUENCES).astype(np.int64)]
    rows = {name: getattr(answers, name)[taken] for name in ("labels", "probabilities", "lengths")}
    return replace(answers, times=None, max_ranks=MAX_RANKS, **rows)


def few_groups(groups: Int[np.ndarray, " sequence"], max_groups: int) -> Int[np.ndarray, " sequence"]:
    """Return groups as they are, or at most so many of several groups each, chosen at random.

    Groups are independent, and so are sums over disjoint sets of them: resampling these shows the same spread.
    """
    num_groups = int(groups.max()) + 1
    if num_groups <= max_groups:
        return groups
    return (np.random.default_rng(SEED).permutation(num_groups) % max_groups)[groups]


def _resampled(
    answers: Answers, measures: Mapping[str, Measure], num_resamples: int
) -> Mapping[str, Float64[np.ndarray, "value resample"]]:
    rng = np.random.default_rng(SEED)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in measures}
    for weights in _weights(answers, rng, num_resamples):
        for name, measure in measures.items():
            parts[name].append(measure(weights))
    return {name: np.concatenate(values, axis=1) for name, values in parts.items()}


def _weights(answers: Answers, rng: np.random.Generator, num_resamples: int) -> Iterator[Weights]:
    """Yield how often each unit is drawn, for some resamples at a time."""
    num_units = answers.num_units
    at_once = max(1, WEIGHTS_AT_ONCE // num_units)
    draw = _draw_of_classes(answers) if answers.units is None else partial(_counts, size=num_units)
    for start in range(0, num_resamples, at_once):
        yield draw(rng, min(at_once, num_resamples - start))


_Draw = Callable[[np.random.Generator, int], Weights]


def _draw_of_classes(answers: Answers) -> _Draw:
    """Draw as many sequences of each class as there are."""
    order = np.argsort(answers.labels, kind="stable")
    sizes = np.bincount(answers.labels)
    strata = np.split(order, np.cumsum(sizes)[:-1])

    def draw(rng: np.random.Generator, num_resamples: int) -> Weights:
        weights = np.empty((len(order), num_resamples))
        for stratum in strata:
            weights[stratum] = _counts(rng, num_resamples, len(stratum))
        return weights

    return draw


def _counts(rng: np.random.Generator, num_resamples: int, size: int) -> Float64[np.ndarray, "drawn resample"]:
    """Return how often each of `size` is among as many draws."""
    drawn = rng.integers(0, max(size, 1), (size, num_resamples))
    drawn *= num_resamples  # in place, since to have new memory for so many takes as long as to fill it
    drawn += np.arange(num_resamples)
    return np.bincount(drawn.ravel(), minlength=num_resamples * size).reshape(size, num_resamples).astype(np.float64)
