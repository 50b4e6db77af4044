"""Which sequences an epoch has, and in which order."""

import numpy as np

from rnnflow.params.train import Sampling
from rnnflow.runtime.array_types import Int, Int64


def epoch_order(
    rng: np.random.Generator, labels: Int[np.ndarray, " sequence"], sampling: Sampling
) -> Int64[np.ndarray, " sequence"]:
    """Return as many indices of sequences as there are, in random order.

    With `shuffle` each sequence comes once. With `balanced` each class comes equally often, but for one
    where their number does not divide: a class is gone through in shuffled passes, as many as it takes.
    """
    if sampling == "shuffle":
        return rng.permutation(len(labels))
    classes = rng.permutation(np.unique(labels))  # the first ones get what is left over
    drawn = []
    for place, label in enumerate(classes):
        members = np.flatnonzero(labels == label)
        wanted = (len(labels) - place - 1) // len(classes) + 1
        passes = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
        drawn.append(np.concatenate(passes)[:wanted])
    return rng.permutation(np.concatenate(drawn))
