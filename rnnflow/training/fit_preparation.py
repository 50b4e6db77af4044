"""A split and the preparation of its sequences: fitted to it, and applied to it, in chunks."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from rnnflow.classifier.preparation import Preparation, PreparedSequences, valid_steps
from rnnflow.params.models import Scaling
from rnnflow.runtime.array_types import Float, Float32, Int64
from rnnflow.sequences import buffers
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.sequences.padding import lengths_of, pad
from rnnflow.training.quantiles import quantile

CHUNK_STEPS = 2**20
"""Time steps looked at together; of several features, as many fewer."""
CHUNK_VALUES = 2**18
"""Values looked at together where features are derived, which takes copies."""

SPREAD_QUANTILE = 0.1
"""Of the deviations within the sequences, below which `compressed` is linear."""
CONSTANT_SHARE = 1e-6
"""Of the split's deviation: sequences that vary less say nothing about that."""


def fit(preparation: Preparation, train: SequenceDataset) -> None:
    """Set the figures of each kind of scaling to those of a split, missing values left out."""
    if "compressed" in preparation.params.scalings:
        _fit_compression(preparation, train)
    for index, kind in enumerate(preparation.params.scalings):
        if kind in ("global", "compressed"):
            part = preparation.part(index)
            mean, std = _moments(partial(_chunks, preparation, train, kind), part.stop - part.start)
            preparation.mean[part] = mean
            # Of a feature that is next to nothing the inverse is too large for float32.
            inverse = np.minimum(1 / np.where(std > 0, std, 1), np.finfo(np.float32).max)
            preparation.inverse_deviation[part] = inverse


def _fit_compression(preparation: Preparation, train: SequenceDataset) -> None:
    """Set the median, and the spread from where on values are compressed: that of small sequences.

    It is a quantile of the deviations within the sequences, without those that are next to constant; where all are, the
    deviation of the split.
    """
    size = preparation.num_features
    _, std = _moments(lambda: (train.values[steps] for steps in _steps(train)), size)

    def deviations() -> Iterator[Float32[np.ndarray, "sequence feature"]]:
        for rows in _rows(train):
            within = _deviations(train, rows)
            yield np.where(within > CONSTANT_SHARE * std, within, np.nan).astype(np.float32)

    median = quantile(lambda: (train.values[steps] for steps in _steps(train)), size, 0.5)
    spread = quantile(deviations, size, SPREAD_QUANTILE)
    spread = np.where(np.isnan(spread), std, spread)
    preparation.median[:] = np.nan_to_num(median)
    preparation.inverse_spread[:] = 1 / np.where(spread > 0, spread, 1)


def _deviations(train: SequenceDataset, rows: Int64[np.ndarray, " chunk"]) -> Float[np.ndarray, "chunk feature"]:
    """Return the deviation of each feature within each of some sequences, 0 where no value is known."""
    values = pad(train.values, train.offsets, rows).astype(np.float64)
    known = ~np.isnan(values) & valid_steps(lengths_of(rows, train.offsets), values.shape[1])
    count = np.maximum(known.sum(1, keepdims=True), 1)
    mean = values.sum(1, keepdims=True, where=known) / count
    deviations: Float[np.ndarray, "chunk feature"]
    deviations = np.sqrt((np.square(values - mean).sum(1, keepdims=True, where=known) / count)[:, 0])
    return deviations


def _moments(
    chunks: Callable[[], Iterator[Float[np.ndarray, "steps feature"]]], num_features: int
) -> tuple[Float[np.ndarray, " feature"], Float[np.ndarray, " feature"]]:
    """Return mean and deviation of the known values, in two passes."""
    count, total, squares = (np.zeros(num_features) for _ in range(3))
    for chunk in chunks():
        values = chunk.astype(np.float64)
        count += (~np.isnan(values)).sum(0)
        total += np.nansum(values, 0)
    mean = total / np.maximum(count, 1)
    for chunk in chunks():
        squares += np.nansum((chunk - mean) ** 2, 0)
    return mean, np.sqrt(squares / np.maximum(count, 1))


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
    if preparation.derives or "sequence" in preparation.params.scalings:
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


def _chunks(
    preparation: Preparation, train: SequenceDataset, kind: Scaling
) -> Iterator[Float[np.ndarray, "steps part"]]:
    """Yield every valid step of a split once, with the features that a kind of scaling scales."""
    if not preparation.derives:
        for steps in _steps(train):
            values = train.values[steps]
            yield preparation.compressed(values.astype(np.float64)) if kind == "compressed" else values
        return
    for rows in _rows(train):
        sequences = pad(train.values, train.offsets, rows).astype(np.float64)
        sequences = preparation.compressed(sequences) if kind == "compressed" else sequences
        derived, num_steps = preparation.derive(sequences, lengths_of(rows, train.offsets), kind)
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
