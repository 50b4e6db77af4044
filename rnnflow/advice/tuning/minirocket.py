"""MiniRocket (Dempster and others, 2021) on the same folds, to compare with: convolutions drawn at random and a linear classifier."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from rnnflow.advice.model_selection.folds import Fold, subset
from rnnflow.runtime.array_types import Float64
from rnnflow.sequences.dataset import SequenceDataset

FEWEST_STEPS = 9
"""Length of MiniRocket's kernels: shorter sequences are stretched."""
MOST_STEPS = 2000
MOST_VALUES = 2**24


def num_right(
    data: SequenceDataset, folds: Sequence[Fold], say: Callable[[str], None], end: float
) -> tuple[int, float] | None:
    """Return how many of all that is held out it gets right, and its CPU seconds.

    None without aeon, where the data is large, and once `time.process_time()` is past `end`.
    """
    num_steps = int(np.clip(data.lengths.max(), FEWEST_STEPS, MOST_STEPS))
    if len(data) * num_steps * len(data.features) > MOST_VALUES:
        say("MiniRocket: not compared with, there is too much data")
        return None
    try:
        from aeon.classification.convolution_based import MiniRocketClassifier
    except ImportError:
        say("MiniRocket: not compared with, pip install 'rnnflow[archives]' brings it")
        return None
    begin, right = time.process_time(), 0
    for fold in folds:
        if time.process_time() > end:
            say("MiniRocket: not compared with, the CPU time is used up")
            return None
        train, held_out = (subset(data, rows) for rows in (fold.train, fold.held_out))
        classifier = MiniRocketClassifier(random_state=0, n_jobs=1).fit(as_series(train, num_steps), train.labels)
        right += int((classifier.predict(as_series(held_out, num_steps)) == held_out.labels).sum())
    return right, time.process_time() - begin


def as_series(split: SequenceDataset, num_steps: int) -> Float64[np.ndarray, "sequence feature step"]:
    """Return the sequences stretched or squeezed to so many steps, with known neighbours in place of missing values."""
    found = np.zeros((len(split), len(split.features), num_steps))
    for row, length in enumerate(split.lengths):
        steps = split.values[split.offsets[row] : split.offsets[row + 1]]
        at = np.linspace(0, length - 1, num_steps)
        for feature, column in enumerate(steps.T):
            known = np.flatnonzero(~np.isnan(column))
            if len(known):
                found[row, feature] = np.interp(at, known, column[known])
    return found
