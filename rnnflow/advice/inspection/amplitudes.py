"""How much the sizes of sequences differ."""

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


class Amplitudes:
    """Counts the deviations within sequences, table after table.

    Args:
        features: their names.
    """

    def __init__(self, features: Sequence[str]) -> None:
        self.features = features
        self.counts: list[Counter[int]] = [Counter() for _ in features]
        """By the rounded logarithm of the deviation."""

    def add(self, sequences: pa.Array) -> None:
        """Take in sequences, as lists of their values."""
        if not len(sequences):
            return
        values = sequences.flatten().to_numpy().reshape(-1, len(self.features))
        lengths = pc.list_value_length(sequences).to_numpy(zero_copy_only=False) // len(self.features)
        starts = np.cumsum(lengths) - lengths
        for column, counts in zip(values.T.astype(np.float64), self.counts, strict=True):
            known = ~np.isnan(column)
            count = np.maximum(np.add.reduceat(known, starts, dtype=np.int64), 1)
            filled = np.where(known, column, 0.0)
            centred = np.where(known, filled - np.repeat(np.add.reduceat(filled, starts) / count, lengths), 0.0)
            deviations = np.sqrt(np.add.reduceat(np.square(centred), starts) / count)
            steps = np.round(np.log10(deviations[deviations > 0]) * STEPS_PER_ORDER).astype(int)
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
