"""Features that have died in new recordings: a sensor that was unplugged sends nothing, or one value for ever.

A model that has learnt to do without may still be better on a test split of whole recordings, so the comparison of the
models cannot notice it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rnnflow.evaluation.scores.intervals import wilson
from rnnflow.evaluation.scores.scoring import Ids, identified_batches
from rnnflow.runtime.array_types import Bool, Float32, Int64


def died(folders: Sequence[Path], features: tuple[str, ...], known: Ids, max_share: float) -> Iterator[str]:
    """Yield a line for each feature that is dead in more of the new sequences than before, by more than `max_share`.

    Args:
        folders: of the splits that a model is made from.
        features: their names.
        known: hashes of the ids of the sequences that are not new.
        max_share: which the low end of Wilson's interval of the new share must exceed, so that it takes a few sequences.
    """
    dead, counts = np.zeros((2, len(features))), np.zeros(2)
    for folder in folders:
        for values, offsets, ids in identified_batches(folder, features):
            is_dead, is_new = _is_dead(values, offsets), ~np.isin(ids, known)
            for kind, where in enumerate((~is_new, is_new)):
                dead[kind] += is_dead[where].sum(0)
                counts[kind] += where.sum()
    if not counts.all():  # nothing is new, or all is, and nobody knows what is usual
        return
    before, now = dead / counts[:, None]
    for index in np.flatnonzero(wilson(dead[1], counts[1])[0] > before + max_share):
        yield (
            f"feature {features[index]!r} is constant or missing in {now[index]:.0%} of the {counts[1]:,.0f} sequences "
            f"that are new since production, in {before[index]:.0%} of the others"
        )


def _is_dead(
    values: Float32[np.ndarray, "steps feature"], offsets: Int64[np.ndarray, " boundary"]
) -> Bool[np.ndarray, "sequence feature"]:
    """Return where all values of a sequence are missing, or where several steps have no more than one value."""
    starts = offsets[:-1]
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    is_missing: Bool[np.ndarray, "sequence feature"] = np.isnan(low)
    return is_missing | ((low == high) & (np.diff(offsets) > 1)[:, None])
