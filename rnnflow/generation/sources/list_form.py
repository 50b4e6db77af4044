"""Tables with one row per sequence: one column of all its values, or a list column for each feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.generation.sources.row_reader import RowReader
from rnnflow.generation.sources.times import read_times
from rnnflow.generation.sources.values import is_list, numbers
from rnnflow.runtime.array_types import Float32, Int64

STEPS_FIRST, FEATURES_FIRST = "sequence-time-feature", "sequence-feature-time"
"""As `generate.files.axes`."""


class Lists(NamedTuple):
    """A list column: values one after another, and how many each row has."""

    values: Float32[np.ndarray, " value"]
    lengths: Int64[np.ndarray, " row"]
    width: int | None
    """Features of a step, where the lists hold lists (or a tensor has two axes)."""


@dataclass
class ListForm(RowReader):
    """Each row is a recording, and complete."""

    num_features: int = 1
    """That a step has."""

    def chunk(self, batch: pa.RecordBatch) -> RecordingChunk:
        texts = self.texts(batch)
        if self.layout.parts["id"].column is None:
            stem = self.layout.parts["id"].text
            texts["id"] = pa.array([f"{stem}#{self.num_rows + row}" for row in range(len(batch))])
        values, lengths = self._values(batch)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        begins = np.zeros(len(values), bool)
        begins[offsets[:-1]] = True
        recordings = {name: texts[name] for name in texts if name != "label"}
        times, starts = self._times(batch, lengths)
        gaps = None
        if starts is not None:
            recordings["start"] = pa.array(starts)
        elif times is not None:
            gaps = np.diff(times, prepend=times[0])
            falls = _any_in((gaps <= 0) & ~begins, lengths)
            self.refuse(falls, f"column {self.layout.parts['time'].column!r} has times that do not rise")
            recordings["first_time"] = pa.array(times[offsets[:-1]])
        return RecordingChunk(
            recordings=pa.RecordBatch.from_pydict(recordings),
            offsets=offsets,
            values=self.with_gaps(values, gaps, begins),
            labels=np.repeat(self.class_indices(texts["label"]), lengths),
            classes=self._classes,
            first_steps=np.zeros(batch.num_rows, dtype=np.int64),
            times=times,
        )

    def _values(self, batch: pa.RecordBatch) -> tuple[Float32[np.ndarray, "step feature"], Int64[np.ndarray, " row"]]:
        found = [self._lists(batch, name) for name in self.layout.columns]
        first, name = found[0], self.layout.columns[0]
        self.refuse(first.lengths == 0, f"column {name!r} is empty, expected at least one time step")
        if self.layout.form == "features":
            for lists, own_name in zip(found, self.layout.columns, strict=True):
                if lists.width not in (None, 1):
                    raise self.location.error(
                        f"column {own_name!r} holds lists of lists, which is whole sequences; "
                        "generate.files.columns.sequence names it"
                    )
            for other, other_name in zip(found[1:], self.layout.columns[1:], strict=True):
                unlike = other.lengths != first.lengths
                self.refuse(unlike, f"column {other_name!r} has another number of steps than column {name!r}")
            return np.column_stack([lists.values for lists in found]), first.lengths
        num_features = self.num_features
        if first.width not in (None, num_features):
            raise self.location.error(f"column {name!r} has {first.width} features, expected {num_features}")
        ragged = first.lengths % num_features != 0
        self.refuse(
            ragged, f"column {name!r} has a number of values that is not a multiple of the {num_features} features"
        )
        return first.values.reshape(-1, num_features), first.lengths // num_features

    def _lists(self, batch: pa.RecordBatch, name: str) -> Lists:
        column = batch.column(name)
        if isinstance(column.type, pa.FixedShapeTensorType):
            shape, order = column.type.shape, column.type.permutation
            if len(shape) > 2 or (order is not None and list(order) != sorted(order)):
                raise self.location.error(f"column {name!r} is {column.type}, expected (time, feature) in that order")
            column = column.storage
            width = int(np.prod(shape[1:])) if len(shape) > 1 else None
        else:
            width = None
        if not is_list(column.type):
            raise self.location.error(f"column {name!r} is {column.type}, expected lists of numbers")
        self.refuse(column.is_null(), f"column {name!r} is null")
        lengths = _lengths(column)
        flat = column.flatten()
        if is_list(flat.type):
            width, flat, lengths = self._nested(name, flat, lengths)
        if is_list(flat.type):
            raise self.location.error(f"column {name!r} is {column.type}, lists deeper than (time, feature)")
        return Lists(numbers(self._of_entries(lengths), name, flat, 0), lengths, width)

    def _of_entries(self, lengths: Int64[np.ndarray, " row"]) -> SourceLocation:
        """Return what names the row of an entry of the batch's lists."""
        ends = np.cumsum(lengths)
        row_of = lambda entry: self.num_rows + int(np.searchsorted(ends, entry, side="right"))  # noqa: E731
        return SourceLocation(self.location.path, lambda entry: self.location.place(row_of(entry)))

    def _nested(
        self, name: str, inner: pa.Array, lengths: Int64[np.ndarray, " row"]
    ) -> tuple[int, pa.Array, Int64[np.ndarray, " row"]]:
        """Return the number of features of lists of lists, their values, and the number of values of each row."""
        widths = _lengths(inner)
        is_sequence = self.layout.form == "sequence"
        if self.files.axes == FEATURES_FIRST and is_sequence:
            return self._by_feature(name, inner, lengths)
        width = self.num_features if is_sequence else int(widths[0]) if len(widths) else 1
        self.refuse(
            _any_in(widths != width, lengths),
            f"column {name!r} has a step without exactly {width} features, as the others have; if each list holds all steps "
            f"of a feature, set generate.files.axes: {FEATURES_FIRST}",
        )
        return width, inner.flatten(), lengths * width

    def _by_feature(
        self, name: str, inner: pa.Array, lengths: Int64[np.ndarray, " row"]
    ) -> tuple[int, pa.Array, Int64[np.ndarray, " row"]]:
        """Return the same of lists that hold a list of all steps for each feature."""
        width = self.num_features
        self.refuse(lengths != width, f"column {name!r} has not exactly {width} lists, one for each feature")
        num_steps = _lengths(inner).reshape(-1, width)
        unlike = (num_steps != num_steps[:, :1]).any(1)
        self.refuse(unlike, f"column {name!r} has features of different numbers of steps")
        steps = num_steps[:, 0]
        ends = np.cumsum(steps)
        step = np.arange(ends[-1]) - np.repeat(ends - steps, steps)
        first = np.repeat((ends - steps) * width, steps) + step  # where the step's first feature stands
        places = first[:, None] + np.repeat(steps, steps)[:, None] * np.arange(width)  # (step, feature)
        return width, inner.flatten().take(pa.array(places.reshape(-1))), steps * width

    def _times(
        self, batch: pa.RecordBatch, lengths: Int64[np.ndarray, " row"]
    ) -> tuple[Int64[np.ndarray, " step"] | None, Int64[np.ndarray, " row"] | None]:
        """Return the times of all steps where a row has a list of them, or of each sequence's start."""
        name = self.layout.parts["time"].column if "time" in self.layout.parts else None
        if name is None:
            return None, None
        column = batch.column(name)
        if not is_list(column.type):
            times = read_times(self.location, name, column, self.files, self.num_rows)
            self.zone_is_known = times.has_zone
            return None, times.microseconds
        self.refuse(
            _lengths(column) != lengths, f"column {name!r} has another number of entries than the sequence has steps"
        )
        times = read_times(self._of_entries(lengths), name, column.flatten(), self.files, 0)
        self.zone_is_known = times.has_zone
        return times.microseconds, None


def _lengths(column: pa.Array) -> Int64[np.ndarray, " row"]:
    return pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _any_in(is_bad: np.ndarray, lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return for each row whether one of its values is bad."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return np.isin(np.arange(len(lengths)), rows[is_bad])
