"""A night that dies is repeated once by itself, and a worker that is stopped lets its run say so before it goes."""

import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import State

from flows.server import dead_run_automations
from tests.flows.projects import Deployed
from tests.flows.servers import PROJECT, Worker
from tests.flows.services import wait_until
from tests.flows.strikes import PATIENCE_SECONDS, Training, cancel, find_training, kill, wait_for_no_processes

REPEAT_SECONDS = 10
"""Between a death and the second try: the least that Prefect allows, to wait less than the project does."""
SAY_SECONDS = 30.0
"""In which a run says that it ends, on a machine that is busy with other tests; silence alone would take 85 s."""
TRAIN_ONLY: dict[str, Any] = {"stages": ["train"], "update": False, "pull": False, "push": False, "publish": None}


@pytest.fixture(scope="module")
def deployed(deploy_project: Callable[..., Deployed]) -> Iterator[Deployed]:
    """A project whose crashed runs are repeated soon."""
    deployed = deploy_project(models=["rnn"], params={"train.epochs": 150})
    (own,) = [
        automation for automation in dead_run_automations.automations(PROJECT, 300) if "once more" in automation.name
    ]
    trigger = own.trigger.model_copy(update={"within": timedelta(seconds=REPEAT_SECONDS)})
    with deployed.server.client() as client:
        (found,) = client.read_automations_by_name(own.name)
        client.update_automation(found.id, own.model_copy(update={"trigger": trigger}))
        yield deployed
        client.update_automation(found.id, own)


@pytest.fixture
def worker(deployed: Deployed, tmp_path: Path) -> Iterator[Worker]:
    with Worker(deployed.server, "cpu-pool", tmp_path / "worker") as running:
        yield running


def number_of_tries(deployed: Deployed, run: UUID) -> int:
    with deployed.server.client() as client:
        return client.read_flow_run(run).run_count


@pytest.mark.slow
def test_a_run_whose_worker_is_stopped_says_so_and_goes_on_where_it_was_when_there_is_a_worker_again(
    deployed: Deployed, worker: Worker
) -> None:
    training = Training(worker.state)
    run = deployed.start(**TRAIN_ONLY, overrides={"train.epochs": 500})
    training.wait_for(100, deployed, run)
    worker.process.send(signal.SIGTERM)
    crashed = deployed.server.wait_for_run(run, State.is_crashed, "its own word", SAY_SECONDS, worker.log)
    assert crashed.state
    assert crashed.state.message == "It was told to end (SIGTERM): its worker or its machine is being stopped."
    wait_for_no_processes(run, SAY_SECONDS)
    wait_until(lambda: not worker.process.is_running, "the end of the worker", SAY_SECONDS, worker.log)
    assert "Traceback" not in worker.process.output
    assert not [*(worker.state / "runs").glob("*")]
    worker.start()
    deployed.server.wait_for_run(run, State.is_running, "its second try", PATIENCE_SECONDS, worker.log)
    training.wait_for(1, deployed, run)
    ended = deployed.server.wait_for_end(run, PATIENCE_SECONDS, worker.log)
    assert ended.state
    assert ended.state.is_completed(), ended.state.message
    assert ended.run_count == 2


@pytest.mark.endurance
def test_a_crashed_run_is_repeated_once(deployed: Deployed, worker: Worker) -> None:
    run = deployed.start(**TRAIN_ONLY, overrides={"train.epochs": 100_000, "train.seed": 1})
    kill(run, "flow")
    deployed.server.wait_for_run(run, State.is_crashed, "its discovery", SAY_SECONDS, worker.log)
    find_training(run, worker.log)
    assert number_of_tries(deployed, run) == 2
    kill(run, "flow")
    deployed.server.wait_for_run(run, State.is_crashed, "its discovery", SAY_SECONDS, worker.log)
    later = deployed.start(**TRAIN_ONLY, overrides={"train.epochs": 100_000, "train.seed": 2})
    find_training(later, worker.log)  # no shorter wait would show that nobody repeats the other one
    with deployed.server.client() as client:
        state = client.read_flow_run(run).state
    assert state
    assert state.is_crashed()
    assert number_of_tries(deployed, run) == 2
    wait_for_no_processes(run, SAY_SECONDS)
    cancel(deployed, later)
    wait_for_no_processes(later, SAY_SECONDS)
