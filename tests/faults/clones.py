"""Small copies of the project that are struck, and the command that makes them good."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from rnnflow.runtime.provenance import ROOT
from tests.faults.file_events import writes
from tests.pipeline.conftest import Clone, small_project

QUIET = subprocess.DEVNULL


@dataclass(frozen=True)
class Undisturbed:
    """What a run came to that nobody struck, and the clone that it began in."""

    begin: Clone
    seconds: float
    num_writes: int
    """Of `dvc.lock`."""


class Struck:
    """A project whose clones are struck while they work.

    Args:
        folder: for the clones, each in a folder of its own.
        started: starts the run that is struck later, here in peace.
    """

    def __init__(self, folder: Path, started: Callable[[Clone], "subprocess.Popen[bytes]"]) -> None:
        self.folder = folder
        origin = small_project(folder / "origin", ("gru",))
        (origin.folder / ".venv").symlink_to(ROOT / ".venv")
        fresh = origin.copy(folder / "fresh")
        self.fresh = _watched(fresh, origin, started)
        """Where every stage has to run."""
        self.lock = origin.read("dvc.lock")
        cached = origin.copy(folder / "cached")
        cached.run("git", "clean", "-xdfq", "dvc.lock", "data/sequences", "models", "reports")
        self.cached = _watched(cached, cached.copy(folder / "again"), started)
        """Where DVC restores from its run cache what a stage would give: much faster, and DVC is all there is to strike."""

    def copy(self, undisturbed: Undisturbed, name: str) -> Clone:
        return undisturbed.begin.copy(self.folder / name)

    def loss(self, clone: Clone, ended: "subprocess.CompletedProcess[str]") -> str | None:
        """Return what is wrong after `make run`, if anything is."""
        if ended.returncode:
            return (ended.stderr or ended.stdout).splitlines()[-1]
        return None if clone.read("dvc.lock") == self.lock else "another dvc.lock"


def _watched(begin: Clone, clone: Clone, started: Callable[[Clone], "subprocess.Popen[bytes]"]) -> Undisturbed:
    start = time.monotonic()
    run = started(clone)
    num_writes = sum(1 for _ in writes(clone.folder, "dvc.lock", run))
    assert run.wait() == 0
    return Undisturbed(begin, time.monotonic() - start, num_writes)


def environment(clone: Clone, also: Mapping[str, str] | None = None) -> dict[str, str]:
    return (
        os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RNNFLOW_STATE": str(clone.folder / ".rnnflow"),
            "DVC_NO_ANALYTICS": "1",
        }
        | dict(also or {})
    )


def make_run() -> list[str]:
    """`make run` with the environment of these tests, which is not made again."""
    return ["make", "--old-file=.venv/.installed", "run", f"BIN={Path(sys.executable).parent.relative_to(ROOT)}"]


def kill_all(repro: "subprocess.Popen[bytes]") -> None:
    """Kill a process group and all that descends from its leader, as a machine that is switched off does."""
    processes = psutil.Process(repro.pid).children(recursive=True) if repro.poll() is None else []
    with suppress(ProcessLookupError):
        os.killpg(repro.pid, signal.SIGKILL)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    repro.wait()
