"""The states of streams that are open, a row of one array for each, and which streams have ended."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnflow.params.section import checked
from rnnflow.runtime import npz_files
from rnnflow.runtime.array_types import Float32, Float64, Int64
from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import InputError, library

StreamId = str | int
NUM_REMEMBERED = 10
"""Names of closed streams, so many times the capacity: the latest ones."""
SCANS = 10
"""How often idle streams are looked for within `idle_seconds`."""
FORMAT = 2
_ARRAYS = ("states", "num_steps", "decided_at", "decisions", "last_times", "names")


@dataclass(frozen=True)
class _Names:
    """Of the streams in a file."""

    streams: list[StreamId]
    closed: list[tuple[StreamId, str]]
    """With what became of each."""


class OpenStreams:
    """Rows for streams.

    Args:
        state_size: numbers of a state.
        capacity: most streams at once.
        idle_seconds: after so long without steps a stream is closed; none: never.
        clock: gives seconds.
    """

    def __init__(
        self,
        state_size: int,
        capacity: int,
        idle_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, number in (("capacity", capacity), ("idle_seconds", idle_seconds)):
            if number is not None and not number > 0:
                raise InputError(f"{name}: expected a number above zero, got {number:g}")
        self._capacity, self._idle_seconds, self._clock = capacity, idle_seconds, clock
        self._rows: dict[StreamId, int] = {}
        self._closed: dict[StreamId, str] = {}
        self._free: list[int] = []
        self._next_scan = -np.inf
        self._allocate(state_size, 0)

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, stream: StreamId) -> int | None:
        """Return the row of a stream that is open."""
        self._close_idle()
        return self._rows.get(stream)

    def rows(
        self, streams: Sequence[StreamId], lengths: Int64[np.ndarray, " stream"], at: Sequence[float] | None
    ) -> Int64[np.ndarray, " stream"]:
        """Return the row of each stream, new ones where they begin.

        Raises:
            InputError: a stream is named twice, has ended, begins without a step or with what is no name, goes back in time, or
                there is no room.
        """
        self._close_idle()
        found = [self._rows.get(stream, -1) for stream in streams]
        new = [stream for stream, row in zip(streams, found, strict=True) if row < 0]
        if len({*streams}) < len(streams):
            twice = next(stream for index, stream in enumerate(streams) if stream in streams[:index])
            raise InputError(f"stream {twice!r}: twice among those pushed together; push its steps one after another")
        for stream in new:
            _check_name(stream)
            self._refuse_closed(stream)
        rows = np.array(found, np.int64)
        if at is not None:
            self._refuse_backwards(streams, rows, _times(streams, at))
        if new:
            begins = rows < 0
            if not lengths[begins].all():
                raise InputError(f"stream {new[int((lengths[begins] == 0).argmax())]!r}: begins without a step")
            rows[begins] = self._open(new)
        return rows

    def add(self, rows: Any, lengths: Any, at: Sequence[float] | None) -> Any:
        """Note that steps were read in one row or several, and return how many there are by now."""
        self.num_steps[rows] += lengths
        self._last_seen[rows] = self._clock()
        if at is not None:
            self._last_times[rows] = at
        return self.num_steps[rows]

    def close(self, stream: StreamId) -> None:
        """Forget a stream, and remember that it has ended."""
        if stream not in self._rows:
            self._refuse_closed(stream)
            raise InputError(f"stream {stream!r}: is not open")
        self._close(stream, "has ended")

    def save(self, path: Path, identity: str) -> None:
        """Write the streams, with a checksum and what model they are of."""
        rows = np.fromiter(self._rows.values(), np.int64, len(self._rows))
        names = np.frombuffer(
            json.dumps([list(self._rows), list(self._closed.items())], default=int).encode(), np.uint8
        )
        arrays: dict[str, Any] = {
            "states": self.states[rows],
            "num_steps": self.num_steps[rows],
            "decided_at": self.decided_at[rows],
            "decisions": self.decisions[rows],
            "last_times": self._last_times[rows],
            "names": names,
        }
        about = json.dumps({"format": FORMAT, "model": identity, "sha256": _digest(arrays)})
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, about=np.frombuffer(about.encode(), np.uint8), **arrays)

    def restore(self, path: Path, identity: str) -> None:
        """Take over the streams that were written.

        Raises:
            InputError: the file is missing, damaged, of another model or version, has states of another size, or a state that
                is not of finite numbers.
        """
        arrays = _read(path, identity)
        states, size = arrays["states"], self.states.shape[1]
        with library(f"{path}: not the names of streams"):
            streams, ended = json.loads(arrays["names"].tobytes())
        kept_names = checked(_Names, {"streams": streams, "closed": ended}, str(path))
        names, closed = kept_names.streams, kept_names.closed
        if states.shape != (len(names), size) or states.dtype != np.float32:
            raise InputError(f"{path}: states of shape {states.shape}, expected ({len(names)}, {size}) of float32")
        if not np.isfinite(states).all():
            stream = names[int((~np.isfinite(states)).any(1).argmax())]
            raise InputError(
                f"{path}: the state of stream {stream!r} holds NaN or an infinite number, which no state does"
            )
        for name, kept in zip(_ARRAYS[1:-1], self._by_row[1:4] + self._by_row[5:], strict=True):
            if arrays[name].shape != (len(names),) or arrays[name].dtype != kept.dtype:
                raise InputError(f"{path}: {name!r}: expected {len(names)} numbers of {kept.dtype}")
        if len(names) > self._capacity:
            raise InputError(f"{path}: {len(names):,} streams, more than the capacity of {self._capacity:,}")
        self._allocate(size, len(names))
        self.states[:], self.num_steps[:] = states, arrays["num_steps"]
        self.decided_at[:], self.decisions[:] = arrays["decided_at"], arrays["decisions"]
        self._last_times[:], self._last_seen[:] = arrays["last_times"], self._clock()
        self._rows, self._closed, self._free = {name: row for row, name in enumerate(names)}, dict(closed), []

    def _allocate(self, state_size: int, num_rows: int) -> None:
        self.states: Float32[np.ndarray, "row state"] = np.zeros((num_rows, state_size), np.float32)
        self.num_steps = np.zeros(num_rows, np.int64)
        self.decided_at, self.decisions = np.zeros(num_rows, np.int64), np.zeros(num_rows, np.int64)
        """The number of steps after which a stream was decided, zero before, and the class."""
        self._last_seen = np.zeros(num_rows)
        self._last_times = np.full(num_rows, -np.inf)

    def _open(self, streams: Sequence[StreamId]) -> list[int]:
        if len(self._rows) + len(streams) > self._capacity:
            raise InputError(
                f"stream {streams[-1]!r}: {len(self._rows):,} streams are open, and the capacity is {self._capacity:,}; end "
                "some, set idle_seconds, or raise the capacity"
            )
        if len(streams) > len(self._free):
            self._grow(len(streams) - len(self._free))
        rows = [self._free.pop() for _ in streams]
        self._rows.update(zip(streams, rows, strict=True))
        self.states[rows], self.num_steps[rows], self.decided_at[rows], self._last_times[rows] = 0, 0, 0, -np.inf
        return rows

    def _grow(self, num_rows: int) -> None:
        """By as many again, so that a row is moved once on average."""
        before, old = len(self.states), self._by_row
        self._allocate(self.states.shape[1], min(self._capacity, max(2 * before, before + num_rows, 64)))
        for new, values in zip(self._by_row, old, strict=True):
            new[:before] = values
        self._free += range(len(self.states) - 1, before - 1, -1)

    @property
    def _by_row(self) -> tuple[np.ndarray, ...]:
        return self.states, self.num_steps, self.decided_at, self.decisions, self._last_seen, self._last_times

    def _close(self, stream: StreamId, why: str) -> None:
        self._free.append(self._rows.pop(stream))
        self._closed[stream] = why
        if len(self._closed) > NUM_REMEMBERED * self._capacity:
            del self._closed[next(iter(self._closed))]  # the one that was closed first

    def _close_idle(self) -> None:
        if self._idle_seconds is None or (now := self._clock()) < self._next_scan:
            return
        self._next_scan = now + self._idle_seconds / SCANS
        idle = self._last_seen < now - self._idle_seconds
        if idle.any():
            for stream in [stream for stream, row in self._rows.items() if idle[row]]:
                self._close(stream, f"was closed after {self._idle_seconds:g} s without steps")

    def _refuse_closed(self, stream: StreamId) -> None:
        if stream in self._closed:
            raise InputError(f"stream {stream!r}: {self._closed[stream]}; steps that follow need another name")

    def _refuse_backwards(
        self, streams: Sequence[StreamId], rows: Int64[np.ndarray, " stream"], at: np.ndarray
    ) -> None:
        before = np.where(rows < 0, -np.inf, self._last_times[rows] if len(self.states) else -np.inf)
        if (at < before).any():
            index = int((at < before).argmax())
            raise InputError(
                f"stream {streams[index]!r}: time {at[index]:g} comes after {before[index]:g}, and goes backwards"
            )


def _check_name(stream: object) -> None:
    """Refuse what a file of streams could not give back."""
    is_text = isinstance(stream, str) and stream == stream.encode(errors="replace").decode()  # no half of a pair
    is_number = isinstance(stream, int | np.integer) and not isinstance(stream, bool)
    if not is_text and not is_number:
        raise InputError(f"stream {stream!r}: expected a text or a whole number as its name")


def _times(streams: Sequence[StreamId], at: Sequence[float]) -> Float64[np.ndarray, " stream"]:
    try:
        times = np.asarray(at, np.float64)
    except (TypeError, ValueError):
        raise InputError("times: expected a number for each stream") from None
    if times.shape != (len(streams),):
        raise InputError(f"{len(streams)} streams, but times of shape {times.shape}; expected one for each")
    if not (is_finite := np.isfinite(times)).all():
        index = int(is_finite.argmin())
        raise InputError(f"stream {streams[index]!r}: time {times[index]:g}, expected a finite number")
    return times


def _read(path: Path, identity: str) -> dict[str, np.ndarray]:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    found = npz_files.read(path)
    with library(f"{path}: not a file of streams that rnnflow wrote, or damaged"):
        arrays = {name: found[name] for name in _ARRAYS}
        about = json.loads(found["about"].tobytes())
        is_of_this_model = about["format"] == FORMAT and about["model"] == identity
        checksum = about["sha256"]
    if not is_of_this_model:
        raise InputError(f"{path}: streams of another model or version; they go on with the file that they began with")
    if checksum != _digest(arrays):
        raise InputError(f"{path}: damaged, its content does not match the checksum that it carries")
    return arrays


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in _ARRAYS:
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype};".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
