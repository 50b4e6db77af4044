"""Sequences of similar lengths together: little padding, and yet an order that is nearly the one asked for."""

from collections.abc import Iterator

import numpy as np

from rnnflow.runtime.array_types import Int64

BATCHES_PER_BUCKET = 8

Rows = Int64[np.ndarray, " batch"]
"""Sequences, by their index in a split."""
Lengths = Int64[np.ndarray, " batch"]
"""How many steps each of them has."""
Offsets = Int64[np.ndarray, " sequence_plus_one"]
"""Where each sequence begins and ends, in steps."""


def buckets(
    order: Int64[np.ndarray, " sequence"],
    offsets: Offsets,
    batch_size: int,
    is_sorted: bool = True,
    num_batches: int = BATCHES_PER_BUCKET,
) -> Iterator[tuple[Rows, Lengths]]:
    """Yield the sequences of `order` with their lengths, some batches at a time, each time sorted by length.

    Cut into batches of `batch_size` and trimmed to their longest, they need little padding, and yet
    no sequence moves further than its bucket from its place in `order`. Where not `is_sorted`, none moves at all.
    """
    for start in range(0, len(order), num_batches * batch_size):
        bucket = order[start : start + num_batches * batch_size]
        lengths = offsets[bucket + 1] - offsets[bucket]
        rows = np.argsort(lengths, kind="stable") if is_sorted else slice(None)
        yield bucket[rows], lengths[rows]


def batches(offsets: Offsets, batch_size: int) -> Iterator[tuple[Rows, Lengths]]:
    """Yield every sequence of a split once with its length, in batches sorted by length.

    They come in no random order: this is for prediction, where the order changes nothing but the padding.
    """
    for bucket, lengths in buckets(np.arange(len(offsets) - 1), offsets, batch_size):
        for start in range(0, len(bucket), batch_size):
            rows = slice(start, start + batch_size)
            yield bucket[rows], lengths[rows]
