"""From a classifier and a split to probabilities, their loss and their accuracy."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int

from rnnflow.classifier.preparation import Lengths, Preparation
from rnnflow.sequences.bucketing import batches
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.sequences.padding import pad

Answer = Callable[[Float32[np.ndarray, "batch time feature"], Lengths], Float32[np.ndarray, "batch class"]]
Labels = Int[np.ndarray, " sequence"]
Probabilities = Float32[np.ndarray, "sequence class"]


def predict(answer: Answer, preparation: Preparation, dataset: SequenceDataset, batch_size: int) -> Probabilities:
    """Return the probability of each class for each sequence, in the order of the data set.

    Args:
        answer: returns logits of prepared sequences with their lengths, none where all are as long as the array.
        preparation: of the classifier.
        dataset: raw sequences.
        batch_size: sequences that are answered together.
    """
    probabilities = np.empty((len(dataset), len(dataset.classes)), dtype=np.float32)
    for rows, lengths in batches(dataset.offsets, batch_size):
        valid = lengths if lengths[0] != lengths[-1] else None
        prepared, num_steps = preparation(pad(dataset.values, dataset.offsets, rows), valid)
        probabilities[rows] = softmax(answer(prepared, num_steps))
    return probabilities


def softmax(logits: Float32[np.ndarray, "sequence class"]) -> Probabilities:
    """Return probabilities."""
    shares = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def log_loss_and_accuracy(labels: Labels, probabilities: Probabilities) -> tuple[float, float]:
    """Return the mean cross-entropy and the share of sequences whose most probable class is right."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = -np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean()
    return float(loss), float((probabilities.argmax(1) == labels).mean())
