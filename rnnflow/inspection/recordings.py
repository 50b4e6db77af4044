"""What recordings are like before any of them is cut."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int64

from rnnflow.generation.sources.steps import Steps

MIN_STEPS = 5
"""Of a recording that has a rate."""
IRREGULAR = 0.1
"""Share by which a time step is longer or shorter than the one before."""


@dataclass
class Recordings:
    """Gathered stretch after stretch, in bounded memory."""

    lengths: Counter[int] = field(default_factory=Counter)
    num_changes: int = 0
    """Of the label, within recordings."""
    num_changing: int = 0
    """Recordings in which the label changes."""
    num_gaps: int = 0
    """Between the times of neighbouring steps."""
    num_irregular: int = 0
    seconds: float = 0.0
    """Sum of the gaps."""
    shortest_gap: float = np.inf
    longest_gap: float = 0.0
    """Seconds between steps, as usual in the recording with the fastest and the slowest rate."""
    has_steps_times: bool = False
    earliest: int | None = None
    latest: int | None = None
    _open: str | None = None
    """The recording that the last stretch left open, and what is known of it:"""
    _length: int = 0
    _label: str = ""
    _is_changing: bool = False

    @property
    def num(self) -> int:
        return self.lengths.total()

    @property
    def num_steps(self) -> int:
        return sum(length * count for length, count in self.lengths.items())

    def watch(self, stretches: Iterable[Steps]) -> Iterator[Steps]:
        """Pass the stretches of a file on and take note of them."""
        for steps in stretches:
            if steps.num_recordings:
                self._note(steps)
            yield steps
        self._close()

    def _note(self, steps: Steps) -> None:
        goes_on = self._open is not None and self._open == steps.ids[0].as_py()
        if not goes_on:
            self._close()
        lengths = steps.lengths.copy()
        lengths[0] += self._length
        is_changing = self._changes(steps, goes_on)
        kept = len(lengths) - steps.is_open
        values, counts = np.unique(lengths[:kept], return_counts=True)
        self.lengths.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.num_changing += int(is_changing[:kept].sum())
        if steps.is_open:
            self._open, self._length = steps.ids[-1].as_py(), int(lengths[-1])
            self._label, self._is_changing = steps.classes[steps.labels[-1]], bool(is_changing[-1])
        else:
            self._open, self._length, self._is_changing = None, 0, False
        self._note_times(steps)

    def _changes(self, steps: Steps, goes_on: bool) -> Bool[np.ndarray, " recording"]:
        changes = np.diff(steps.labels, prepend=steps.labels[:1]) != 0
        changes[steps.offsets[:-1]] = False
        changes[0] = goes_on and steps.classes[steps.labels[0]] != self._label
        self.num_changes += int(changes.sum())
        is_changing = np.logical_or.reduceat(changes, steps.offsets[:-1])
        is_changing[0] |= goes_on and self._is_changing
        return is_changing

    def _note_times(self, steps: Steps) -> None:
        known = steps.starts if steps.times is None else steps.times
        if known is None:
            return
        low, high = int(known.min()), int(known.max())
        self.earliest = low if self.earliest is None else min(self.earliest, low)
        self.latest = high if self.latest is None else max(self.latest, high)
        if steps.times is not None:
            self.has_steps_times = True
            self._note_gaps(steps.times, steps.offsets)

    def _note_gaps(self, times: Int64[np.ndarray, " step"], offsets: Int64[np.ndarray, " recording_plus_one"]) -> None:
        gaps = np.diff(times).astype(np.float64)
        is_within = np.ones(len(gaps), dtype=bool)
        is_within[offsets[1:-1] - 1] = False
        self._note_rates(times, offsets)
        comparable = is_within[1:] & is_within[:-1]
        is_odd = np.abs(np.diff(gaps)) > IRREGULAR * gaps[:-1]
        self.num_gaps += int(is_within.sum())
        self.seconds += float(gaps[is_within].sum()) / 1e6
        self.num_irregular += int((is_odd & comparable).sum())

    def _note_rates(self, times: Int64[np.ndarray, " step"], offsets: Int64[np.ndarray, " recording_plus_one"]) -> None:
        for start, stop in pairwise(offsets):
            if stop - start >= MIN_STEPS:
                usual = float(np.median(np.diff(times[start:stop]))) / 1e6
                self.shortest_gap = min(self.shortest_gap, usual)
                self.longest_gap = max(self.longest_gap, usual)

    def _close(self) -> None:
        if self._open is not None:
            self.lengths[self._length] += 1
            self.num_changing += self._is_changing
        self._open, self._length, self._is_changing = None, 0, False
