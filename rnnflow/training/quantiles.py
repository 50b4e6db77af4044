"""Exact quantiles of more values than fit into memory."""

from collections.abc import Callable, Iterator

import numpy as np

from rnnflow.runtime.array_types import Float32, UInt32

Chunks = Callable[[], Iterator[Float32[np.ndarray, "row feature"]]]
"""Yields all values, a pass for each call; NaN stands for none."""

DIGITS = ((21, 11), (10, 11), (0, 10))
"""Place and bits of the parts of a number that a pass counts."""
SIGN = np.uint32(2**31)


def quantile(chunks: Chunks, num_features: int, share: float) -> Float32[np.ndarray, " feature"]:
    """Return for each feature the largest value that has at most `share` of the others below it, NaN where there is none.

    It is one of the values, found by counting the digits of their bits (radix selection): three passes with 2,048
    counters a feature, whatever the number, the order and the chunks of the values are.
    """
    found = np.zeros(num_features, np.uint32)
    rank: np.ndarray | None = None
    for place, bits in DIGITS:
        counts = np.zeros((num_features, 2**bits), np.int64)
        for values in chunks():
            for feature, column in enumerate(values.T):
                keys = _keys(column[~np.isnan(column)])
                alike = keys[(keys ^ found[feature]).astype(np.uint64) >> np.uint64(place + bits) == 0]
                counts[feature] += np.bincount((alike >> np.uint32(place)) % 2**bits, minlength=2**bits)
        if rank is None:
            total = counts.sum(1)
            rank = np.floor(share * np.maximum(total - 1, 0)).astype(np.int64)
        up_to = counts.cumsum(1)
        digit = (up_to > rank[:, None]).argmax(1)
        rank -= np.take_along_axis(up_to - counts, digit[:, None], 1)[:, 0]
        found |= digit.astype(np.uint32) << np.uint32(place)
    return np.where(total > 0, _values(found), np.float32(np.nan))


def _keys(values: Float32[np.ndarray, " value"]) -> UInt32[np.ndarray, " value"]:
    """Return unsigned integers in the order of the values."""
    bits = values.view(np.uint32)
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _values(keys: UInt32[np.ndarray, " value"]) -> Float32[np.ndarray, " value"]:
    return np.where(keys & SIGN, keys ^ SIGN, ~keys).view(np.float32)
