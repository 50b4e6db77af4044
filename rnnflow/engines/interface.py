"""The interface of an engine: what a training says to an engine, and what it gets to know."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rnnflow.classifier import parameters
from rnnflow.classifier.preparation import Lengths
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime.array_types import Float, Float32, Int64

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Of AdamW, in every engine."""


@dataclass(frozen=True)
class Batch:
    """Sequences as the first layer reads them, with all that is random about them."""

    inputs: Any
    """(batch, time, feature) float32, as the engine's `Buffer` gives them."""
    lengths: Lengths
    labels: Int64[np.ndarray, " batch"]
    total_weight: float
    """What the sum of the losses is divided by: the classes' weights, summed over the labels."""
    step_mask: Float32[np.ndarray, "layer batch step output"] | None = None
    """Dropout: factors of what each layer after the first reads."""
    head_mask: Float32[np.ndarray, "batch pooled"] | None = None
    """Dropout: factors of what the head reads."""

    def share(self, rank: int, num_processes: int) -> "Batch | None":
        """Return every so-many-th sequence, or none where there is none for this rank."""
        rows = slice(rank, None, num_processes)
        if rank >= len(self.labels):
            return None
        return Batch(
            self.inputs[rows],
            None if self.lengths is None else self.lengths[rows],
            self.labels[rows],
            self.total_weight,
            None if self.step_mask is None else self.step_mask[:, rows],
            None if self.head_mask is None else self.head_mask[rows],
        )


@runtime_checkable
class Buffer(Protocol):
    """Prepared sequences where the engine computes."""

    def take(self, starts: Int64[np.ndarray, " batch"], num_steps: int) -> Any:
        """Return so many steps from each start on, (batch, time, feature)."""


@runtime_checkable
class Engine(Protocol):
    """Trains one classifier."""

    def buffer(self, values: Float32[np.ndarray, "steps feature"]) -> Buffer:
        """Bring prepared steps to where the engine computes."""

    def array(self, values: np.ndarray) -> Any:
        """Bring an array there; it takes part in arithmetic with what a buffer gives."""

    def loss_and_grad(self, batch: Batch) -> Any:
        """Return the loss of a batch, as something that `float` takes; its gradient is in `gradient` afterwards."""

    @property
    def gradient(self) -> Any:
        """The flat gradient, to be changed in place."""

    def step(self, learning_rate: float) -> None:
        """Clip the gradient's norm and take a step of AdamW (Loshchilov and Hutter, 2019)."""

    def logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the logits of the classifier as it is now, without dropout."""

    def state(self) -> dict[str, np.ndarray]:
        """Return all that decides the following steps; `weights` is the flat vector."""

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to where `state` was taken, or to so much of it as is given."""


@runtime_checkable
class AnsweringEngine(Engine, Protocol):
    """One that also answers for a trained classifier, in place of PyTorch."""

    def step_logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch step class"]:
        """Return the logits of what each sequence is up to each step, anything in the padding."""


@dataclass(frozen=True)
class EngineConfig:
    """What an engine is made for."""

    model: ModelParams
    train: TrainParams
    num_features: int
    """Of a raw time step."""
    num_classes: int
    class_weights: Float[np.ndarray, " class"]
    """In the loss."""

    def decaying(self) -> Float32[np.ndarray, " parameter"] | None:
        """Return 1 for each parameter that decays and 0 for the others; none where all decay."""
        shapes = parameters.shapes(self.model, self.num_features, self.num_classes)
        decays = {
            name: not parameters.is_statistic(name) and (self.train.decay == "all" or len(shape) > 1)
            for name, shape in shapes.items()
        }
        if all(decays.values()):
            return None
        return np.concatenate([np.full(math.prod(shape), decays[name], np.float32) for name, shape in shapes.items()])
