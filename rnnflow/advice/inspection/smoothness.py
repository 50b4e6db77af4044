"""How many steps can be averaged into one before a sequence loses its detail."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LOST_SHARE = 0.05
"""Of a sequence's variance, that averaging may take."""
SIZES = (2, 4, 8, 16, 32, 64)
MAX_VALUES = 2**21
"""Looked at; more of them say the same."""


class Smoothness:
    """Adds up what averaging blocks of steps would take, table after table.

    Args:
        num_features: of a step.
    """

    def __init__(self, num_features: int) -> None:
        self.num_features = num_features
        self.num_sequences, self.num_values = 0, 0
        self.lost = np.zeros((len(SIZES), num_features))
        """Share of the variance within a sequence, summed over the sequences."""

    def add(self, sequences: pa.Array) -> None:
        """Take in sequences, as lists of their values, until there are enough."""
        if not len(sequences) or self.num_values > MAX_VALUES:
            return
        values = sequences.flatten().to_numpy().reshape(-1, self.num_features)
        lengths = pc.list_value_length(sequences).to_numpy(zero_copy_only=False) // self.num_features
        starts = np.cumsum(lengths) - lengths
        place = np.arange(len(values)) - np.repeat(starts, lengths)
        known = ~np.isnan(values)
        count = np.maximum(np.add.reduceat(known, starts, dtype=np.int64), 1)
        filled = np.where(known, values, 0.0)
        mean = np.add.reduceat(filled, starts) / count
        centred = np.where(known, filled - np.repeat(mean, lengths, axis=0), 0.0)
        whole = np.add.reduceat(np.square(centred), starts)
        for index, size in enumerate(SIZES):
            blocks = np.flatnonzero(place % size == 0)
            sizes = np.diff(np.append(blocks, len(values)))[:, None]
            kept = np.add.reduceat(np.square(np.add.reduceat(centred, blocks)) / sizes, np.searchsorted(blocks, starts))
            self.lost[index] += np.divide(whole - kept, whole, out=np.zeros_like(whole), where=whole > 0).sum(0)
        self.num_sequences += len(sequences)
        self.num_values += values.size

    def block_size(self) -> int:
        """Return how many steps can become one in the roughest of the features; 1 where there is detail in every step."""
        shares = self.lost.max(1) / max(self.num_sequences, 1)
        fine = [size for size, share in zip(SIZES, shares, strict=True) if share <= LOST_SHARE]
        return max(fine, default=1)
