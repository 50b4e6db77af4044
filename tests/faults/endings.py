"""`make run` that is ended at any moment, by each signal that ends one: no process of it is left, and the next goes on."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults.clones import QUIET, Struck, environment, make_run
from tests.faults.fuzz.trials import Tally
from tests.pipeline.conftest import Clone

GONE_SECONDS = 40.0
"""DVC that is committing is given twenty; see flows/supervision/supervisor.py."""
POLL_SECONDS = 0.2
KINDS: Sequence[tuple[str, signal.Signals, bool]] = (
    ("kill -9 of the flow", signal.SIGKILL, False),
    ("SIGTERM to the flow", signal.SIGTERM, False),
    ("Ctrl-C", signal.SIGINT, True),
    ("the terminal is closed", signal.SIGHUP, True),
)
"""Name, signal, and whether the whole process group of the shell gets it."""


def trials(folder: Path, number: int, seed: int, jobs: int) -> Iterator[Tally]:
    """End `number` runs and count those of which a process was left; a clone is struck until a run of it gets through."""
    folder.mkdir()
    # Who is started with `&` by a script ignores Ctrl-C, and so do all below it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    struck = Struck(folder, _started)
    with ThreadPoolExecutor(jobs) as pool:
        for tallies in pool.map(lambda kind: list(_of_kind(struck, seed, kind, number)), range(len(KINDS))):
            yield from tallies


def _of_kind(struck: Struck, seed: int, kind: int, number: int) -> Iterator[Tally]:
    name, sent, is_to_group = KINDS[kind]
    target, rng = f"make run: {name}", random.Random(f"{seed} {name}")
    clone, index = struck.copy(struck.fresh, f"{kind}-0"), kind
    while index < number:
        run = _started(clone)
        moment = rng.uniform(0, (struck.fresh if index == kind else struck.cached).seconds)
        with suppress(subprocess.TimeoutExpired):
            run.wait(moment)
        if run.poll() is None:
            _strike(run, sent, is_to_group)
            left = _left(clone)
            yield Tally(target, 1, losses=[(index, f"after {moment:.1f} s: {left}")] if left else [])
            index += len(KINDS)
            continue
        done = subprocess.CompletedProcess(make_run(), run.returncode, "", "make run failed after it was ended")
        if what := struck.loss(clone, done):
            yield Tally(target, losses=[(index, what)])
        shutil.rmtree(clone.folder)
        clone = struck.copy(struck.cached, f"{kind}-{index}")


def _started(clone: Clone) -> "subprocess.Popen[bytes]":
    """`make run` in a process group of its own, as a shell starts it, and with a server of its own."""
    its = environment(clone, {"PREFECT_HOME": str(clone.folder / ".prefect")})
    its.pop("PREFECT_API_URL", None)
    return subprocess.Popen(make_run(), cwd=clone.folder, env=its, stdout=QUIET, stderr=QUIET, process_group=0)


def _strike(run: "subprocess.Popen[bytes]", sent: signal.Signals, is_to_group: bool) -> None:
    with suppress(psutil.Error, ProcessLookupError):  # it has ended meanwhile
        below = psutil.Process(run.pid).children(recursive=True)
        flow = [process for process in below if "flows" in process.cmdline()]
        if is_to_group or not flow:
            os.killpg(run.pid, sent)
        else:
            flow[0].send_signal(sent)


def _left(clone: Clone) -> str:
    """Return the processes that are still there when they should have ended, and end them."""
    deadline = time.monotonic() + GONE_SECONDS
    while (found := _processes(clone)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    said = "; ".join(" ".join(process.cmdline())[:100] for process in found if process.is_running())
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return said


def _processes(clone: Clone) -> list[psutil.Process]:
    """Return what descends from a run, found by the variable that all of them inherit."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_its = process.environ().get("RNNFLOW_STATE") == str(clone.folder / ".rnnflow")
            if is_its and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
