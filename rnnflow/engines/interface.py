"""The interface of an engine: what a training says to an engine, and what it gets to know."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rnnflow.classifier import parameters
from rnnflow.classifier.preparation import Lengths
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime.array_types import Float, Float32, Float64, Int64

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


@dataclass(frozen=True)
class Bucket:
    """Batches one after another, of sequences that were gathered together."""

    inputs: Any
    """(sequence, time, feature) float32, as the engine's `Buffer` gives them."""
    lengths: Int64[np.ndarray, " sequence"]
    labels: Int64[np.ndarray, " sequence"]
    bounds: Int64[np.ndarray, "batch 2"]
    """The first sequence of each batch, and the one after its last, in the order of the steps."""
    total_weights: Float64[np.ndarray, " batch"]
    step_mask: Float32[np.ndarray, "layer sequence step output"] | None = None
    head_mask: Float32[np.ndarray, "sequence pooled"] | None = None

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[Batch]:
        """Yield each one by itself, trimmed to its longest sequence, without lengths where all are the same."""
        for (start, stop), total_weight in zip(self.bounds, self.total_weights, strict=True):
            rows, lengths = slice(start, stop), self.lengths[start:stop]
            longest = lengths.max()
            yield Batch(
                self.inputs[rows, :longest],
                lengths if lengths.min() < longest else None,
                self.labels[rows],
                float(total_weight),
                None if self.step_mask is None else self.step_mask[:, rows, :longest],
                None if self.head_mask is None else self.head_mask[rows],
            )

    @property
    def sizes(self) -> Int64[np.ndarray, " batch"]:
        """Sequences of each."""
        sizes: Int64[np.ndarray, " batch"] = self.bounds[:, 1] - self.bounds[:, 0]
        return sizes

    def first(self, number: int) -> "Bucket":
        """Return so many, the first ones, or all where there are fewer."""
        if number >= len(self):
            return self
        return replace(self, bounds=self.bounds[:number], total_weights=self.total_weights[:number])


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

    def train(self, bucket: Bucket, learning_rates: Sequence[float]) -> Sequence[Any]:
        """Take a step for each batch, and return their losses, each something that `float` takes: what a training calls.

        `loss_and_grad`, `gradient` and `step` are its parts, for `train_one_by_one` and for several processes that share a batch.
        """

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


def train_one_by_one(engine: Engine, bucket: Bucket, learning_rates: Sequence[float]) -> list[Any]:
    """Take the steps of `Engine.train` by `loss_and_grad` and `step`: for engines, and models, that compute a batch at a time."""
    losses = []
    for batch, learning_rate in zip(bucket, learning_rates, strict=True):
        losses.append(engine.loss_and_grad(batch))
        engine.step(learning_rate)
    return losses


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
