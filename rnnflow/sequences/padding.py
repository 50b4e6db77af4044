"""Sequences of a flat buffer as one padded array (batch, time, feature)."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from rnnflow.runtime.array_types import Float32, Int64


def lengths_of(
    indices: Int64[np.ndarray, " batch"], offsets: Int64[np.ndarray, " sequence_plus_one"]
) -> Int64[np.ndarray, " batch"]:
    """Return how many steps the sequences `indices` have."""
    return offsets[indices + 1] - offsets[indices]


def pad(
    values: Float32[np.ndarray, "steps feature"],
    offsets: Int64[np.ndarray, " sequence_plus_one"],
    indices: Int64[np.ndarray, " batch"],
) -> Float32[np.ndarray, "batch time feature"]:
    """Return the sequences `indices` as one array, as long as the longest of them.

    The padding after the end of a shorter sequence is arbitrary: whoever reads the array goes by the lengths.
    """
    starts = offsets[indices]
    lengths = lengths_of(indices, offsets)
    longest = int(lengths.max())
    if longest == lengths.min():
        return gather(values, starts, longest)
    steps = starts[:, None] + np.arange(longest)
    return values.take(steps, axis=0, mode="clip")


def gather(
    values: Float32[np.ndarray, "steps feature"], starts: Int64[np.ndarray, " batch"], num_steps: int
) -> Float32[np.ndarray, "batch time feature"]:
    """Return `num_steps` steps from each start on.

    The steps of a sequence stand side by side in memory, so they are copied as one block: indexing step by step took
    six times as long at 100 steps of 8 features.
    """
    values = np.ascontiguousarray(values)
    rows, rest = np.divmod(starts, num_steps)
    if not rest.any():
        return _matrix_rows(values, rows, num_steps)
    return _blocks(values, starts, num_steps)


def _matrix_rows(
    values: Float32[np.ndarray, "steps feature"], rows: Int64[np.ndarray, " batch"], num_steps: int
) -> Float32[np.ndarray, "batch time feature"]:
    """The usual case where all sequences are equally long: they are rows of a matrix, which `take` copies fastest."""
    num_rows, num_features = len(values) // num_steps, values.shape[1]
    matrix = values[: num_rows * num_steps].reshape(num_rows, num_steps, num_features)
    return matrix.take(rows, axis=0)


def _blocks(
    values: Float32[np.ndarray, "steps feature"], starts: Int64[np.ndarray, " batch"], num_steps: int
) -> Float32[np.ndarray, "batch time feature"]:
    """Any starts: the blocks that begin at each step overlap, so they are rows of a view and not of a matrix."""
    num_features = values.shape[1]
    step_bytes = num_features * values.itemsize
    overlapping = as_strided(
        values,
        shape=(len(values) - num_steps + 1, num_steps * num_features),
        strides=(step_bytes, values.itemsize),
        writeable=False,
    )
    return overlapping[starts].reshape(len(starts), num_steps, num_features)
