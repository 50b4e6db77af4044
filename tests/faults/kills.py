"""A bare `dvc repro` that is killed, and `make run` after it: the lock file is as if nothing had been."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

from tests.faults.clones import QUIET, Struck, environment, kill_all, make_run
from tests.faults.file_events import writes
from tests.faults.fuzz.trials import Tally
from tests.flows.servers import PrefectServer
from tests.pipeline.conftest import Clone

ANY_MOMENT = "dvc repro, killed at any moment → make run"
IN_A_WRITE = "dvc repro, killed in a write of dvc.lock → make run"
FRESH = 20
"""Of so many clones two have an empty cache, and compute each stage, which takes a minute."""


def trials(folder: Path, number: int, seed: int, jobs: int) -> Iterator[Tally]:
    """Kill `number` runs, each in a fresh clone, and count those after which `make run` gave another lock.

    Every other one is struck at any moment, the others at a write of `dvc.lock`, which random moments seldom hit.
    """
    folder.mkdir()
    struck = Struck(folder, _started)
    with PrefectServer(folder / "server") as server, ThreadPoolExecutor(jobs) as pool:
        its = {"PREFECT_API_URL": server.api_url, "PREFECT_HOME": str(folder / "home")}
        yield from pool.map(lambda index: _trial(struck, seed, index, its), range(number))


def _trial(struck: Struck, seed: int, index: int, server: dict[str, str]) -> Tally:
    """Kill one run and make it good."""
    undisturbed = struck.fresh if index % FRESH < 2 else struck.cached
    clone, rng = struck.copy(undisturbed, str(index)), random.Random(f"{seed} {index}")
    run = _started(clone)
    if index % 2:
        strike = rng.randint(1, undisturbed.num_writes)
        how = f"at write {strike} of dvc.lock"
        for _ in islice(writes(clone.folder, "dvc.lock", run), strike):
            pass
    else:
        moment = rng.uniform(0, undisturbed.seconds)
        how = f"after {moment:.1f} s"
        with suppress(subprocess.TimeoutExpired):
            run.wait(moment)
    kill_all(run)
    ended = subprocess.run(
        make_run(), cwd=clone.folder, env=environment(clone, server), capture_output=True, text=True, check=False
    )
    what = struck.loss(clone, ended)
    shutil.rmtree(clone.folder)
    target = IN_A_WRITE if index % 2 else ANY_MOMENT
    return Tally(target, 1, losses=[(index, f"{how}: {what}")] if what else [])


def _started(clone: Clone) -> "subprocess.Popen[bytes]":
    """A bare `dvc repro` in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        ["dvc", "repro"], cwd=clone.folder, env=environment(clone), stdout=QUIET, stderr=QUIET, process_group=0
    )
