"""Which split a sequence belongs to."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int8, UInt64

from rnnflow.params import SplitShares

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)


def key_hashes(keys: Sequence[str], seed: int = 0) -> UInt64[np.ndarray, " key"]:
    """Return a 64-bit hash of each key, the same on every machine."""
    salt = seed.to_bytes(8, "little")
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8, salt=salt).digest() for key in keys)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def assign(keys: Sequence[str], shares: SplitShares, seed: int) -> Int8[np.ndarray, " key"]:
    """Return the index in `SPLITS` for each key.

    A key is an id, or a group where sequences have one. Its side depends on key, shares and seed alone:
    no sequence changes sides when the data grows, and no group is on two sides.
    """
    position = key_hashes(keys, seed) / 2.0**64
    sides = np.full(len(position), TRAIN, dtype=np.int8)
    sides[position < shares.test + shares.validation] = VALIDATION
    sides[position < shares.test] = TEST
    return sides
