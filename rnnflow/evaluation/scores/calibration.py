"""What is chosen on the validation split once a model is trained: a temperature, and when to answer at all."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.runtime.array_types import Float64
from rnnflow.serving.early_rule import EarlyRule

NEVER = 2.0
"""A threshold above every probability."""
TEMPERATURES = (0.1, 10.0)
NUM_DECIMALS = 4
PRECISION, MAX_ITERATIONS = 1e-9, 100
"""Of the search for a temperature."""


@dataclass(frozen=True)
class Calibration:
    """How logits become answers.

    Attributes:
        temperature: what the logits are divided by.
        threshold: the least probability with which the most probable class is answered; none: any.
        early: when a live stream is decided before its end; none: never.
    """

    temperature: float = 1.0
    threshold: float | None = None
    early: EarlyRule | None = None


def fit_temperature(answers: Answers) -> float:
    """Return the temperature with the lowest log loss (Guo et al., 2017); 1 where none is shown to lower it.

    It is fitted on each half of the sequences and tried on the other, with groups kept together: it has to lower the log loss
    of sequences that it was not fitted on.
    """
    logits = np.log(np.maximum(answers.probabilities, np.finfo(np.float32).tiny, dtype=np.float64))
    is_even = (np.arange(len(answers)) if answers.groups is None else answers.groups) % 2 == 0
    if is_even.all() or not is_even.any():
        return 1.0
    gain = 0.0
    for half in (is_even, ~is_even):
        temperature = lowest_temperature(logits[half], answers.labels[half])
        losses = [_losses(logits[~half], answers.labels[~half], each)[0].sum() for each in (1.0, temperature)]
        gain += losses[0] - losses[1]
    return round(lowest_temperature(logits, answers.labels), NUM_DECIMALS) if gain > 0 else 1.0


def lowest_temperature(
    logits: Float64[np.ndarray, "sequence class"], labels: np.ndarray, within: tuple[float, float] = TEMPERATURES
) -> float:
    """Return the temperature of the lowest log loss, as if one more sequence were of each class by equal shares.

    Without that (Platt, 1999), sequences that are all classified correctly would ask for a temperature of 0.
    """
    doubt = 1 / (len(labels) + 1)
    high, low = (1 / each for each in within)  # of the factor, in which the loss is convex
    factor, logits = 1.0, logits - logits.max(1, keepdims=True)
    wanted = ((1 - doubt) * logits[np.arange(len(labels)), labels] + doubt * logits.mean(1)).mean()
    # Newton's method within bounds that close in. To load scipy.optimize takes a process longer than all of its searches here.
    for _ in range(MAX_ITERATIONS):
        shares = np.exp(factor * logits)
        shares /= shares.sum(1, keepdims=True)
        expected = (shares * logits).sum(1)
        slope, curvature = expected.mean() - wanted, ((shares * logits**2).sum(1) - expected**2).mean()
        low, high = (low, factor) if slope > 0 else (factor, high)
        before, factor = factor, factor - slope / max(curvature, np.finfo(np.float64).tiny)
        if not low < factor < high:  # Newton's step leaves what is known of the place
            factor = np.sqrt(low * high)
        if abs(factor - before) <= PRECISION * before:
            break
    return float(1 / factor)


def _losses(
    logits: Float64[np.ndarray, "sequence class"], labels: np.ndarray, temperature: float
) -> tuple[Float64[np.ndarray, " sequence"], Float64[np.ndarray, " sequence"]]:
    """Return minus the logarithm of the true class's probability, and its mean over all classes."""
    scaled = logits / temperature
    scaled -= scaled.max(1, keepdims=True)
    normaliser = np.log(np.exp(scaled).sum(1))
    return normaliser - scaled[np.arange(len(labels)), labels], normaliser - scaled.mean(1)


def choose_threshold(answers: Answers, max_error_share: float | None) -> float | None:
    """Return the threshold that lets most sequences be answered, with at most this share of errors among the answers."""
    if max_error_share is None:
        return None
    confidence, places = np.unique(-answers.confidence, return_inverse=True)
    num_answered = np.cumsum(np.bincount(places))
    num_wrong = np.cumsum(np.bincount(places, 1 - answers.is_right))
    allowed = np.flatnonzero(num_wrong / num_answered <= max_error_share)
    if not len(allowed):
        return NEVER
    return float(np.floor(-confidence[allowed[-1]] * 1e6) / 1e6)  # so that this very sequence passes


def share_answered(answers: Answers, threshold: float | None) -> Mapping[str, float]:
    """Return the share of sequences that are answered and the share of errors among the answers, if there is a threshold."""
    if threshold is None:
        return {}
    is_answered = answers.confidence >= threshold
    num_wrong = float((1 - answers.is_right)[is_answered].sum())
    return {"coverage": float(is_answered.mean()), "selective_error": num_wrong / max(1, int(is_answered.sum()))}
