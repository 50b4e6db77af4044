"""Recordings on their way from a file to the data set: time steps in their order, with what is known of them.

Shapes: R recordings, N steps, F features.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from rnnflow.runtime.array_types import Float32, Int32, Int64


@dataclass(frozen=True)
class SourceLocation:
    """A file and how it speaks of its parts in messages."""

    path: str
    place: Callable[[int], str]
    """Names a row by its index: `row 3`, or `line 5` of a CSV file."""


@dataclass(frozen=True)
class RecordingChunk:
    """A chunk of a file: recordings one after another. The last one may go on in the next chunk."""

    ids: pa.StringArray
    """R."""
    offsets: Int64[np.ndarray, " recording_plus_one"]
    values: Float32[np.ndarray, "step feature"]
    labels: Int32[np.ndarray, " step"]
    """Indices in `classes`."""
    classes: list[str]
    """Grows while the file is read; all its chunks share it."""
    first_steps: Int64[np.ndarray, " recording"]
    """Steps of the recording in earlier chunks that are no longer here."""
    groups: pa.StringArray | None = None
    splits: pa.StringArray | None = None
    times: Int64[np.ndarray, " step"] | None = None
    """Microseconds since 1970 in UTC."""
    starts: Int64[np.ndarray, " recording"] | None = None
    """The same for each recording's first step, where its steps have no times."""
    first_times: Int64[np.ndarray, " recording"] | None = None
    """Time of the very first step of each recording, where its steps have times."""
    is_open: bool = False
    """Whether the last recording may go on."""

    @property
    def num_recordings(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Int64[np.ndarray, " recording"]:
        return np.diff(self.offsets)

    def joined(self, following: "RecordingChunk") -> "RecordingChunk":
        """Return both chunks as one; where the first is open and the ids agree, a recording goes on."""
        goes_on = self.is_open and self.num_recordings and self.ids[-1] == following.ids[0]
        skip = 1 if goes_on else 0
        shifted = following.offsets[1:] + self.offsets[-1]
        return replace(
            following,
            ids=_texts(self.ids, following.ids, skip),
            offsets=np.concatenate([self.offsets[: len(self.offsets) - skip], shifted]),
            values=np.concatenate([self.values, following.values]),
            labels=np.concatenate([self.labels, following.labels]),
            first_steps=np.concatenate([self.first_steps, following.first_steps[skip:]]),
            groups=_texts(self.groups, following.groups, skip),
            splits=_texts(self.splits, following.splits, skip),
            times=_numbers(self.times, following.times, 0),
            starts=_numbers(self.starts, following.starts, skip),
            first_times=_numbers(self.first_times, following.first_times, skip),
        )

    def closed(self) -> "RecordingChunk":
        """Return the chunk as the last of its file."""
        return replace(self, is_open=False)

    def without_last(self) -> "RecordingChunk":
        """Return the chunk without its last recording, which has no steps."""
        return replace(
            self,
            ids=self.ids[:-1],
            offsets=self.offsets[:-1],
            first_steps=self.first_steps[:-1],
            groups=None if self.groups is None else self.groups[:-1],
            splits=None if self.splits is None else self.splits[:-1],
            first_times=None if self.first_times is None else self.first_times[:-1],
            is_open=False,
        )

    def from_recording(self, first: int, num_gone: int = 0) -> "RecordingChunk":
        """Return the recordings from `first` on, without the first `num_gone` steps of that one."""
        start = int(self.offsets[first]) + num_gone
        offsets = self.offsets[first:] - start
        offsets[0] = 0
        first_steps = self.first_steps[first:].copy()
        first_steps[:1] += num_gone
        return replace(
            self,
            ids=self.ids[first:],
            offsets=offsets,
            values=self.values[start:],
            labels=self.labels[start:],
            first_steps=first_steps,
            groups=None if self.groups is None else self.groups[first:],
            splits=None if self.splits is None else self.splits[first:],
            times=None if self.times is None else self.times[start:],
            starts=None if self.starts is None else self.starts[first:],
            first_times=None if self.first_times is None else self.first_times[first:],
        )


def _texts(first: pa.Array | None, second: pa.Array | None, skip: int) -> pa.Array | None:
    return None if first is None or second is None else pa.concat_arrays([first, second[skip:]])


def _numbers(first: np.ndarray | None, second: np.ndarray | None, skip: int) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second[skip:]])
