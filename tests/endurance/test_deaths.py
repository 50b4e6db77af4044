"""What the settings that the project ships make of every death: who is noticed, how soon, and what goes on."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State

from tests.flows.projects import Deployed, processes
from tests.flows.servers import Worker
from tests.flows.strikes import PATIENCE_SECONDS, Training, kill, wait_for_no_processes

pytestmark = pytest.mark.endurance

END_SECONDS = 10.0
DETECTION_SECONDS = 90.0
AWAY_SECONDS = 60.0
NUM_STRIKES = 3
LONG = 1500
"""Epochs of a training that lasts longer than a server is away."""
MOMENTS = random.Random(0)

Say = Callable[[str], None]


def ended_well(deployed: Deployed, run: UUID, seconds: float = PATIENCE_SECONDS) -> FlowRun:
    flow_run = deployed.server.wait_for_end(run, seconds)
    assert flow_run.state
    assert flow_run.state.is_completed(), f"{flow_run.state}\n" + "\n".join(deployed.log(run))
    return flow_run


def at_work(deployed: Deployed, worker: Worker, **parameters: Any) -> tuple[Training, UUID]:
    """Start a run and return it when its training has done a hundred epochs."""
    training = Training(worker.state)
    run = deployed.start(**parameters)
    training.wait_for(100, deployed, run)
    return training, run


@contextmanager
def new_version(deployed: Deployed, seed: int) -> Iterator[Callable[[UUID], None]]:
    """Push another seed, and give a check that a run's published results are those of an undisturbed `dvc repro`."""
    with deployed.project.changed(params={"train.seed": seed}) as commit:

        def check(run: UUID) -> None:
            assert deployed.project.published(run) == deployed.project.reproduced(commit)

        yield check


@pytest.mark.parametrize("role", ["stage", "dvc", "supervisor"])
def test_a_run_goes_on_where_it_was_when_a_process_below_it_is_killed(
    deployed: Deployed, worker: Worker, say: Say, role: str
) -> None:
    with new_version(deployed, len(role)) as check_published:
        training = Training(worker.state)
        run = deployed.start()
        struck = []
        for _ in range(NUM_STRIKES):
            training.wait_for(MOMENTS.randint(5, 90), deployed, run)
            kill(run, role)
            struck.append(training.num_epochs)
        ended_well(deployed, run)
        say(f"{role} killed after epochs {struck}: completed in {deployed.task_runs(run)['train@rnn'].run_count} tries")
        assert deployed.task_runs(run)["train@rnn"].run_count == 1 + NUM_STRIKES
        check_published(run)


def test_a_run_whose_own_process_is_killed_leaves_nothing_and_the_next_one_goes_on(
    deployed: Deployed, worker: Worker, say: Say
) -> None:
    with new_version(deployed, 101) as check_published:
        training, run = at_work(deployed, worker)
        kill(run, "flow")
        struck = training.num_epochs
        gone, found = seconds_until_over(deployed, run)
        say(f"flow killed after epoch {struck}: processes gone after {gone:.1f} s, found after {found:.1f} s")
        goes_on(deployed, training, check_published)


def seconds_until_over(deployed: Deployed, run: UUID) -> tuple[float, float]:
    """Return after how long no process of a run is left, and after how long the server says that it crashed."""
    began = time.monotonic()
    wait_for_no_processes(run, END_SECONDS)
    gone = time.monotonic() - began
    deployed.server.wait_for_run(run, State.is_crashed, "its discovery", DETECTION_SECONDS - gone)
    return gone, time.monotonic() - began


def goes_on(deployed: Deployed, training: Training, check_published: Callable[[UUID], None]) -> None:
    """Start the next run and see it train on from where the one before was, and publish."""
    run = deployed.start()
    training.wait_for(1, deployed, run)
    ended_well(deployed, run)
    check_published(run)


def test_a_run_survives_the_kill_of_its_worker(deployed: Deployed, worker: Worker, say: Say) -> None:
    with new_version(deployed, 102) as check_published:
        _, run = at_work(deployed, worker)
        worker.kill()
        ended_well(deployed, run)
        say("worker killed: the run completed")
        assert deployed.task_runs(run)["train@rnn"].run_count == 1
        wait_for_no_processes(run, END_SECONDS)
        check_published(run)


def test_a_run_whose_worker_is_stopped_ends_is_found_and_the_next_one_goes_on(
    deployed: Deployed, worker: Worker, say: Say
) -> None:
    with new_version(deployed, 103) as check_published:
        training, run = at_work(deployed, worker)
        worker.process.send(signal.SIGTERM)
        gone, found = seconds_until_over(deployed, run)
        say(f"worker stopped: processes gone after {gone:.1f} s, found after {found:.1f} s")
        worker.stop()
        worker.start()
        goes_on(deployed, training, check_published)


def test_a_run_whose_machine_dies_is_found_and_the_next_one_goes_on(
    deployed: Deployed, worker: Worker, say: Say
) -> None:
    with new_version(deployed, 104) as check_published:
        training, run = at_work(deployed, worker)
        worker.kill()
        for process in processes(run):
            process.kill()
        _, found = seconds_until_over(deployed, run)
        say(f"machine died: found after {found:.1f} s")
        worker.start()
        goes_on(deployed, training, check_published)


@pytest.mark.usefixtures("worker")
def test_a_run_survives_a_server_that_is_away_for_a_minute(deployed: Deployed, worker: Worker, say: Say) -> None:
    deployed.server.stop()
    began = time.monotonic()
    deployed.server.start()
    start_seconds = time.monotonic() - began
    overrides: dict[str, Any] = {"train.epochs": LONG, "train.seed": 105}
    training, run = at_work(deployed, worker, overrides=overrides)
    before = training.num_epochs
    began = time.monotonic()
    deployed.server.kill()
    time.sleep(max(0.0, AWAY_SECONDS - start_seconds))
    deployed.server.start()
    away = time.monotonic() - began
    during = training.epochs()
    ended_well(deployed, run, 2 * PATIENCE_SECONDS)
    say(f"server away for {away:.0f} s at epochs {before} to {during} of {LONG}: the run completed")
    assert deployed.task_runs(run)["train@rnn"].run_count == 1
    with deployed.server.client() as client:
        names = [state.name for state in client.read_flow_run_states(run)]
    assert "Crashed" not in names
