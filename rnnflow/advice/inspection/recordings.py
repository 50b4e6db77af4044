"""What recordings are like before any of them is cut."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from rnnflow.generation.sources.recording_chunk import RecordingChunk
from rnnflow.runtime.array_types import Int64

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
    _open: tuple[str, int, str, bool] | None = None
    """The recording that the last chunk left open: its id, its steps, its last label, and whether the label has changed."""

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
        if self._open is not None and self._open[0] != chunk.ids[0].as_py():
            self._close()
        lengths = chunk.lengths.copy()
        changes = np.diff(chunk.labels, prepend=chunk.labels[:1]) != 0
        changes[chunk.offsets[:-1]] = False
        is_changing = np.logical_or.reduceat(changes, chunk.offsets[:-1])
        if self._open is not None:  # it goes on
            _, length, label, was_changing = self._open
            lengths[0] += length
            changes[0] = chunk.classes[chunk.labels[0]] != label
            is_changing[0] |= changes[0] | was_changing
        self.num_changes += int(changes.sum())
        kept = len(lengths) - chunk.is_open
        values, counts = np.unique(lengths[:kept], return_counts=True)
        self.lengths.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.num_changing += int(is_changing[:kept].sum())
        last = (chunk.ids[-1].as_py(), int(lengths[-1]), chunk.classes[chunk.labels[-1]], bool(is_changing[-1]))
        self._open = last if chunk.is_open else None
        self._note_times(chunk)

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
            _, length, _, is_changing = self._open
            self.lengths[length] += 1
            self.num_changing += is_changing
        self._open = None
