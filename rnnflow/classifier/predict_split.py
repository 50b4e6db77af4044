"""From a classifier and a split to probabilities, their loss and their accuracy."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from rnnflow.classifier.preparation import Lengths, Preparation
from rnnflow.params.models import ModelParams
from rnnflow.runtime.array_types import Float32, Int
from rnnflow.sequences.bucketing import Lengths as NumSteps
from rnnflow.sequences.bucketing import Rows, batches
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.sequences.padding import pad

Logits = Callable[[Float32[np.ndarray, "batch time feature"], Lengths], Float32[np.ndarray, "*batch class"]]
Labels = Int[np.ndarray, " sequence"]
Probabilities = Float32[np.ndarray, "sequence class"]


def predict(logits: Logits, preparation: Preparation, dataset: SequenceDataset, batch_size: int) -> Probabilities:
    """Return the probability of each class for each sequence, in the order of the data set.

    Args:
        logits: returns those of prepared sequences with their lengths, none where all are as long as the array.
        preparation: of the classifier.
        dataset: raw sequences.
        batch_size: sequences that are classified together.
    """
    probabilities = np.empty((len(dataset), len(dataset.classes)), dtype=np.float32)
    for rows, prepared, num_steps in _prepared(preparation, dataset, batch_size):
        probabilities[rows] = softmax(logits(prepared, num_steps))
    return probabilities


@runtime_checkable
class Answering(Protocol):
    """A trained classifier, whatever computes its answers."""

    params: ModelParams
    preparation: Preparation

    def logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the logits of prepared sequences."""

    def step_logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch step class"]:
        """Return those of what each sequence is up to each step of the layers, of a model that can answer step by step."""

    def divide_logits(self, temperature: float) -> None:
        """Divide the logits from now on."""


class StepProbabilities(NamedTuple):
    """Of a batch of sequences: what is answered after each step that the layers read."""

    rows: Rows
    num_steps: NumSteps
    """Of each sequence; with down-sampling, or means of blocks in a stem, a step is a block, the last of which may be short."""
    lengths: NumSteps
    """Of the raw sequences."""
    probabilities: Float32[np.ndarray, "batch step class"]


def predict_steps(
    step_logits: Logits,
    preparation: Preparation,
    dataset: SequenceDataset,
    batch_size: int,
) -> Iterator[StepProbabilities]:
    """Yield the probabilities after each step, for each sequence once; arguments as those of `predict`."""
    for rows, prepared, num_steps in _prepared(preparation, dataset, batch_size):
        lengths = dataset.offsets[rows + 1] - dataset.offsets[rows]
        num_layer_steps = -(-lengths // preparation.params.num_averaged)
        yield StepProbabilities(rows, num_layer_steps, lengths, softmax(step_logits(prepared, num_steps)))


def _prepared(
    preparation: Preparation, dataset: SequenceDataset, batch_size: int
) -> Iterator[tuple[Rows, Float32[np.ndarray, "batch time feature"], Lengths]]:
    for rows, lengths in batches(dataset.offsets, batch_size):
        valid = lengths if lengths[0] != lengths[-1] else None
        yield rows, *preparation(pad(dataset.values, dataset.offsets, rows), valid)


def softmax(logits: Float32[np.ndarray, "*sequence class"]) -> Float32[np.ndarray, "*sequence class"]:
    """Return probabilities."""
    shares = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    probabilities: Float32[np.ndarray, "*sequence class"] = shares / shares.sum(-1, keepdims=True)
    return probabilities.astype(np.float32)


def log_loss_and_accuracy(labels: Labels, probabilities: Probabilities) -> tuple[float, float]:
    """Return the mean cross-entropy and the share of sequences whose most probable class is right.

    The last bit of NumPy's logarithm and sum depends on the processor's instruction set; 12 digits do not.
    """
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = -np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean()
    return float(f"{loss:.12g}"), float((probabilities.argmax(1) == labels).mean())
