"""A split and the preparation of its sequences: fitted to it, and applied to it, in chunks."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int64

from rnnflow.classifier.preparation import Preparation, PreparedSequences, valid_steps
from rnnflow.sequences import buffers
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.sequences.padding import lengths_of, pad

CHUNK_STEPS = 2**20
"""Time steps looked at together; of several features, as many fewer."""
CHUNK_VALUES = 2**18
"""Values looked at together where features are derived, which takes copies."""


def fit(preparation: Preparation, train: SequenceDataset) -> None:
    """Set mean and deviation of the features to be scaled to those over a split, missing values left out."""
    if preparation.params.scaling != "global":
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
    preparation.mean[:] = mean
    preparation.inverse_deviation[:] = 1 / np.where(deviation > 0, deviation, 1)


def prepare_split(
    preparation: Preparation, split: SequenceDataset, memory_budget_mb: int | None = None
) -> PreparedSequences:
    """Return the prepared sequences of a split, in its order.

    Args:
        preparation: fitted.
        split: the raw sequences.
        memory_budget_mb: a buffer above so many MiB is a file on disk.
    """
    offsets = preparation.offsets(split.offsets)
    end = int(offsets[-1])
    values = buffers.empty((end + int(np.diff(offsets).max()), preparation.num_outputs), memory_budget_mb)
    values[end:] = 0.0
    if preparation.derives or preparation.params.scaling == "sequence":
        for rows in _rows(split):
            sequences, num_steps = preparation(pad(split.values, split.offsets, rows), lengths_of(rows, split.offsets))
            assert num_steps is not None
            places = offsets[rows, None] + np.arange(sequences.shape[1])
            is_valid = valid_steps(num_steps, sequences.shape[1])[:, :, 0]
            values[places[is_valid]] = sequences[is_valid]
    else:
        for steps in _steps(split):
            values[:end][steps] = preparation(split.values[None, steps], None)[0][0]
    return PreparedSequences(values, offsets)


def _chunks(preparation: Preparation, train: SequenceDataset) -> Iterator[Float[np.ndarray, "steps scaled"]]:
    """Yield every valid step of a split once, with the features to be scaled."""
    if not preparation.derives:
        for steps in _steps(train):
            yield train.values[steps]
        return
    for rows in _rows(train):
        sequences = pad(train.values, train.offsets, rows).astype(np.float64)
        derived, num_steps = preparation.derive(sequences, lengths_of(rows, train.offsets))
        assert num_steps is not None
        yield derived[valid_steps(num_steps, derived.shape[1])[:, :, 0]]


def _steps(split: SequenceDataset) -> Iterator[slice]:
    """Yield the steps of a split in chunks of about as many values."""
    chunk = max(1, CHUNK_STEPS // len(split.features))
    for start in range(0, len(split.values), chunk):
        yield slice(start, start + chunk)


def _rows(split: SequenceDataset) -> Iterator[Int64[np.ndarray, " chunk"]]:
    """Yield the sequences of a split in chunks of about as many values, the longest ones first."""
    lengths = split.lengths
    longest_first = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(split):
        values_each = int(lengths[longest_first[start]]) * len(split.features)
        rows = longest_first[start : start + max(1, CHUNK_VALUES // values_each)]
        yield rows
        start += len(rows)
