"""When a live stream is decided before its end."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnflow.runtime.array_types import Float64


@dataclass(frozen=True)
class EarlyRule:
    """A stream is decided at the first look at which its most probable class is probable enough.

    Of the triggers that Renault et al. (2024) compare for early classification, a threshold is the simplest, and holds its
    own against those that are fitted. A classifier trained on whole sequences is far too sure of itself before their
    end, so each look has a temperature of its own, by which the probabilities are calibrated first.

    Attributes:
        threshold: the least calibrated probability of the most probable class.
        steps: of a stream, after which it is looked at, in rising order.
        temperatures: of each look.
    """

    threshold: float
    steps: list[int]
    temperatures: list[float]

    def confidence(self, probabilities: Any, look: Any = slice(None)) -> Float64[np.ndarray, "*look"]:
        """Return the calibrated probability of the most probable class at looks.

        Args:
            probabilities: of the classes after the steps of each look (look, class), or those of several sequences.
            look: which looks these are, as indices; all by default.
        """
        return calibrated_confidence(probabilities, np.asarray(self.temperatures)[look])


def calibrated_confidence(
    probabilities: Any, temperatures: Float64[np.ndarray, " look"]
) -> Float64[np.ndarray, "*look"]:
    """Return the probability of the most probable class where the logits of each look are divided by its temperature."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny, dtype=np.float64)) / temperatures[:, None]
    confidence: Float64[np.ndarray, "*look"] = 1 / np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)
    return confidence
