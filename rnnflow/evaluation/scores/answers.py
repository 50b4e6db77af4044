"""What a classifier answered to the sequences of a split, and what else is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow.classifier.predict_split import Labels, Probabilities
from rnnflow.runtime.array_types import Float64, Int, Int64
from rnnflow.sequences.parquet import SequenceFile, as_numpy, shards


@dataclass(frozen=True)
class Answers:
    """The probabilities of a classifier beside the truth.

    Attributes:
        labels: the true classes, as indices in `classes`.
        probabilities: of each class.
        classes: their names.
        lengths: of the sequences, in time steps.
        groups: subject or device of each sequence, as indices in `group_names`; none where the data has no groups.
        group_names: their names.
        times: when each sequence began; none where the data does not say.
        num_bins: of the confidence, where a metric needs bins.
        num_slices: by length and by time, with about as many sequences each.
        max_ranks: how many ranks of scores the bootstrap tells apart; none: all.
        units: what the bootstrap draws as a whole, as a number of each sequence; none: each sequence by itself.
    """

    labels: Labels
    probabilities: Probabilities
    classes: Sequence[str]
    lengths: Int[np.ndarray, " sequence"]
    groups: Int[np.ndarray, " sequence"] | None = None
    group_names: Sequence[str] = ()
    times: np.ndarray | None = None
    num_bins: int = 10
    num_slices: int = 4
    max_ranks: int | None = None
    units: Int[np.ndarray, " sequence"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def num_units(self) -> int:
        """How many there are to draw."""
        return len(self) if self.units is None else int(self.units.max()) + 1

    @property
    def each_once(self) -> Float64[np.ndarray, "unit 1"]:
        """The weights that all have in the data itself."""
        return np.ones((self.num_units, 1))

    @cached_property
    def predictions(self) -> Int64[np.ndarray, " sequence"]:
        """The most probable class."""
        return self.probabilities.argmax(1)

    @cached_property
    def is_right(self) -> Float64[np.ndarray, " sequence"]:
        """1 where the most probable class is the true one, else 0."""
        return (self.predictions == self.labels).astype(np.float64)

    @cached_property
    def confidence(self) -> Float64[np.ndarray, " sequence"]:
        """The probability of the most probable class."""
        return self.probabilities.max(1).astype(np.float64)


def groups_and_times(folder: Path) -> tuple[np.ndarray | None, Sequence[str], np.ndarray | None]:
    """Return the groups of a split's sequences as numbers, the names of these, and the times; none where it has none."""
    groups, times = _column(folder, "group"), _column(folder, "time")
    encoded = None if groups is None else groups.dictionary_encode()
    return (
        None if encoded is None else as_numpy(encoded.indices).astype(np.int64),
        () if encoded is None else encoded.dictionary.to_pylist(),
        None if times is None else as_numpy(times.cast(pa.int64())).view("datetime64[us]"),
    )


def _column(folder: Path, name: str) -> pa.Array | None:
    """Return a column in the order of the rows; none where a file lacks it."""
    files = [SequenceFile.open(path) for path in shards(folder)]
    if not all(name in file.columns for file in files):
        return None
    chunks = [batch.column(name) for file in files for batch in file.batches([name])]
    return pa.chunked_array(chunks).combine_chunks()
