"""What recordings are like before any of them is cut."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from rnnflow.generation.sources.recording_chunk import RecordingChunk
from rnnflow.runtime.array_types import Bool, Int64

IRREGULAR = 0.1
"""Share by which a time step is longer or shorter than the one before."""


@dataclass
class Recordings:
    """Gathered chunk after chunk, in bounded memory."""

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
    earliest: int | None = None
    latest: int | None = None
    _open: str | None = None
    """The recording that the last chunk left open, and what is known of it:"""
    _length: int = 0
    _label: str = ""
    _is_changing: bool = False

    @property
    def num(self) -> int:
        return self.lengths.total()

    @property
    def num_steps(self) -> int:
        return sum(length * count for length, count in self.lengths.items())

    def watch(self, chunks: Iterable[RecordingChunk]) -> Iterator[RecordingChunk]:
        """Pass the chunks of a file on and take note of them."""
        for chunk in chunks:
            if chunk.num_recordings:
                self._note(chunk)
            yield chunk
        self._close()

    def _note(self, chunk: RecordingChunk) -> None:
        goes_on = self._open is not None and self._open == chunk.ids[0].as_py()
        if not goes_on:
            self._close()
        lengths = chunk.lengths.copy()
        lengths[0] += self._length
        is_changing = self._changes(chunk, goes_on)
        kept = len(lengths) - chunk.is_open
        values, counts = np.unique(lengths[:kept], return_counts=True)
        self.lengths.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.num_changing += int(is_changing[:kept].sum())
        if chunk.is_open:
            self._open, self._length = chunk.ids[-1].as_py(), int(lengths[-1])
            self._label, self._is_changing = chunk.classes[chunk.labels[-1]], bool(is_changing[-1])
        else:
            self._open, self._length, self._is_changing = None, 0, False
        self._note_times(chunk)

    def _changes(self, chunk: RecordingChunk, goes_on: bool) -> Bool[np.ndarray, " recording"]:
        changes = np.diff(chunk.labels, prepend=chunk.labels[:1]) != 0
        changes[chunk.offsets[:-1]] = False
        changes[0] = goes_on and chunk.classes[chunk.labels[0]] != self._label
        self.num_changes += int(changes.sum())
        is_changing = np.logical_or.reduceat(changes, chunk.offsets[:-1])
        is_changing[0] |= goes_on and self._is_changing
        return is_changing

    def _note_times(self, chunk: RecordingChunk) -> None:
        known = chunk.known("start") if chunk.times is None else chunk.times
        if known is None:
            return
        low, high = int(known.min()), int(known.max())
        self.earliest = low if self.earliest is None else min(self.earliest, low)
        self.latest = high if self.latest is None else max(self.latest, high)
        if chunk.times is not None:
            self._note_gaps(chunk.times, chunk.offsets)

    def _note_gaps(self, times: Int64[np.ndarray, " step"], offsets: Int64[np.ndarray, " recording_plus_one"]) -> None:
        gaps = np.diff(times).astype(np.float64)
        is_within = np.ones(len(gaps), dtype=bool)
        is_within[offsets[1:-1] - 1] = False
        comparable = is_within[1:] & is_within[:-1]
        is_odd = np.abs(np.diff(gaps)) > IRREGULAR * gaps[:-1]
        self.num_gaps += int(is_within.sum())
        self.seconds += float(gaps[is_within].sum()) / 1e6
        self.num_irregular += int((is_odd & comparable).sum())

    def _close(self) -> None:
        if self._open is not None:
            self.lengths[self._length] += 1
            self.num_changing += self._is_changing
        self._open, self._length, self._is_changing = None, 0, False
