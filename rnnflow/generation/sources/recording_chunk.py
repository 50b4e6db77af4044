"""Recordings on their way from a file to the data set: time steps in their order, with what is known of them.

Shapes: R recordings, N steps, F features.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from rnnflow.runtime.array_types import Float32, Int32, Int64
from rnnflow.runtime.errors import InputError


@dataclass(frozen=True)
class SourceLocation:
    """A file and how it speaks of its parts in messages."""

    path: str
    place: Callable[[int], str]
    """Names a row by its index: `row 3`, or `line 5` of a CSV file."""

    def error(self, what: str) -> InputError:
        return InputError(f"{self.path}: {what}")


@dataclass(frozen=True)
class RecordingChunk:
    """A chunk of a file: recordings one after another. The last one may go on in the next chunk."""

    recordings: pa.RecordBatch
    """R rows: `id`; `group` and `split` where they are known; `first_time`, of the very first step, where steps have times;
    `start`, where only recordings have; times in microseconds since 1970 in UTC."""
    offsets: Int64[np.ndarray, " recording_plus_one"]
    values: Float32[np.ndarray, "step feature"]
    labels: Int32[np.ndarray, " step"]
    """Indices in `classes`."""
    classes: list[str]
    """Grows while the file is read; all its chunks share it."""
    first_steps: Int64[np.ndarray, " recording"]
    """Steps of the recording in earlier chunks that are no longer here."""
    times: Int64[np.ndarray, " step"] | None = None
    is_open: bool = False
    """Whether the last recording may go on."""

    @property
    def num_recordings(self) -> int:
        return self.recordings.num_rows

    @property
    def ids(self) -> pa.StringArray:
        return self.recordings["id"]

    @property
    def lengths(self) -> Int64[np.ndarray, " recording"]:
        return np.diff(self.offsets)

    def known(self, name: str) -> np.ndarray | None:
        """Return a column of numbers in `recordings`, if there is one."""
        return self.recordings[name].to_numpy() if name in self.recordings.schema.names else None

    def joined(self, following: "RecordingChunk") -> "RecordingChunk":
        """Return both chunks as one; where the first is open and the ids agree, a recording goes on."""
        goes_on = self.is_open and self.num_recordings and self.ids[-1] == following.ids[0]
        skip = 1 if goes_on else 0
        shifted = following.offsets[1:] + self.offsets[-1]
        return replace(
            following,
            recordings=pa.concat_batches([self.recordings, following.recordings.slice(skip)]),
            offsets=np.concatenate([self.offsets[: len(self.offsets) - skip], shifted]),
            values=np.concatenate([self.values, following.values]),
            labels=np.concatenate([self.labels, following.labels]),
            first_steps=np.concatenate([self.first_steps, following.first_steps[skip:]]),
            times=None if following.times is None else np.concatenate([self.times, following.times]),
        )

    def closed(self) -> "RecordingChunk":
        """Return the chunk as the last of its file."""
        return replace(self, is_open=False)

    def without_last(self) -> "RecordingChunk":
        """Return the chunk without its last recording, which has no steps."""
        return replace(
            self,
            recordings=self.recordings.slice(0, self.num_recordings - 1),
            offsets=self.offsets[:-1],
            first_steps=self.first_steps[:-1],
            is_open=False,
        )

    def from_recording(self, first: int, num_gone: int = 0) -> "RecordingChunk":
        """Return the recordings from `first` on, without the first `num_gone` steps of that one."""
        start = int(self.offsets[first]) + num_gone
        first_steps = self.first_steps[first:].copy()
        first_steps[:1] += num_gone
        return replace(
            self,
            recordings=self.recordings.slice(first),
            offsets=np.maximum(self.offsets[first:] - start, 0),
            values=self.values[start:],
            labels=self.labels[start:],
            first_steps=first_steps,
            times=None if self.times is None else self.times[start:],
        )
