"""A bare `dvc repro` that is killed at a random moment, and `make run` after it: the lock file is as if nothing had been."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from rnnflow.runtime.provenance import ROOT
from tests.faults.fuzz.trials import Tally
from tests.pipeline.conftest import Clone, small_project

NAME = "dvc repro, killed → make run"


def trials(folder: Path, number: int, seed: int) -> Tally:
    """Kill `number` runs, each in a fresh copy of a clone, and count those after which `make run` gave another lock."""
    folder.mkdir()
    origin = small_project(folder / "origin", ("gru",))
    start = time.monotonic()
    _started(origin).wait()
    seconds = time.monotonic() - start
    expected = origin.read("dvc.lock")
    fresh = origin.clone(folder / "fresh")
    tally = Tally(NAME)
    for index in range(number):
        clone = fresh.copy(folder / str(index))
        moment = random.Random(f"{seed} {index}").uniform(0, seconds)
        _kill_after(_started(clone), moment)
        ended = _make_run(clone)
        tally.tries += 1
        if ended.returncode or clone.read("dvc.lock") != expected:
            tally.losses.append(
                (index, f"after {moment:.1f} s: {(ended.stderr or 'another dvc.lock').splitlines()[-1]}")
            )
        shutil.rmtree(clone.folder)
    return tally


def _environment(clone: Clone) -> dict[str, str]:
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RNNFLOW_STATE": str(clone.folder / ".rnnflow"),
        "DVC_NO_ANALYTICS": "1",
    }


def _started(clone: Clone) -> "subprocess.Popen[bytes]":
    """A bare `dvc repro` in a process group of its own, as a shell starts it."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        ["dvc", "repro"], cwd=clone.folder, env=_environment(clone), stdout=quiet, stderr=quiet, process_group=0
    )


def _kill_after(repro: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Kill DVC and all below it at once, as a machine that is switched off does."""
    with suppress(subprocess.TimeoutExpired):
        repro.wait(seconds)
    processes = psutil.Process(repro.pid).children(recursive=True) if repro.poll() is None else []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    with suppress(ProcessLookupError):
        os.killpg(repro.pid, signal.SIGKILL)
    repro.wait()


def _make_run(clone: Clone) -> "subprocess.CompletedProcess[str]":
    """Run `make run` with the environment of these tests, which is not made again."""
    command = ["make", "--old-file=.venv/.installed", "run", f"BIN={Path(sys.executable).parent.relative_to(ROOT)}"]
    (clone.folder / ".venv").symlink_to(ROOT / ".venv")
    return subprocess.run(
        command, cwd=clone.folder, env=_environment(clone), capture_output=True, text=True, check=False
    )
