"""How recordings become sequences: each as a whole, or cut into windows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.params.generate import WindowParams
from rnnflow.runtime.array_types import Int64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet

STAND_TOGETHER = "the rows of a sequence must stand together"

Rows = Int64[np.ndarray, " sequence"]


@runtime_checkable
class Cutter(Protocol):
    """Takes what it can from a chunk."""

    num_left_out: int
    """Recordings that are shorter than a window."""

    def cut(self, chunk: RecordingChunk) -> tuple[pa.Table, RecordingChunk]:
        """Return complete sequences, and the steps that later ones will need."""
        ...


def sequences(chunks: Iterable[RecordingChunk], cutter: Cutter) -> Iterator[pa.Table]:
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
    """Each recording is a sequence.

    Raises:
        InputError: a recording is longer than `max_length`, or its label changes.
    """

    location: SourceLocation
    features: tuple[str, ...]
    max_length: int
    num_left_out: int = 0

    def cut(self, chunk: RecordingChunk) -> tuple[pa.Table, RecordingChunk]:
        too_long = np.flatnonzero(chunk.lengths > self.max_length)
        if len(too_long):
            name, length = chunk.ids[int(too_long[0])].as_py(), int(chunk.lengths[too_long[0]])
            raise InputError(
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
            raise InputError(
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
    """Where the next window of the open recording begins, in microseconds."""
    _has_windows: bool = False
    """Whether the open recording has given a window in an earlier chunk."""

    def cut(self, chunk: RecordingChunk) -> tuple[pa.Table, RecordingChunk]:
        if not chunk.num_recordings:
            none = np.empty(0, dtype=np.int64)
            return _table(self.features, chunk, none, none, none, chunk.labels[:0]), chunk
        self._refuse_repeated(chunk)
        chunk = replace(chunk, starts=None)  # where a window begins is not known from where its recording does
        found = [self._windows(chunk, recording) for recording in range(chunk.num_recordings)]
        counts = [len(starts) for starts, _, _ in found]
        recordings = np.repeat(np.arange(chunk.num_recordings), counts)
        starts, stops, begins = (np.concatenate(parts) for parts in zip(*found, strict=True))
        table = _table(self.features, chunk, recordings, starts, stops, self._labels(chunk, starts, stops))
        table = self._described(table, chunk, recordings, starts, stops, begins)
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
                raise InputError(f"{self.location.path}: id {name!r} came before in the same file; {STAND_TOGETHER}")
            self._seen.add(name)

    def _windows(self, chunk: RecordingChunk, recording: int) -> tuple[Rows, Rows, Rows]:
        """Return where the windows of a recording start and stop in the chunk, and begin in the recording."""
        first, stop = (int(place) for place in chunk.offsets[recording : recording + 2])
        if self.params.unit == "seconds":
            return self._timed_windows(chunk, recording, first, stop)
        length, stride = int(self.params.length), int(self.params.stride)
        gone = int(chunk.first_steps[recording])
        starts = np.arange(first + -gone % stride, stop - length + 1, stride, dtype=np.int64)
        return starts, starts + length, starts - first + gone

    def _timed_windows(self, chunk: RecordingChunk, recording: int, first: int, stop: int) -> tuple[Rows, Rows, Rows]:
        if chunk.times is None or chunk.first_times is None:
            raise InputError(f"{self.location.path}: windows in seconds need the time of each step")
        times = chunk.times[first:stop] - chunk.first_times[recording]
        length, stride = (round(1e6 * seconds) for seconds in (self.params.length, self.params.stride))
        known = int(times[-1])
        if not (chunk.is_open and recording == chunk.num_recordings - 1) and len(times) > 1:
            known += int(np.diff(times[-3:]).min())  # the last step takes some time, too
        begins = np.arange(0 if recording else self._begin, known - length + 1, stride, dtype=np.int64)
        starts, stops = np.searchsorted(times, begins), np.searchsorted(times, begins + length)
        holds_steps = stops > starts
        return first + starts[holds_steps], first + stops[holds_steps], begins[holds_steps]

    def _num_done(self, chunk: RecordingChunk) -> int:
        """Return how many steps of the open recording no later window will need."""
        first, stop = (int(place) for place in chunk.offsets[-2:])
        if self.params.unit == "steps":
            length, stride, gone = int(self.params.length), int(self.params.stride), int(chunk.first_steps[-1])
            known = gone + stop - first
            following = max(-(-gone // stride), (known - length) // stride + 1) * stride
            return min(following, known) - gone
        assert chunk.times is not None
        assert chunk.first_times is not None
        times = chunk.times[first:stop] - chunk.first_times[-1]
        length, stride = (round(1e6 * seconds) for seconds in (self.params.length, self.params.stride))
        begin = self._begin if chunk.num_recordings == 1 else 0
        self._begin = max(begin, ((int(times[-1]) - length) // stride + 1) * stride)
        return max(0, min(int(np.searchsorted(times, self._begin)), len(times) - 3))

    def _labels(self, chunk: RecordingChunk, starts: Rows, stops: Rows) -> np.ndarray:
        if self.params.label == "last":
            return chunk.labels[stops - 1]
        chosen = np.empty(len(starts), dtype=np.int32)
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            chosen[index] = np.bincount(chunk.labels[start:stop]).argmax()
        return chosen

    def _described(
        self, table: pa.Table, chunk: RecordingChunk, recordings: Rows, starts: Rows, stops: Rows, begins: Rows
    ) -> pa.Table:
        """Add which part of its recording a window is, and its recording as its group where it has none."""
        names = chunk.ids.take(pa.array(recordings))
        unit = 1e6 if self.params.unit == "seconds" else 1
        ids = [f"{name}@{begin / unit:.12g}" for name, begin in zip(names.to_pylist(), begins.tolist(), strict=True)]
        table = table.set_column(0, table.schema.field("id"), pa.array(ids, pa.string()))
        first = starts - chunk.offsets[recordings] + chunk.first_steps[recordings]
        if "group" not in table.schema.names:
            metadata = table.schema.metadata
            table = table.append_column(pa.field("group", pa.string(), nullable=False), names)
            table = table.replace_schema_metadata(metadata)
        for name, column in (
            ("recording", names),
            ("first_step", pa.array(first)),
            ("stop_step", pa.array(first + stops - starts)),
        ):
            table = table.append_column(name, column)
        return table


def _table(
    features: tuple[str, ...], chunk: RecordingChunk, recordings: Rows, starts: Rows, stops: Rows, labels: np.ndarray
) -> pa.Table:
    """Return the steps from `starts` to `stops` as sequences of the contract."""
    taken = pa.array(recordings)
    offsets = np.concatenate(([0], np.cumsum(stops - starts)))
    is_all = len(starts) > 0 and bool((starts[1:] == stops[:-1]).all())
    rows = slice(starts[0], stops[-1]) if is_all else _ranges(starts, stops)
    columns = {
        "id": chunk.ids.take(taken),
        "sequence": parquet.sequence_column(chunk.values[rows], offsets),
        "label": pa.array(chunk.classes, pa.string()).take(pa.array(labels)),
    }
    if chunk.groups is not None:
        columns["group"] = chunk.groups.take(taken)
    extra: dict[str, pa.Array] = {}
    if chunk.times is not None:
        columns["time"] = pa.array(chunk.times[starts]).cast(parquet.TYPES["time"])
        extra["end"] = pa.array(chunk.times[stops - 1])
    elif chunk.starts is not None:
        columns["time"] = pa.array(chunk.starts[recordings]).cast(parquet.TYPES["time"])
        extra["end"] = pa.array(chunk.starts[recordings])
    if chunk.splits is not None:
        extra["split"] = chunk.splits.take(taken)
    table = pa.Table.from_arrays(list(columns.values()), schema=parquet.schema(features, list(columns)))
    for name, column in extra.items():
        table = table.append_column(name, column)
    return table


def _ranges(starts: Rows, stops: Rows) -> Int64[np.ndarray, " step"]:
    """Return the steps of each range, one range after another."""
    lengths = stops - starts
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
