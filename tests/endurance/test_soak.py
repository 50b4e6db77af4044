"""Nights nobody watches, by the minute: a tick every 30 s while versions come and worker, flow and server die at random.

`SOAK_MINUTES` says how long each database is tried for, 60 by default; a few show the way it goes.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psutil
import pytest
from prefect.client.schemas.objects import FlowRun

from tests.endurance.test_schedule import due_runs, parents, schedule
from tests.flows.postgresql import PostgreSQL
from tests.flows.projects import Deployed, deploy, make_project
from tests.flows.servers import PrefectServer, Worker
from tests.flows.services import wait_until
from tests.flows.strikes import wait_for_no_processes

pytestmark = pytest.mark.endurance

MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
EVERY_SECONDS = 30
BETWEEN_SECONDS = (15.0, 45.0)
"""From one blow to the next."""
END_SECONDS = 600.0
"""For what is still to do when no more blows come; a run that died is found after 85 s and repeated after 60."""
GROWTH = 1.5
"""How much larger the disk's use may be at the end than in the middle, when old things are removed already."""
EXPLAINED = (
    "It was told to end (SIGTERM)",
    "No heartbeat for ",
    "Not running 300 s after a worker took it",
    "Flow run infrastructure exited with ",
    "Process exited with status code",
)
"""First lines of what crashed."""
COVERED = "began after this was due, and does the same"


@pytest.fixture(params=["sqlite", "postgresql"])
def deployed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployed]:
    """A project that keeps what is unused for a quarter of the soak, on a server with this database."""
    with ExitStack() as stack:
        database = stack.enter_context(PostgreSQL()).url if request.param == "postgresql" else None
        server = stack.enter_context(PrefectServer(tmp_path / "server", database))
        kept = dict.fromkeys(("keep_days.cache", "keep_days.resume", "keep_days.clones"), MINUTES / 4 / (24 * 60))
        yield deploy(
            make_project(tmp_path / "project", models=("rnn",), params={"train.epochs": 60}, settings=kept), server
        )


class Sample(NamedTuple):
    """What there is after so many seconds, in bytes."""

    seconds: float
    state: int
    """On the worker's disk."""
    server: int
    """On the server's disk: its log, its leases and, of SQLite, the database."""
    memory: int
    """Of the server, which has often started anew."""


class Blows:
    """What happens to a machine and a server of the night; each part that ends is started again, as systemd would."""

    def __init__(self, deployed: Deployed, worker: Worker, moments: random.Random) -> None:
        self.deployed = deployed
        self.worker = worker
        self.moments = moments
        self.dealt: Counter[str] = Counter()
        self.kinds: list[Callable[[], None]] = [
            self.push,
            self.kill_flow,
            self.kill_worker,
            self.stop_worker,
            self.kill_server,
        ]

    def deal(self) -> None:
        kind = self.moments.choice(self.kinds)
        kind()
        self.dealt[kind.__name__] += 1

    def revive(self) -> None:
        """Start what has ended by itself, as a worker does when a server in trouble has answered it with errors for long."""
        for service in (self.deployed.server, self.worker):
            if not service.process.is_running:
                service.start()
                self.dealt[f"{service} had ended"] += 1

    def push(self) -> None:
        self.deployed.project.push({"train.seed": self.moments.randrange(10**6)})

    def kill_flow(self) -> None:
        for process in self.worker.flow_run_processes():
            process.kill()

    def kill_worker(self) -> None:
        self.worker.kill()
        self.worker.start()

    def stop_worker(self) -> None:
        self.worker.stop(signal.SIGTERM)
        self.worker.start()

    def kill_server(self) -> None:
        self.deployed.server.kill()
        self.deployed.server.start()


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder that are there when it looks."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:
            continue
    return total


def test_a_soak_leaves_nothing_stuck_nothing_twice_and_nothing_unexplained(
    deployed: Deployed, tmp_path: Path, say: Callable[[str], None]
) -> None:
    samples: list[Sample] = []
    with Worker(deployed.server, "cpu-pool", tmp_path / "worker") as worker:
        blows = Blows(deployed, worker, random.Random(0))
        with schedule(deployed, EVERY_SECONDS) as deployment:
            began = time.monotonic()
            while (seconds := time.monotonic() - began) < 60 * MINUTES:
                time.sleep(blows.moments.uniform(*BETWEEN_SECONDS))
                blows.revive()
                blows.deal()
                memory = psutil.Process(deployed.server.process.pid).memory_info().rss
                samples.append(Sample(seconds, size(worker.state), size(deployed.server.folder), memory))
            last = deployed.project.push({"train.seed": 10**6})

            def is_published() -> bool:
                blows.revive()
                return last in parents(deployed)

            wait_until(is_published, "the last version's publication", END_SECONDS, worker.log)
        runs = wait_until(partial(_ended, deployed, deployment), "the end of the last run", END_SECONDS, worker.log)
        for run in runs:
            wait_for_no_processes(run.id, END_SECONDS)
        _tell(say, deployed, blows, runs, samples)
        published = parents(deployed)
        assert len(set(published)) == len(published), "a version was published twice"
        assert not [line for line in map(_unexplained, runs) if line]
        assert not _with_traceback(deployed, runs)
        assert not [*(worker.state / "runs").glob("*")]
        assert not deployed.project.branches("auto/").keys() - {"auto/main"}
    middle = [sample.state for sample in samples if 0.4 < sample.seconds / (60 * MINUTES) < 0.7]
    late = [sample.state for sample in samples if sample.seconds / (60 * MINUTES) > 0.7]
    assert max(late) <= GROWTH * max(middle), samples


def _ended(deployed: Deployed, deployment: UUID) -> list[FlowRun]:
    """Return the runs that were due if none of them is at work or waits, or nothing."""
    runs = due_runs(deployed, deployment)
    return runs if all(run.state and run.state.is_final() for run in runs) else []


def _unexplained(run: FlowRun) -> str:
    """Return a line about a run that has not succeeded and does not say why, or nothing."""
    assert run.state
    message = run.state.message or ""
    is_explained = (
        run.state.is_completed()
        or (run.state.is_crashed() and message.startswith(EXPLAINED))
        or (run.state.is_cancelled() and message.endswith(COVERED))
    )
    return "" if is_explained else f"{run.name}: {run.state}"


def _with_traceback(deployed: Deployed, runs: list[FlowRun]) -> dict[str, str]:
    found = {}
    for run in runs:
        text = "\n".join(deployed.log(run.id))
        if "Traceback" in text:
            found[run.name] = text[-2000:]
    return found


def _tell(
    say: Callable[[str], None],
    deployed: Deployed,
    blows: Blows,
    runs: list[FlowRun],
    samples: list[Sample],
) -> None:
    ended = Counter(run.state.name for run in runs if run.state)
    server_log = deployed.server.log.read_text(errors="replace")
    say(f"blows: {dict(blows.dealt)}; {len(runs)} ticks: {dict(ended)}; {len(parents(deployed))} versions published")
    locked, failed = server_log.count("(sqlite3.OperationalError) database is locked"), server_log.count("Traceback")
    say(f"server's log: {locked} times 'database is locked', {failed} tracebacks in all")
    for sample in samples[:: max(1, len(samples) // 8)]:
        say(
            f"after {sample.seconds:5.0f} s: {sample.state / 1e6:.2f} MB of state on the worker's disk, "
            f"{sample.server / 1e6:.2f} MB on the server's, {sample.memory / 1e6:.0f} MB of the server's memory"
        )
