"""Mean and deviation of each feature over a split, looked at in chunks."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float

from rnnflow.batches import pad
from rnnflow.dataset import SequenceDataset
from rnnflow.preparation import Preparation, valid_steps

CHUNK_STEPS = 2**20
"""Time steps looked at together."""
CHUNK_VALUES = 2**18
"""Values looked at together where features are derived, which takes copies."""


def fit(preparation: Preparation, train: SequenceDataset) -> None:
    """Set mean and deviation of the features to be scaled to those over a split, missing values left out."""
    if preparation.params.scaling == "none":
        return
    count, total, squares = (np.zeros(preparation.num_scaled) for _ in range(3))
    for chunk in _chunks(preparation, train):
        values = chunk.astype(np.float64)
        count += (~np.isnan(values)).sum(0)
        total += np.nansum(values, 0)
    mean = total / np.maximum(count, 1)
    for chunk in _chunks(preparation, train):
        squares += np.nansum((chunk - mean) ** 2, 0)
    deviation = np.sqrt(squares / np.maximum(count, 1))
    preparation.mean.copy_(torch.from_numpy(mean))
    preparation.inverse_deviation.copy_(torch.from_numpy(1 / np.where(deviation > 0, deviation, 1)))


def _chunks(preparation: Preparation, train: SequenceDataset) -> Iterator[Float[np.ndarray, "steps scaled"]]:
    """Yield every valid step of a split once, with the features to be scaled."""
    if not preparation.derives:
        for start in range(0, len(train.values), CHUNK_STEPS):
            yield train.values[start : start + CHUNK_STEPS]
        return
    lengths = train.lengths
    longest_first = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(train):
        values_each = lengths[longest_first[start]] * len(train.features)
        rows = longest_first[start : start + max(1, CHUNK_VALUES // values_each)]
        sequences = torch.from_numpy(pad(train.values, train.offsets, rows).astype(np.float64))
        derived, num_steps = preparation.derive(sequences, torch.from_numpy(lengths[rows]))
        assert num_steps is not None
        yield derived[valid_steps(num_steps, derived)[:, :, 0]].numpy()
        start += len(rows)
