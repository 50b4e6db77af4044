"""How sequences vary: how much their sizes differ, and how many steps can be averaged before one loses its detail."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ORDERS_OF_MAGNITUDE = 2
"""Between the small and the large sequences, from where on they are remarked."""
STEPS_PER_ORDER = 20
TAIL = 0.1
"""Share of the sequences that is smaller, and that is larger."""
CONSTANT_SHARE = 1e-6
"""Of the largest deviation; a sequence that varies less counts as constant."""
LOST_SHARE = 0.05
"""Of a sequence's variance, that averaging may take."""
SIZES = (2, 4, 8, 16, 32, 64)
MAX_VALUES = 2**21
"""Looked at; more of them say the same."""


def centred(sequences: pa.Array, num_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values less the mean of their sequence, 0 where one is missing; each sequence's start, and its known values."""
    values = sequences.flatten().to_numpy().reshape(-1, num_features).astype(np.float64)
    lengths = pc.list_value_length(sequences).to_numpy(zero_copy_only=False) // num_features
    starts = np.cumsum(lengths) - lengths
    known = ~np.isnan(values)
    count = np.maximum(np.add.reduceat(known, starts, dtype=np.int64), 1)
    mean = np.add.reduceat(np.where(known, values, 0.0), starts) / count
    return np.where(known, values - np.repeat(mean, lengths, axis=0), 0.0), starts, count


class Smoothness:
    """Adds up what averaging blocks of steps would take, table after table."""

    def __init__(self, num_features: int) -> None:
        self.num_features = num_features
        self.num_sequences, self.num_values = 0, 0
        self.lost = np.zeros((len(SIZES), num_features))
        """Share of the variance within a sequence, summed over the sequences."""

    def add(self, sequences: pa.Array) -> None:
        """Take in sequences, as lists of their values, until there are enough."""
        if not len(sequences) or self.num_values > MAX_VALUES:
            return
        values, starts, _ = centred(sequences, self.num_features)
        lengths = np.diff(np.append(starts, len(values)))
        place = np.arange(len(values)) - np.repeat(starts, lengths)
        whole = np.add.reduceat(np.square(values), starts)
        for index, size in enumerate(SIZES):
            blocks = np.flatnonzero(place % size == 0)
            sizes = np.diff(np.append(blocks, len(values)))[:, None]
            kept = np.add.reduceat(np.square(np.add.reduceat(values, blocks)) / sizes, np.searchsorted(blocks, starts))
            self.lost[index] += np.divide(whole - kept, whole, out=np.zeros_like(whole), where=whole > 0).sum(0)
        self.num_sequences += len(sequences)
        self.num_values += values.size

    def block_size(self) -> int:
        """Return how many steps can become one in the roughest of the features; 1 where there is detail in every step."""
        shares = self.lost.max(1) / max(self.num_sequences, 1)
        fine = [size for size, share in zip(SIZES, shares, strict=True) if share <= LOST_SHARE]
        return max(fine, default=1)


class Amplitudes:
    """Counts the deviations within sequences, by feature, table after table."""

    def __init__(self, features: Sequence[str]) -> None:
        self.features = features
        self.counts: list[Counter[int]] = [Counter() for _ in features]
        """By the rounded logarithm of the deviation."""

    def add(self, sequences: pa.Array) -> None:
        """Take in sequences, as lists of their values."""
        if not len(sequences):
            return
        values, starts, count = centred(sequences, len(self.features))
        deviations = np.sqrt(np.add.reduceat(np.square(values), starts) / count)
        for column, counts in zip(deviations.T, self.counts, strict=True):
            steps = np.round(np.log10(column[column > 0]) * STEPS_PER_ORDER).astype(int)
            counts.update(steps.tolist())

    def differing(self) -> Iterator[tuple[str, float, float]]:
        """Yield each feature of which small and large sequences are orders of magnitude apart, and their deviations."""
        for name, counts in zip(self.features, self.counts, strict=True):
            least = max(counts, default=0) + math.log10(CONSTANT_SHARE) * STEPS_PER_ORDER
            found = sorted((step, number) for step, number in counts.items() if step > least)
            if not found:
                continue
            steps, numbers = np.array(found).T
            places = np.searchsorted(numbers.cumsum() / numbers.sum(), [TAIL, 1 - TAIL])
            small, large = (steps[places] / STEPS_PER_ORDER).tolist()
            if large - small >= ORDERS_OF_MAGNITUDE:
                yield name, 10**small, 10**large
