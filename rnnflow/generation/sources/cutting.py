"""How recordings become sequences: each as a whole, or cut into windows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from rnnflow.generation.sources.steps import Origin, Steps
from rnnflow.params.generate import WindowParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet

STAND_TOGETHER = "the rows of a sequence must stand together"

Rows = Int64[np.ndarray, " sequence"]


@runtime_checkable
class Cutter(Protocol):
    """Takes what it can from a stretch."""

    num_left_out: int
    """Recordings that are shorter than a window."""

    def cut(self, steps: Steps) -> tuple[pa.Table, Steps]:
        """Return complete sequences, and the steps that later ones will need."""
        ...


def sequences(stretches: Iterable[Steps], cutter: Cutter) -> Iterator[pa.Table]:
    """Yield tables of sequences, each with the columns of the contract and those that decide its side of the split.

    These are `split` where the data gives it, `end` (microseconds, of the last step) where there are times, and for
    windows `recording`, `first_step` and `stop_step`.
    """
    waiting: Steps | None = None
    for stretch in stretches:
        table, waiting = cutter.cut(stretch if waiting is None else waiting.joined(stretch))
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

    origin: Origin
    features: tuple[str, ...]
    max_length: int
    num_left_out: int = 0

    def cut(self, steps: Steps) -> tuple[pa.Table, Steps]:
        too_long = np.flatnonzero(steps.lengths > self.max_length)
        if len(too_long):
            name, length = steps.ids[int(too_long[0])].as_py(), int(steps.lengths[too_long[0]])
            raise InputError(
                f"{self.origin.path}: sequence {name!r} has {length:,} steps or more, above generate.files.max_length "
                f"{self.max_length:,}; cut recordings with generate.windows"
            )
        count = steps.num_recordings - steps.is_open
        starts, stops = steps.offsets[:count], steps.offsets[1 : count + 1]
        self._refuse_change_of_label(steps, count)
        table = _table(self.features, steps, np.arange(count), starts, stops, steps.labels[starts])
        return table, steps.from_recording(count)

    def _refuse_change_of_label(self, steps: Steps, count: int) -> None:
        stop = int(steps.offsets[count])
        changes = np.zeros(stop, dtype=bool)
        changes[1:] = steps.labels[1:stop] != steps.labels[: stop - 1] if stop else False
        changes[steps.offsets[:count]] = False
        if changes.any():
            step = int(changes.argmax())
            recording = int(np.searchsorted(steps.offsets, step, side="right")) - 1
            before, after = (steps.classes[steps.labels[place]] for place in (step - 1, step))
            raise InputError(
                f"{self.origin.path}: sequence {steps.ids[recording].as_py()!r}: the label changes from {before!r} to "
                f"{after!r} at step {step - int(steps.offsets[recording])}; cut recordings with generate.windows"
            )


@dataclass
class Windows:
    """Recordings are cut into windows; one that is shorter than a window gives none.

    A window's id is that of its recording, `@`, and where it begins, in steps or seconds.
    """

    origin: Origin
    features: tuple[str, ...]
    params: WindowParams
    num_left_out: int = 0
    _seen: set[str] = field(default_factory=set)
    _begin: int = 0
    """Where the next window of the open recording begins, in microseconds."""

    def cut(self, steps: Steps) -> tuple[pa.Table, Steps]:
        if not steps.num_recordings:
            none = np.empty(0, dtype=np.int64)
            return _table(self.features, steps, none, none, none, steps.labels[:0]), steps
        self._refuse_repeated(steps)
        steps = replace(steps, starts=None)  # where a window begins is not known from where its recording does
        found = [self._windows(steps, recording) for recording in range(steps.num_recordings)]
        counts = [len(starts) for starts, _, _ in found]
        recordings = np.repeat(np.arange(steps.num_recordings), counts)
        starts, stops, begins = (np.concatenate(parts) for parts in zip(*found, strict=True))
        table = _table(self.features, steps, recordings, starts, stops, self._labels(steps, starts, stops))
        table = self._described(table, steps, recordings, starts, stops, begins)
        ended = steps.num_recordings - steps.is_open
        if not steps.is_open:
            self._begin = 0
        self.num_left_out += sum(
            not count and not gone for count, gone in zip(counts[:ended], steps.first_steps[:ended], strict=True)
        )
        return table, steps.from_recording(ended, self._num_done(steps) if steps.is_open else 0)

    def _refuse_repeated(self, steps: Steps) -> None:
        """A recording that gives no window would not be missed by those who look at windows."""
        for name in steps.ids[: steps.num_recordings - steps.is_open].to_pylist():
            if name in self._seen:
                raise InputError(f"{self.origin.path}: id {name!r} came before in the same file; {STAND_TOGETHER}")
            self._seen.add(name)

    def _windows(self, steps: Steps, recording: int) -> tuple[Rows, Rows, Rows]:
        """Return where the windows of a recording start and stop in the stretch, and begin in the recording."""
        first, stop = (int(place) for place in steps.offsets[recording : recording + 2])
        if self.params.unit == "seconds":
            return self._timed_windows(steps, recording, first, stop)
        length, stride = int(self.params.length), int(self.params.stride)
        gone = int(steps.first_steps[recording])
        starts = np.arange(first + -gone % stride, stop - length + 1, stride, dtype=np.int64)
        return starts, starts + length, starts - first + gone

    def _timed_windows(self, steps: Steps, recording: int, first: int, stop: int) -> tuple[Rows, Rows, Rows]:
        if steps.times is None or steps.origins is None:
            raise InputError(f"{self.origin.path}: windows in seconds need the time of each step")
        times = steps.times[first:stop] - steps.origins[recording]
        length, stride = (round(1e6 * seconds) for seconds in (self.params.length, self.params.stride))
        known = int(times[-1])
        if not (steps.is_open and recording == steps.num_recordings - 1) and len(times) > 1:
            known += int(np.diff(times[-3:]).min())  # the last step takes some time, too
        begins = np.arange(0 if recording else self._begin, known - length + 1, stride, dtype=np.int64)
        starts, stops = np.searchsorted(times, begins), np.searchsorted(times, begins + length)
        holds_steps = stops > starts
        return first + starts[holds_steps], first + stops[holds_steps], begins[holds_steps]

    def _num_done(self, steps: Steps) -> int:
        """Return how many steps of the open recording no later window will need."""
        first, stop = (int(place) for place in steps.offsets[-2:])
        if self.params.unit == "steps":
            length, stride, gone = int(self.params.length), int(self.params.stride), int(steps.first_steps[-1])
            known = gone + stop - first
            following = max(-(-gone // stride), (known - length) // stride + 1) * stride
            return min(following, known) - gone
        assert steps.times is not None
        assert steps.origins is not None
        times = steps.times[first:stop] - steps.origins[-1]
        length, stride = (round(1e6 * seconds) for seconds in (self.params.length, self.params.stride))
        begin = self._begin if steps.num_recordings == 1 else 0
        self._begin = max(begin, ((int(times[-1]) - length) // stride + 1) * stride)
        return max(0, min(int(np.searchsorted(times, self._begin)), len(times) - 3))

    def _labels(self, steps: Steps, starts: Rows, stops: Rows) -> np.ndarray:
        if self.params.label == "last":
            return steps.labels[stops - 1]
        chosen = np.empty(len(starts), dtype=np.int32)
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            chosen[index] = np.bincount(steps.labels[start:stop]).argmax()
        return chosen

    def _described(
        self, table: pa.Table, steps: Steps, recordings: Rows, starts: Rows, stops: Rows, begins: Rows
    ) -> pa.Table:
        """Add which part of its recording a window is, and its recording as its group where it has none."""
        names = steps.ids.take(pa.array(recordings))
        unit = 1e6 if self.params.unit == "seconds" else 1
        ids = [f"{name}@{begin / unit:.12g}" for name, begin in zip(names.to_pylist(), begins.tolist(), strict=True)]
        table = table.set_column(0, table.schema.field("id"), pa.array(ids, pa.string()))
        first = starts - steps.offsets[recordings] + steps.first_steps[recordings]
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
    features: tuple[str, ...], steps: Steps, recordings: Rows, starts: Rows, stops: Rows, labels: np.ndarray
) -> pa.Table:
    """Return the steps from `starts` to `stops` as sequences of the contract."""
    taken = pa.array(recordings)
    offsets = np.concatenate(([0], np.cumsum(stops - starts)))
    is_all = len(starts) > 0 and bool((starts[1:] == stops[:-1]).all())
    rows = slice(starts[0], stops[-1]) if is_all else _ranges(starts, stops)
    columns = {
        "id": steps.ids.take(taken),
        "sequence": parquet.sequence_column(steps.values[rows], offsets),
        "label": pa.array(steps.classes, pa.string()).take(pa.array(labels)),
    }
    if steps.groups is not None:
        columns["group"] = steps.groups.take(taken)
    extra: dict[str, pa.Array] = {}
    if steps.times is not None:
        columns["time"] = pa.array(steps.times[starts]).cast(parquet.TYPES["time"])
        extra["end"] = pa.array(steps.times[stops - 1])
    elif steps.starts is not None:
        columns["time"] = pa.array(steps.starts[recordings]).cast(parquet.TYPES["time"])
        extra["end"] = pa.array(steps.starts[recordings])
    if steps.splits is not None:
        extra["split"] = steps.splits.take(taken)
    table = pa.Table.from_arrays(list(columns.values()), schema=parquet.schema(features, list(columns)))
    for name, column in extra.items():
        table = table.append_column(name, column)
    return table


def _ranges(starts: Rows, stops: Rows) -> Int64[np.ndarray, " step"]:
    """Return the steps of each range, one range after another."""
    lengths = stops - starts
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
