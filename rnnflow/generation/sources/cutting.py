"""How recordings become sequences: each as a whole, or cut into windows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.params.generate import WindowParams
from rnnflow.runtime.array_types import Int64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet

STAND_TOGETHER = "the rows of a sequence must stand together, under an id that no other one has"

BESIDE = ("end", "split", "recording", "first_step", "stop_step")
"""Columns of sequences besides those of the contract."""

Rows = Int64[np.ndarray, " sequence"]


class NeedsWindowsError(InputError):
    """A recording is too long for a sequence, or its label changes."""


def sequences(chunks: Iterable[RecordingChunk], cutter: "Cutter") -> Iterator[pa.Table]:
    """Yield tables of sequences, each with the columns of the contract and those that decide its split of the split.

    These are `split` where the data gives it, `end` (microseconds, of the last step) where there are times, and for
    windows `recording`, `first_step` and `stop_step`.
    """
    waiting: RecordingChunk | None = None
    for chunk in chunks:
        table, waiting = cutter.cut(chunk if waiting is None else waiting.joined(chunk))
        if len(table):
            yield table
    if waiting is not None and waiting.num_recordings:
        table, _ = cutter.cut(waiting.closed())
        if len(table):
            yield table


@dataclass
class Whole:
    """Takes from a chunk what is complete, and returns the steps that later sequences will need: each recording as a sequence.

    Raises:
        NeedsWindowsError: a recording is longer than `max_length`, or its label changes.
    """

    location: SourceLocation
    features: tuple[str, ...]
    max_length: int
    num_left_out: int = 0
    """Recordings that are shorter than a window."""

    def cut(self, chunk: RecordingChunk) -> tuple[pa.Table, RecordingChunk]:
        too_long = np.flatnonzero(chunk.lengths > self.max_length)
        if len(too_long):
            name, length = chunk.ids[int(too_long[0])].as_py(), int(chunk.lengths[too_long[0]])
            raise NeedsWindowsError(
                f"{self.location.path}: sequence {name!r} has {length:,} steps or more, above generate.files.max_length "
                f"{self.max_length:,}; cut recordings with generate.windows"
            )
        count = chunk.num_recordings - chunk.is_open
        starts, stops = chunk.offsets[:count], chunk.offsets[1 : count + 1]
        self._refuse_change_of_label(chunk, count)
        table = _table(self.features, chunk, np.arange(count), starts, stops, chunk.labels[starts])
        return table, chunk.from_recording(count)

    def _refuse_change_of_label(self, chunk: RecordingChunk, count: int) -> None:
        stop = int(chunk.offsets[count])
        changes = np.zeros(stop, dtype=bool)
        changes[1:] = chunk.labels[1:stop] != chunk.labels[: stop - 1] if stop else False
        changes[chunk.offsets[:count]] = False
        if changes.any():
            step = int(changes.argmax())
            recording = int(np.searchsorted(chunk.offsets, step, side="right")) - 1
            before, after = (chunk.classes[chunk.labels[place]] for place in (step - 1, step))
            raise NeedsWindowsError(
                f"{self.location.path}: sequence {chunk.ids[recording].as_py()!r}: the label changes from {before!r} to "
                f"{after!r} at step {step - int(chunk.offsets[recording])}; cut recordings with generate.windows"
            )


@dataclass
class Windows:
    """Recordings are cut into windows; one that is shorter than a window gives none.

    A window's id is that of its recording, `@`, and where it begins, in steps or seconds.
    """

    location: SourceLocation
    features: tuple[str, ...]
    params: WindowParams
    num_left_out: int = 0
    _seen: set[str] = field(default_factory=set)
    _begin: int = 0
    """Where the next window of the open recording begins, in steps or microseconds."""
    _has_windows: bool = False
    """Whether the open recording has given a window in an earlier chunk."""

    def cut(self, chunk: RecordingChunk) -> tuple[pa.Table, RecordingChunk]:
        if not chunk.num_recordings:
            none = np.empty(0, dtype=np.int64)
            return _table(self.features, chunk, none, none, none, chunk.labels[:0]), chunk
        self._refuse_repeated(chunk)
        found = [self._windows(chunk, recording) for recording in range(chunk.num_recordings)]
        counts = [len(starts) for starts, _, _ in found]
        recordings = np.repeat(np.arange(chunk.num_recordings), counts)
        starts, stops, begins = (np.concatenate(parts) for parts in zip(*found, strict=True))
        names = chunk.ids.take(pa.array(recordings))
        unit = 1e6 if self.params.unit == "seconds" else 1
        ids = [f"{name}@{begin / unit:.12g}" for name, begin in zip(names.to_pylist(), begins.tolist(), strict=True)]
        first = starts - chunk.offsets[recordings] + chunk.first_steps[recordings]
        of_windows = {
            "id": pa.array(ids, pa.string()),
            "recording": names,
            "first_step": pa.array(first),
            "stop_step": pa.array(first + stops - starts),
        }
        labels = self._labels(chunk, starts, stops)
        table = _table(self.features, chunk, recordings, starts, stops, labels, of_windows)
        ended = chunk.num_recordings - chunk.is_open
        if not chunk.is_open:
            self._begin = 0
        has_windows = [bool(count) for count in counts]
        has_windows[0] |= self._has_windows
        self.num_left_out += has_windows[:ended].count(False)
        self._has_windows = chunk.is_open and has_windows[-1]
        return table, chunk.from_recording(ended, self._num_done(chunk) if chunk.is_open else 0)

    def _refuse_repeated(self, chunk: RecordingChunk) -> None:
        """A recording that gives no window would not be missed by those who look at windows."""
        for name in chunk.ids[: chunk.num_recordings - chunk.is_open].to_pylist():
            if name in self._seen:
                raise self.location.error(f"id {name!r} came before in the same file; {STAND_TOGETHER}")
            self._seen.add(name)

    def _windows(self, chunk: RecordingChunk, recording: int) -> tuple[Rows, Rows, Rows]:
        """Return where the windows of a recording start and stop in the chunk, and begin in the recording."""
        at, known = self._positions(chunk, recording)
        length, stride = self._length_and_stride
        begins = np.arange(0 if recording else self._begin, known - length + 1, stride, dtype=np.int64)
        starts, stops = np.searchsorted(at, begins), np.searchsorted(at, begins + length)
        holds_steps = stops > starts
        first = chunk.offsets[recording]
        return first + starts[holds_steps], first + stops[holds_steps], begins[holds_steps]

    def _positions(self, chunk: RecordingChunk, recording: int) -> tuple[Int64[np.ndarray, " step"], int]:
        """Return where steps are in their recording, in steps or microseconds, and how far the recording is known."""
        first, stop = (int(place) for place in chunk.offsets[recording : recording + 2])
        if self.params.unit == "steps":
            gone = int(chunk.first_steps[recording])
            return np.arange(gone, gone + stop - first), gone + stop - first
        first_times = chunk.known("first_time")
        if chunk.times is None or first_times is None:
            raise self.location.error("windows in seconds need the time of each step")
        at = chunk.times[first:stop] - first_times[recording]
        is_open = chunk.is_open and recording == chunk.num_recordings - 1
        last = 0 if is_open or len(at) < 2 else int(np.diff(at[-3:]).min())  # the last step takes some time, too
        return at, int(at[-1]) + last

    @property
    def _length_and_stride(self) -> tuple[int, int]:
        unit = 1e6 if self.params.unit == "seconds" else 1
        return round(unit * self.params.length), round(unit * self.params.stride)

    def _num_done(self, chunk: RecordingChunk) -> int:
        """Return how many steps of the open recording no later window will need."""
        at, known = self._positions(chunk, chunk.num_recordings - 1)
        length, stride = self._length_and_stride
        begin = self._begin if chunk.num_recordings == 1 else 0
        self._begin = max(begin, ((known - length) // stride + 1) * stride)
        return max(0, min(int(np.searchsorted(at, self._begin)), len(at) - 3))  # three say how long the last one takes

    def _labels(self, chunk: RecordingChunk, starts: Rows, stops: Rows) -> np.ndarray:
        if self.params.label == "last":
            return chunk.labels[stops - 1]
        chosen = np.empty(len(starts), dtype=np.int32)
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            chosen[index] = np.bincount(chunk.labels[start:stop]).argmax()
        return chosen


Cutter = Whole | Windows


def _table(
    features: tuple[str, ...],
    chunk: RecordingChunk,
    recordings: Rows,
    starts: Rows,
    stops: Rows,
    labels: np.ndarray,
    of_windows: Mapping[str, pa.Array] | None = None,
) -> pa.Table:
    """Return the steps from `starts` to `stops` as sequences of the contract; a window's group is by default its recording."""
    offsets = np.concatenate(([0], np.cumsum(stops - starts)))
    is_all = len(starts) > 0 and bool((starts[1:] == stops[:-1]).all())
    rows = slice(starts[0], stops[-1]) if is_all else _ranges(starts, stops)
    of_recordings = chunk.recordings.take(pa.array(recordings))
    found = dict(zip(of_recordings.schema.names, of_recordings.columns, strict=True))
    found["sequence"] = parquet.sequence_column(chunk.values[rows], offsets)
    found["label"] = pa.array(chunk.classes, pa.string()).take(pa.array(labels))
    if chunk.times is not None:
        found |= {"time": pa.array(chunk.times[starts]), "end": pa.array(chunk.times[stops - 1])}
    elif "start" in found and of_windows is None:  # of a window it is not known from that of its recording
        found |= {"time": found["start"], "end": found["start"]}
    if of_windows is not None:
        found = {"group": of_windows["recording"]} | found | dict(of_windows)
    own = [name for name in parquet.TYPES if name in found]
    columns = [found[name].cast(parquet.TYPES[name]) if name == "time" else found[name] for name in own]
    table = pa.Table.from_arrays(columns, schema=parquet.schema(features, own))
    for name in BESIDE:
        table = table.append_column(name, found[name]) if name in found else table
    return table


def _ranges(starts: Rows, stops: Rows) -> Int64[np.ndarray, " step"]:
    """Return the steps of each range, one range after another."""
    lengths = stops - starts
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
