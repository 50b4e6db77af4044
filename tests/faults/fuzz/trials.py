"""Damaged inputs in processes of their own, which have a limit of time and of memory; what is lost is said and kept."""

import json
import mmap
import os
import random
import re
import resource
import signal
import struct
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rnnflow.runtime.errors import EXIT_STATUS, REJECTS_STATUS, InputError
from tests.faults.fuzz.mutations import damaged

SECONDS = 20.0
PEAK_BYTES = 1536 * 2**20
ADDRESS_BYTES = 6 * 2**30
BATCH = 500
REGRESSIONS = Path(__file__).parent / "regressions"
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Target:
    """A reader, and how its inputs are drawn."""

    name: str
    draw: Callable[[random.Random], bytes]
    read: Callable[[Path], object]
    """Gets a file; only an `InputError` may end it."""
    file: str
    """Its name, whose ending may decide how it is read."""
    share: float = 1.0
    """Of the tries; a slow one gets fewer."""


def bytes_target(name: str, seeds: Sequence[bytes], read: Callable[[Path], object], file: str = "") -> Target:
    return Target(name, lambda rng: damaged(rng.choice(seeds), seeds, rng), read, file or name)


@dataclass
class Tally:
    """How often a reader was tried, and what came of it."""

    target: str
    tries: int = 0
    refused: int = 0
    losses: list[tuple[int, str]] = field(default_factory=list)
    """Number of the input, and what happened: the kind and the last line of a traceback."""

    def add(self, other: "Tally") -> None:
        """Take in what another share of the same trials came to."""
        self.tries += other.tries
        self.refused += other.refused
        self.losses += other.losses


def drawn(target: Target, seed: int, index: int) -> bytes:
    """Return an input by its number."""
    return target.draw(random.Random(f"{target.name} {seed} {index}"))


def kept(target: Target) -> Path:
    """Return the folder of the inputs that a reader once failed at."""
    return REGRESSIONS / re.sub(r"[^\w.]+", "-", target.name)


def trial(target: Target, seed: int, number: int, folder: Path) -> Tally:
    """Read `number` damaged inputs."""
    tally, index = Tally(target.name), 0
    while index < number:
        part, index = _batch(target, seed, index, min(number, index + BATCH), folder)
        tally.add(part)
    return tally


def outcome(target: Target, content: bytes, folder: Path) -> str | None:
    """Return nothing if a reader took or refused `content` as it should, else what happened; raises what it refuses with."""
    path = folder / target.file
    path.write_bytes(content)
    try:
        target.read(path)
    except InputError:
        raise
    except SystemExit as end:
        if end.code in (EXIT_STATUS, REJECTS_STATUS):
            raise InputError from None
        return f"exit status {end.code}"
    except BaseException as error:  # a traceback, an exit without a word
        frames = traceback.extract_tb(error.__traceback__)
        own = next((frame for frame in reversed(frames) if "/rnnflow/" in frame.filename), frames[-1])
        return f"{type(error).__name__}: {str(error)[:150]!r} at {Path(own.filename).name}:{own.lineno}"
    return None


def _batch(target: Target, seed: int, first: int, last: int, folder: Path) -> tuple[Tally, int]:
    """Read some inputs in a child; return what came of them and where to go on."""
    shared = mmap.mmap(-1, 16)  # number and start of the input at work
    shared[:] = struct.pack("qd", first, time.monotonic())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(target, seed, range(first, last), folder, shared, writing)
    os.close(writing)
    status = _wait(child, shared)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    index = struct.unpack("qd", shared[:])[0]
    lines = [json.loads(line) for line in said.splitlines()]
    tally = Tally(target.name, len(lines), sum(line == "refused" for _, line in lines))
    tally.losses = [(number, line) for number, line in lines if line not in ("refused", "read")]
    if status is None or status != 0:
        tally.tries += 1
        how = f"no end after {SECONDS:.0f} s" if status is None else f"the process ended with {status}"
        tally.losses.append((index, how))
        return tally, index + 1
    return tally, last


def _wait(child: int, shared: mmap.mmap) -> int | None:
    """Return the child's status; none if it was killed because an input took too long."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - struct.unpack("qd", shared[:])[1] > SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(POLL_SECONDS)


def _in_child(target: Target, seed: int, numbers: range, folder: Path, shared: mmap.mmap, writing: int) -> None:
    status = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        limit = address_bytes() + ADDRESS_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        begin = _peak_bytes()
        with os.fdopen(writing, "w", buffering=1) as pipe:
            for number in numbers:
                content = drawn(target, seed, number)
                shared[:] = struct.pack("qd", number, time.monotonic())
                try:
                    line = outcome(target, content, folder) or "read"
                except InputError:
                    line = "refused"
                if _peak_bytes() - begin > PEAK_BYTES:
                    line = f"{(_peak_bytes() - begin) / 2**20:,.0f} MiB of memory"
                    begin = _peak_bytes()
                pipe.write(json.dumps([number, line]) + "\n")
        status = 0
    finally:
        os._exit(status)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def address_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
