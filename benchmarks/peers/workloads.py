"""The sequences and sizes that every peer trains on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

LEARNING_RATE, WEIGHT_DECAY, MAX_GRAD_NORM = 0.005, 0.2, 1.0
NUM_CLASSES = 2
CELLS: tuple[Literal["rnn", "lstm", "gru"], ...] = ("rnn", "lstm", "gru")
"""Those that every peer has."""


@dataclass(frozen=True)
class Data:
    """Sequences (sequence, time, feature) with zeros after their end, their lengths and classes."""

    sequences: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Workload:
    """Sizes of a training."""

    num_sequences: int
    hidden_size: int
    length: int
    batch_size: int
    num_features: int
    varies: bool = False
    """Whether lengths are uniform between a tenth of `length` and `length`."""
    num_layers: int = 1
    bidirectional: bool = False
    pooling: Literal["last", "max"] = "last"

    @property
    def num_steps(self) -> int:
        """Training steps in an epoch."""
        return -(-self.num_sequences // self.batch_size)

    def data(self) -> Data:
        """Return the same sequences to whoever asks; a sequence's class is the sign of its sum."""
        rng = np.random.default_rng(0)
        shortest = max(1, self.length // 10) if self.varies else self.length
        lengths = rng.integers(shortest, self.length, self.num_sequences, endpoint=True)
        sequences = rng.standard_normal((self.num_sequences, self.length, self.num_features), np.float32)
        sequences[np.arange(self.length) >= lengths[:, None]] = 0.0
        return Data(sequences, lengths, (sequences.sum(axis=(1, 2)) > 0).astype(np.int64))


WORKLOADS = {
    "small": Workload(num_sequences=1000, hidden_size=32, length=10, batch_size=32, num_features=1),
    "large": Workload(num_sequences=1024, hidden_size=128, length=100, batch_size=128, num_features=12),
    "small_varying": Workload(1000, 32, 10, 32, 1, varies=True),
    "large_varying": Workload(1024, 128, 100, 128, 12, varies=True),
    "long_200": Workload(num_sequences=64, hidden_size=64, length=200, batch_size=32, num_features=1),
    "long_1000": Workload(320, 64, 1000, 32, 1),
    "long_5000": Workload(32, 64, 5000, 32, 1),
    "two_layers": Workload(1024, 64, 50, 32, 1, num_layers=2, bidirectional=True, pooling="max"),
}
