"""Batches of nearly equal lengths, how sequences become one padded array, and what they miss."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int64

BATCHES_PER_BUCKET = 8


def buckets(
    order: Int64[np.ndarray, " sequence"], offsets: Int64[np.ndarray, " sequence_plus_one"], batch_size: int
) -> Iterator[Int64[np.ndarray, " bucket"]]:
    """Yield the sequences of `order`, eight batches at a time, each time sorted by length.

    Cut into batches of `batch_size` and trimmed to their longest, they need little padding, and yet
    no sequence moves further than its bucket from its place in `order`.
    """
    for start in range(0, len(order), BATCHES_PER_BUCKET * batch_size):
        bucket = order[start : start + BATCHES_PER_BUCKET * batch_size]
        yield bucket[np.argsort(lengths_of(bucket, offsets), kind="stable")]


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

    What stands after the end of a shorter sequence is arbitrary: whoever reads it goes by the lengths.
    """
    starts = offsets[indices]
    lengths = offsets[indices + 1] - starts
    longest = int(lengths.max())
    if longest == lengths.min():
        return windows(values, starts, longest)
    steps = starts[:, None] + np.arange(longest)
    return values.take(steps, axis=0, mode="clip")


def windows(
    values: Float32[np.ndarray, "steps feature"], starts: Int64[np.ndarray, " batch"], num_steps: int
) -> Float32[np.ndarray, "batch time feature"]:
    """Return `num_steps` steps from each start on, whole stretches of memory at a time."""
    values = np.ascontiguousarray(values)
    num_features = values.shape[1]
    size = num_steps * num_features
    indices, rest = np.divmod(starts, num_steps)
    if not rest.any():  # rows of a matrix, as where all sequences are as long: copied in a fraction of the time
        num_rows = len(values) // num_steps
        found = values.reshape(-1)[: num_rows * size].reshape(num_rows, size).take(indices, axis=0)
    else:
        shape, strides = (len(values) - num_steps + 1, size), (num_features * values.itemsize, values.itemsize)
        found = np.lib.stride_tricks.as_strided(values, shape, strides, writeable=False)[starts]
    return found.reshape(len(starts), num_steps, num_features)


def first_missing(
    values: Float32[np.ndarray, "steps feature"], offsets: Int64[np.ndarray, " sequence_plus_one"]
) -> tuple[int, int] | None:
    """Return sequence and feature of the first missing value, or none where every value is known."""
    if not values.size or not np.isnan(values.min()):  # no array of flags as large as a split
        return None
    step, feature = divmod(int(np.isnan(values).argmax()), values.shape[1])
    return int(np.searchsorted(offsets, step, side="right")) - 1, feature
