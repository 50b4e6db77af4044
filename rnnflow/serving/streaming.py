"""Many live streams answered side by side, each from the state that its steps so far have left; imports no torch."""

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnflow.runtime.array_types import Float32, Int64
from rnnflow.runtime.errors import InputError
from rnnflow.serving.open_streams import OpenStreams, StreamId
from rnnflow.serving.streaming_model import StreamingModel

CHUNK_SIZE = 2048
"""Streams in one call of onnxruntime."""


class Answer(NamedTuple):
    """What a stream's steps so far are."""

    prediction: str
    """The most probable class, or `unknown` where the model has a threshold."""
    probabilities: Float32[np.ndarray, " class"]
    num_steps: int
    """Since the stream began."""
    decision: str | None
    """The class that the file's early rule decided for, at this step or before; it stays."""
    decided_at: int
    """The number of steps at the decision, zero before."""


class Answers(NamedTuple):
    """The same of several streams."""

    predictions: np.ndarray
    probabilities: Float32[np.ndarray, "stream class"]
    num_steps: Int64[np.ndarray, " stream"]
    decisions: np.ndarray
    """None where a stream is undecided."""
    decided_at: Int64[np.ndarray, " stream"]
    """Zero where it is."""


class StreamingPredictor:
    """Answers to live streams; a stream begins with the first steps that are pushed under its name.

    Args:
        path: the streaming ONNX file.
        capacity: most streams that are open at once. Memory is bounded by it.
        idle_seconds: a stream that gets no steps for so long is closed; none: never.
        clock: gives the seconds for `idle_seconds`.

    Raises:
        InputError: the file cannot be used.
    """

    def __init__(
        self,
        path: Path | str,
        capacity: int = 100_000,
        idle_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = StreamingModel(path)
        self._streams = OpenStreams(self.model.state_size, capacity, idle_seconds, clock)
        rule = self.model.early_rule
        self._looks = rule.steps if rule else []
        """Numbers of steps after which a stream may be decided."""
        self._is_look = frozenset(self._looks)
        self._single_steps = self.model.single_steps()

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    def push(self, stream: StreamId, steps: Any, at: float | None = None) -> Answer:
        """Return the answer after these steps, (time, feature), of one stream.

        Args:
            stream: its name, a text or a whole number.
            steps: those that follow the last ones; none is allowed once the stream has begun. NaN is a missing value.
            at: the time of the last of them, in any unit; it may not go backwards.

        Raises:
            InputError: the steps have other features, an infinite value, or a missing one that the model refuses; the time
                goes backwards; the stream has ended; or as many as `capacity` are open. Nothing has changed then.
        """
        row = self._streams.row(stream)
        if row is not None and at is None and self._is_plain(steps) and not self._meets_look(row):
            probabilities = self._single_steps.run(steps, self._streams.states[row])
            num_steps = int(self._streams.add(row, 1, None))
            return Answer(self.model.answer(probabilities), probabilities, num_steps, *self._decision(row))
        found = self.push_many([stream], [steps], None if at is None else [at])
        prediction, probabilities, num_steps, decision, decided_at = (each[0] for each in found)
        return Answer(prediction, probabilities, int(num_steps), decision, int(decided_at))

    def push_many(
        self, streams: Sequence[StreamId], steps: Sequence[Any] | np.ndarray, at: Sequence[float] | None = None
    ) -> Answers:
        """Return the answers of different streams, as `push` does for one.

        Args:
            streams: their names, each once.
            steps: for each an array (time, feature); as one array (stream, time, feature) it is fastest.
            at: for each the time of its last step.

        Raises:
            InputError: one of them is refused, or named twice. Nothing has changed then, for none of them.
        """
        batch, lengths = self._batch(streams, steps)
        rows = self._streams.rows(streams, lengths, at)
        for start, end in pairwise(self._cuts(rows, lengths, batch.shape[1])):
            within = np.clip(lengths - start, 0, end - start)
            probabilities = self._advance(rows, batch[:, start:end], within)
            num_steps = self._streams.add(rows, within, at)
            self._decide(rows, probabilities)
        decided_at = self._streams.decided_at[rows]
        decisions = np.array(self.model.classes, object)[self._streams.decisions[rows]]
        decisions[decided_at == 0] = None
        return Answers(self.model.answers(probabilities), probabilities, num_steps, decisions, decided_at)

    def _meets_look(self, row: int) -> bool:
        """Whether the stream may be decided at its next step."""
        return int(self._streams.num_steps[row]) + 1 in self._is_look

    def _cuts(self, rows: np.ndarray, lengths: np.ndarray, width: int) -> list[int]:
        """Where a batch is cut for no look to be passed over, so that a decision does not depend on how steps arrive."""
        if width == 1 or not self._looks:
            return [0, width]
        undecided = self._streams.decided_at[rows] == 0
        ahead = np.array(self._looks) - self._streams.num_steps[rows, None]
        inside = (ahead > 0) & (ahead < lengths[:, None]) & undecided[:, None]
        return [0, *np.unique(ahead[inside]).tolist(), width]

    def _advance(self, rows: np.ndarray, batch: np.ndarray, lengths: np.ndarray) -> Float32[np.ndarray, "stream class"]:
        """Return the probabilities after these steps, and keep the new states."""
        states = self._streams.states
        probabilities = np.empty((len(batch), len(self.model.classes)), np.float32)
        for start in range(0, len(batch), CHUNK_SIZE):
            part = slice(start, start + CHUNK_SIZE)
            probabilities[part], states[rows[part]] = self.model.run(batch[part], lengths[part], states[rows[part]])
        return probabilities

    def _decide(self, rows: np.ndarray, probabilities: Float32[np.ndarray, "stream class"]) -> None:
        """Note the streams that are decided now: undecided before, at a look, and sure enough of a class."""
        if (rule := self.model.early_rule) is None:
            return
        streams, looks = self._streams, np.array(self._looks)
        num_steps = streams.num_steps[rows]
        look = np.searchsorted(looks[:-1], num_steps)
        asked = np.flatnonzero((looks[look] == num_steps) & (streams.decided_at[rows] == 0))
        asked = asked[rule.confidence(probabilities[asked], look[asked]) >= rule.threshold]
        asked = asked[probabilities[asked].max(1, initial=0) >= (self.model.threshold or 0)]
        streams.decided_at[rows[asked]], streams.decisions[rows[asked]] = (
            num_steps[asked],
            probabilities[asked].argmax(1),
        )

    def _decision(self, row: int) -> tuple[str | None, int]:
        decided_at = int(self._streams.decided_at[row])
        return (self.model.classes[self._streams.decisions[row]], decided_at) if decided_at else (None, 0)

    def end(self, stream: StreamId) -> None:
        """Forget a stream; its name cannot be used again for a long while.

        Raises:
            InputError: it is not open.
        """
        self._streams.close(stream)

    def save(self, path: Path | str) -> None:
        """Write the open streams, so that `restore` goes on with them, in another process too."""
        self._streams.save(Path(path), self._identity)

    def restore(self, path: Path | str) -> None:
        """Take over the streams that `save` wrote; those that are open are forgotten.

        Raises:
            InputError: the file cannot be read, is damaged, or is of another model or version.
        """
        self._streams.restore(Path(path), self._identity)

    @property
    def _identity(self) -> str:
        return self.model.properties["sha256"]

    def _is_plain(self, steps: Any) -> bool:
        """Whether they are one step to which no check has anything to say: there is no time for more."""
        return (
            isinstance(steps, np.ndarray)
            and steps.dtype == np.float32
            and steps.shape == (1, len(self.model.features))
            and math.isfinite(sum(steps[0].tolist()))  # NumPy's sum takes five times as long for a few features
        )

    def _batch(
        self, streams: Sequence[StreamId], steps: Sequence[Any] | np.ndarray
    ) -> tuple[Float32[np.ndarray, "stream time feature"], Int64[np.ndarray, " stream"]]:
        """Return padded steps and their lengths, checked."""
        if len(streams) != len(steps):
            raise InputError(f"{len(streams)} streams, but steps for {len(steps)}")
        if isinstance(steps, np.ndarray) and steps.ndim == 3 and steps.shape[1]:
            first = streams[0] if len(streams) else ""
            batch, lengths = _as_float32(first, steps), np.full(len(steps), steps.shape[1])
            self._check_shape(first, batch.shape[1:])
        else:
            batch, lengths = self._padded(streams, steps)
        self._check_values(streams, batch)
        return batch, lengths

    def _padded(
        self, streams: Sequence[StreamId], steps: Sequence[Any] | np.ndarray
    ) -> tuple[Float32[np.ndarray, "stream time feature"], Int64[np.ndarray, " stream"]]:
        arrays = []
        for stream, each in zip(streams, steps, strict=True):
            array = _as_float32(stream, each)
            array = array.reshape(0, len(self.model.features)) if array.size == 0 else array
            self._check_shape(stream, array.shape)
            arrays.append(array)
        lengths = np.array([len(array) for array in arrays], np.int64)
        batch = np.zeros((len(arrays), max(1, lengths.max(initial=1)), len(self.model.features)), np.float32)
        for row, array in zip(batch, arrays, strict=True):
            row[: len(array)] = array
        return batch, lengths

    def _check_shape(self, stream: StreamId, shape: tuple[int, ...]) -> None:
        features = self.model.features
        if len(shape) != 2 or shape[1] != len(features):
            raise InputError(
                f"stream {stream!r}: steps of shape {shape}, expected (time, {len(features)}): {', '.join(features)}"
            )

    def _check_values(self, streams: Sequence[StreamId], batch: np.ndarray) -> None:
        """Look at the sum first, which is finite if every value is; padding is zero."""
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(batch.sum()):
                return
        is_infinite, is_missing = np.isinf(batch), np.isnan(batch)
        if is_infinite.any():
            stream = streams[int(is_infinite.any((1, 2)).argmax())]
            raise InputError(f"stream {stream!r}: an infinite value; a missing one is NaN")
        if self.model.refuses_missing and is_missing.any():
            row, _, feature = np.argwhere(is_missing)[0]
            name = self.model.features[feature]
            raise InputError(f"stream {streams[row]!r}: misses a value of {name!r}; the model refuses missing values")


def _as_float32(stream: StreamId, values: Any) -> Float32[np.ndarray, "..."]:
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
            return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError(f"stream {stream!r}: expected numbers of shape (time, feature)") from None
