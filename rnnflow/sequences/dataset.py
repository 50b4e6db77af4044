"""A split in memory: one flat buffer of values with offsets, read from the Parquet files of the contract."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rnnflow.runtime.array_types import Float32, Int, Int32, Int64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import buffers
from rnnflow.sequences.missing_values import first_missing
from rnnflow.sequences.parquet import SequenceFile, as_numpy, list_lengths, list_values, shards

NUM_THREADS = 4
"""Files read at a time; each takes some megabytes beside the buffer."""


@dataclass(frozen=True)
class SequenceDataset:
    """A split in memory: every sequence one after another in one buffer, as in Arrow's own list layout."""

    values: Float32[np.ndarray, "steps feature"]
    offsets: Int64[np.ndarray, " sequence_plus_one"]
    """In time steps."""
    labels: Int[np.ndarray, " sequence"]
    """Indices in `classes`."""
    features: tuple[str, ...]
    classes: tuple[str, ...]
    recipe: Mapping[str, Any] | None = None
    """How files became these sequences, as stage generate says; a model carries it on."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Int64[np.ndarray, " sequence"]:
        return np.diff(self.offsets)

    @property
    def length_range(self) -> tuple[int, int, int]:
        """Shortest, median and longest sequence, in time steps."""
        lengths = self.lengths
        lengths.sort()
        return int(lengths[0]), int(lengths[len(lengths) // 2]), int(lengths[-1])

    @property
    def class_counts(self) -> list[int]:
        return np.bincount(self.labels, minlength=len(self.classes)).tolist()

    def without_values(self) -> "SequenceDataset":
        """Return all but the values, whose memory is free when nothing else refers to them."""
        return replace(self, values=np.empty((0, len(self.features)), np.float32))


def load(
    folder: Path,
    classes: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    memory_budget_mb: int | None = None,
) -> SequenceDataset:
    """Read every Parquet file of a split, side by side, in the order of their names.

    Args:
        folder: holds `part-*.parquet`.
        classes: the known classes; without them, those of this split, sorted.
        features: those expected; without them, the ones of the first file.
        memory_budget_mb: values of more MiB are in a file on disk.

    Raises:
        InputError: no files, no rows, files that disagree, a label that is not among `classes`; one file is above the
            budget, which is kept while it is read.
    """
    files = [SequenceFile.open(path) for path in shards(folder)]
    if not files:
        raise InputError(f"{folder}: no Parquet file, expected part-00000.parquet and so on")
    expected = tuple(features or files[0].features)
    for file in files:
        if file.features != expected:
            raise InputError(f"{file.path}: features {', '.join(file.features)}, expected {', '.join(expected)}")
    if not any(file.num_rows for file in files):
        raise InputError(f"{folder}: no rows")
    largest = max(files, key=lambda file: file.num_values)
    if memory_budget_mb is not None and 4 * largest.num_values > memory_budget_mb * buffers.MIB:
        size = 4 * largest.num_values / buffers.MIB
        raise InputError(
            f"memory_budget_mb: {memory_budget_mb}, less than one file needs: {largest.path} has {size:,.0f} MiB; "
            "raise it, or lower generate.shard_rows"
        )
    values, offsets, labels = _read_side_by_side(files, memory_budget_mb)
    offsets //= len(expected)
    names = tuple(classes) if classes else _sorted_classes(labels)
    indices = _class_indices(folder, labels, names)
    return SequenceDataset(values.reshape(-1, len(expected)), offsets, indices, expected, names, files[0].recipe)


def joined(first: SequenceDataset, second: SequenceDataset, memory_budget_mb: int | None = None) -> SequenceDataset:
    """Return the sequences of two splits of the same features and classes."""
    shape = (len(first.values) + len(second.values), first.values.shape[1])
    return SequenceDataset(
        np.concatenate([first.values, second.values], out=buffers.empty(shape, memory_budget_mb)),
        np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        np.concatenate([first.labels, second.labels]),
        first.features,
        first.classes,
        first.recipe,
    )


def refuse_missing(split: SequenceDataset, name: str) -> None:
    """Do nothing where every value of a split is known.

    Raises:
        InputError: a value is missing; `name` says of which split.
    """
    if missing := first_missing(split.values, split.offsets):
        sequence, feature = missing
        raise InputError(
            f"{name} split: sequence {sequence}: a value of feature {split.features[feature]!r} is missing and the "
            "model's setting 'missing' is 'refuse'; complete the data, or choose zero, forward_fill or mask"
        )


def _read_side_by_side(
    files: Sequence[SequenceFile], memory_budget_mb: int | None
) -> tuple[Float32[np.ndarray, " value"], Int64[np.ndarray, " sequence_plus_one"], list[pa.DictionaryArray]]:
    """Values, where those of each sequence begin and end, and its label; each file's place is known beforehand."""
    value_ends = np.cumsum([file.num_values for file in files])
    row_ends = np.cumsum([file.num_rows for file in files])
    values = buffers.empty((int(value_ends[-1]),), memory_budget_mb)
    offsets = np.zeros(row_ends[-1] + 1, dtype=np.int64)

    def read(index: int) -> list[pa.Array]:
        file = files[index]
        row, position = row_ends[index] - file.num_rows, value_ends[index] - file.num_values
        labels = []
        for batch in file.batches(("sequence", "label"), encodes_labels=True):
            column = batch.column("sequence")
            flat = as_numpy(list_values(column))
            values[position : position + len(flat)] = flat
            ends = offsets[row + 1 : row + 1 + len(column)]
            np.cumsum(list_lengths(column), out=ends)
            ends += position
            labels.append(batch.column("label"))
            row += len(column)
            position += len(flat)
        return labels

    with ThreadPoolExecutor(NUM_THREADS) as pool:  # Arrow decodes outside Python's lock
        labels = [chunk for chunks in pool.map(read, range(len(files))) for chunk in chunks]
    return values, offsets, labels


def _sorted_classes(labels: Sequence[pa.DictionaryArray]) -> tuple[str, ...]:
    """Return the labels that occur; a dictionary may hold more."""
    used = {
        chunk.dictionary[code].as_py()
        for chunk in labels
        for code in np.flatnonzero(np.bincount(as_numpy(chunk.indices))).tolist()
    }
    return tuple(sorted(used))


def _class_indices(
    folder: Path, labels: Sequence[pa.DictionaryArray], classes: tuple[str, ...]
) -> Int32[np.ndarray, " sequence"]:
    place = {name: index for index, name in enumerate(classes)}
    chunks = []
    num_rows = 0
    for chunk in labels:
        places = np.array([place.get(label, -1) for label in chunk.dictionary.to_pylist()], np.int32)
        indices = places[as_numpy(chunk.indices)]
        if len(unknown := np.flatnonzero(indices < 0)):
            raise InputError(
                f"{folder}: row {num_rows + unknown[0]}: label {chunk[int(unknown[0])].as_py()!r} is unknown to the train "
                f"split, which has {', '.join(classes)}"
            )
        chunks.append(indices)
        num_rows += len(indices)
    found = np.concatenate(chunks)
    found.flags.writeable = False
    return found
