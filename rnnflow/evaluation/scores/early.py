"""Deciding before the end of a sequence: when, and what that costs."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rnnflow.classifier.predict_split import Labels, StepProbabilities
from rnnflow.evaluation.scores.calibration import lowest_temperature
from rnnflow.evaluation.scores.intervals import is_shown_to_lose_less
from rnnflow.evaluation.scores.metrics.interface import Rows, line
from rnnflow.runtime.array_types import Float32, Float64, Int64
from rnnflow.serving.early_rule import EarlyRule, calibrated_confidence

PARTS = np.arange(1, 21)
"""Of a sequence, in twentieths rounded up to whole steps: after each its answers are looked at, as TEASER does (Schäfer and
Leser, 2020)."""
NUM_PARTS = len(PARTS)
THRESHOLDS = np.unique((1 / (1 + np.exp(-np.linspace(-3, 12, 76)))).round(6))
"""Evenly spaced in the log-odds, since what tells thresholds apart is how far they are from 1."""
TEMPERATURES = (0.1, 100.0)
"""Early answers of a classifier that was trained on whole sequences can be that much too sure."""


@dataclass(frozen=True)
class EarlyAnswers:
    """The answers to the beginnings of the sequences of a split, and the decisions, as means over the sequences."""

    accuracy_by_part: Float64[np.ndarray, " part"]
    """Of the answers after so much of a sequence, whether they are decisions or not."""
    decided_by_part: Float64[np.ndarray, " part"] | None = None
    """Share of the sequences that are decided once so much of each has been seen; none if there is no rule."""
    accuracy: float = np.nan
    """Of the decisions; a sequence that stays undecided is answered at its end."""
    share_seen: float = np.nan
    """Of a sequence until its decision."""

    def figures(self) -> dict[str, object]:
        """Return what the rule comes to, with the harmonic mean of accuracy and earliness (Schäfer and Leser, 2020)."""
        if self.decided_by_part is None:
            return {}
        both = self.accuracy, 1 - self.share_seen
        mean = 2 * both[0] * both[1] / sum(both) if sum(both) else 0.0
        return {
            "early_accuracy": self.accuracy,
            "early_share_seen": self.share_seen,
            "early_harmonic_mean": mean,
        }

    def curve(self) -> Rows:
        """Return the lines of the plot."""
        lines = {"accuracy": self.accuracy_by_part, "decided": self.decided_by_part}
        return [
            row
            for name, values in lines.items()
            if values is not None
            for row in line(name, "share of the sequence seen", PARTS / NUM_PARTS, "share", values)
        ]


def early_answers(
    batches: Iterable[StepProbabilities], labels: Labels, block_size: int, rule: EarlyRule | None, least: float | None
) -> EarlyAnswers:
    """Return the means over all sequences.

    Args:
        batches: of all of them.
        labels: the true classes.
        block_size: steps of a sequence that are one of the layers' steps.
        rule: decides; none: nothing is decided before its end.
        least: the probability below which the answer is `unknown`, and no decision.
    """
    right_by_part, decided_by_part = np.zeros(NUM_PARTS), np.zeros(NUM_PARTS)
    num_right, seen = 0.0, 0.0
    for rows, num_steps, lengths, probabilities in batches:
        row, ends = np.arange(len(rows))[:, None], num_steps[:, None]
        is_right = np.equal(probabilities.argmax(2), labels[rows][:, None])
        parts = -(-PARTS * ends // NUM_PARTS)
        right_by_part += is_right[row, parts - 1].sum(0)
        if rule:
            looks = np.asarray(rule.steps) // block_size
            at_looks, _ = _at(probabilities, num_steps, looks)
            decides = _confidence(at_looks, np.asarray(rule.temperatures), looks, num_steps, least) >= rule.threshold
            decided_at = _first(decides, looks, num_steps)
            num_right += is_right[row[:, 0], decided_at - 1].sum()
            seen += (np.minimum(block_size * decided_at, lengths) / lengths).sum()
            is_decided = decides.any(1, keepdims=True) & (decided_at[:, None] <= parts)
            decided_by_part += is_decided.sum(0)
    count = len(labels)
    if not rule:
        return EarlyAnswers(right_by_part / count)
    return EarlyAnswers(right_by_part / count, decided_by_part / count, float(num_right / count), float(seen / count))


def fit_early_rule(
    batches: Iterable[StepProbabilities],
    labels: Labels,
    longest: int,
    block_size: int,
    max_loss: float,
    least: float | None,
) -> EarlyRule | None:
    """Return the rule that decides earliest and is shown to lose less than `max_loss` of accuracy, as every higher threshold is.

    One threshold after another is tested, from the highest down, until one fails: in this order no correction is needed for
    how many are tried (Angelopoulos et al., 2021). So a split of few sequences, which shows little, gives no rule.

    Args:
        batches: of the validation split.
        labels: the true classes.
        longest: most steps of the layers for a sequence.
        block_size: steps of a sequence that are one of them.
        max_loss: of accuracy, against the answers at the end.
        least: the probability below which the answer is `unknown`, and no decision.

    Returns:
        None if no threshold is shown to do, or none decides anything before its end.
    """
    looks = np.unique(-(-PARTS * longest // NUM_PARTS))
    found = [(rows, num_steps, *_at(probabilities, num_steps, looks)) for rows, num_steps, _, probabilities in batches]
    rows, num_steps, at_looks, final = (np.concatenate(each) for each in zip(*found, strict=True))
    labels = labels[rows]
    has_look = looks <= num_steps[:, None]
    logits = np.log(np.maximum(at_looks, np.finfo(np.float32).tiny, dtype=np.float64))
    temperatures = np.array([
        lowest_temperature(logits[has_look[:, look], look], labels[has_look[:, look]], TEMPERATURES)
        for look in range(len(looks))
    ]).round(4)  # fmt: skip
    confidence = _confidence(at_looks, temperatures, looks, num_steps, least)
    is_right, is_right_finally = np.equal(at_looks.argmax(2), labels[:, None]), np.equal(final.argmax(1), labels)
    chosen = None
    for threshold in THRESHOLDS[::-1]:
        decides = confidence >= threshold
        right = np.where(decides.any(1), is_right[np.arange(len(labels)), decides.argmax(1)], is_right_finally)
        num_lost, num_gained = int((is_right_finally & ~right).sum()), int((right & ~is_right_finally).sum())
        if not is_shown_to_lose_less(num_lost, num_gained, len(labels), max_loss):
            break
        if (_first(decides, looks, num_steps) < num_steps).any():
            chosen = float(threshold)
    steps = (block_size * looks).tolist()
    return None if chosen is None else EarlyRule(chosen, steps, temperatures.tolist())


def _at(
    probabilities: np.ndarray, num_steps: np.ndarray, looks: np.ndarray
) -> tuple[Float32[np.ndarray, "batch look class"], Float32[np.ndarray, "batch class"]]:
    """Return the probabilities at the looks, anything behind a sequence's end, and those at its end."""
    at_looks = probabilities[:, np.minimum(looks, probabilities.shape[1]) - 1]
    return at_looks, probabilities[np.arange(len(num_steps)), num_steps - 1]


def _confidence(
    at_looks: np.ndarray, temperatures: np.ndarray, looks: np.ndarray, num_steps: np.ndarray, least: float | None
) -> Float64[np.ndarray, "sequence look"]:
    """Return the calibrated probabilities of the most probable classes, 0 behind the end and where it is `unknown`."""
    may_decide = looks <= num_steps[:, None]
    if least is not None:
        may_decide &= at_looks.max(2) >= least
    return np.where(may_decide, calibrated_confidence(at_looks, temperatures), 0)


def _first(decides: np.ndarray, looks: np.ndarray, num_steps: np.ndarray) -> Int64[np.ndarray, " sequence"]:
    """Return the step of the first look that decides, the last one of a sequence where none does."""
    return np.where(decides.any(1), looks[decides.argmax(1)], num_steps)
