"""Augmentation of prepared sequences, for training only: drawn in NumPy, done wherever the engine computes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnflow.engines.interface import Engine
from rnnflow.params.train import TrainParams
from rnnflow.runtime.array_types import Float32, Int64

Counts = Int64[np.ndarray, " batch"]


def is_random(params: TrainParams) -> bool:
    """Return whether anything is drawn for the sequences of a recipe."""
    return any((params.random_crop, params.random_scale, params.jitter, params.time_mask))


def crop(starts: Counts, lengths: Counts, largest_share: float, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Return start and length of sequences without up to a share of their steps, cut off both ends in a random proportion."""
    num_cut = rng.integers(0, np.minimum((lengths * largest_share).astype(np.int64), lengths - 1), endpoint=True)
    return starts + rng.integers(0, num_cut, endpoint=True), lengths - num_cut


@dataclass(frozen=True)
class Augmentation:
    """What is done to the steps of some sequences; none leaves them as they are."""

    factors: Float32[np.ndarray, "batch 1 feature"] | None
    noise: Float32[np.ndarray, "batch time feature"] | None
    time_mask: Float32[np.ndarray, "batch time 1"] | None

    def apply(self, inputs: Any, engine: Engine) -> Any:
        """Return the steps after `random_scale`, `jitter` and `time_mask`."""
        if self.factors is not None:
            inputs = inputs * engine.array(self.factors)
        if self.noise is not None:
            inputs = inputs + engine.array(self.noise)
        if self.time_mask is not None:
            inputs = inputs * engine.array(self.time_mask)
        return inputs


def draw(
    lengths: Counts, params: TrainParams, num_scaled: int, num_inputs: int, rng: np.random.Generator
) -> Augmentation:
    """Draw the augmentation of some sequences.

    Args:
        lengths: of the sequences, in steps.
        params: the recipe.
        num_scaled: features that are scaled values; those after them say what was missing, and are only masked.
        num_inputs: all features.
        rng: draws.
    """
    num_steps = int(lengths.max())
    factors = noise = time_mask = None
    if params.random_scale:
        factors = np.ones((len(lengths), 1, num_inputs), np.float32)
        drawn = rng.standard_normal((len(lengths), 1, num_scaled), np.float32)
        factors[:, :, :num_scaled] += np.float32(params.random_scale) * drawn
    if params.jitter:
        noise = rng.standard_normal((len(lengths), num_steps, num_scaled), np.float32)
        noise *= np.float32(params.jitter)
        noise = np.pad(noise, ((0, 0), (0, 0), (0, num_inputs - num_scaled))) if num_inputs > num_scaled else noise
    if params.time_mask:
        num_masked = rng.integers(0, (lengths * params.time_mask).astype(np.int64), endpoint=True)
        first = rng.integers(0, lengths - num_masked, endpoint=True)
        place = np.arange(num_steps) - first[:, None]
        time_mask = ((place < 0) | (place >= num_masked[:, None])).astype(np.float32)[:, :, None]
    return Augmentation(factors, noise, time_mask)
