"""What becomes of runs that are cancelled, run out of time, lose a process or are given bad params.

The slow part, which waits for the server to notice a death, is in tests/endurance.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from flows.server import dead_run_automations
from tests.flows.projects import Deployed
from tests.flows.servers import PROJECT, Worker
from tests.flows.services import wait_for_deaths
from tests.flows.strikes import (
    PATIENCE_SECONDS,
    Training,
    cancel,
    find_training,
    kill,
    seconds_until_gone,
    wait_for_no_processes,
)

END_SECONDS = 60.0
"""Of a machine that is busy with other tests; `make endurance` holds the limit of 10 s."""
DETECTION_SECONDS = 120.0
SILENCE_SECONDS = 45
"""After which the server calls a run dead here, to wait less; `make endurance` waits as long as the project does."""
TIMEOUT_SECONDS = 8
SLACK_SECONDS = 30
"""On a machine that is busy with other tests; `make endurance` allows 1 s."""
TRAIN_ONLY: dict[str, Any] = {"stages": ["train"], "update": False, "pull": False, "push": False, "publish": None}
ENDLESS = {"train.epochs": 100_000}


@pytest.fixture(scope="module")
def deployed(deploy_project: Callable[..., Deployed]) -> Deployed:
    return deploy_project(
        models=["rnn"],
        params={"train.epochs": 150},
        settings={"retries.delay_seconds": 0.5},
    )


@pytest.fixture
def short_silence(deployed: Deployed) -> Iterator[None]:
    """Lets the server wait less for a sign of life."""
    (own,) = [
        automation for automation in dead_run_automations.automations(PROJECT, 300) if "silent" in automation.name
    ]
    short = own.model_copy(
        update={"trigger": own.trigger.model_copy(update={"within": timedelta(seconds=SILENCE_SECONDS)})}
    )
    with deployed.server.client() as client:
        (found,) = client.read_automations_by_name(own.name)
        client.update_automation(found.id, short)
        yield
        client.update_automation(found.id, own)


@pytest.fixture(scope="module")
def worker(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(deployed.server, "cpu-pool", tmp_path_factory.mktemp("worker")) as running:
        yield running


def clones(worker: Worker) -> list[Path]:
    return list((worker.state / "runs").glob("*"))


@pytest.mark.slow
def test_a_cancelled_run_is_cancelled_and_gone(deployed: Deployed, worker: Worker) -> None:
    training = Training(worker.state)
    run = deployed.start(**TRAIN_ONLY, overrides=ENDLESS | {"train.seed": 1})
    training.wait_for(3, deployed, run)
    cancel(deployed, run)
    assert seconds_until_gone(deployed, run, State.is_cancelled, PATIENCE_SECONDS) < END_SECONDS
    assert not clones(worker)
    log = deployed.log(run)
    assert "train@rnn: interrupted, " in "\n".join(log)
    assert "Cancelled; everything that it had started has ended." in log
    assert not [line for line in log if "Crash" in line or "Running()" in line or "Traceback" in line]


@pytest.mark.slow
def test_a_timeout_fires_and_is_not_tried_again(deployed: Deployed, worker: Worker) -> None:
    with deployed.project.changed(settings={"timeout_seconds.train": TIMEOUT_SECONDS}):
        run = deployed.start(**TRAIN_ONLY, overrides=ENDLESS | {"train.seed": 3})
        wait_for_deaths([find_training(run, worker.log)], PATIENCE_SECONDS)
        ended = time.time()
        flow_run = deployed.server.wait_for_end(run, PATIENCE_SECONDS, worker.log)
    task_run = deployed.task_runs(run)["train@rnn"]
    assert task_run.start_time
    assert task_run.state
    assert TIMEOUT_SECONDS - 1 < ended - task_run.start_time.timestamp() < TIMEOUT_SECONDS + SLACK_SECONDS
    assert task_run.run_count == 1
    assert task_run.state.name == "TimedOut"
    assert f"{TIMEOUT_SECONDS}.0 second" in (task_run.state.message or "")
    assert flow_run.state
    assert flow_run.state.is_failed()
    assert flow_run.state.message == f"train@rnn: {task_run.state.message}"
    assert not clones(worker)
    wait_for_no_processes(run, END_SECONDS)


@pytest.mark.slow
def test_a_stage_that_refuses_gives_its_own_line_and_is_not_tried_again(deployed: Deployed, worker: Worker) -> None:
    with deployed.project.changed(params={"generate.length": "long"}):
        run = deployed.start()
        flow_run = deployed.server.wait_for_end(run, PATIENCE_SECONDS, worker.log)
    task_run = deployed.task_runs(run)["generate"]
    line = "params.yaml: generate.length: input should be a valid integer, got 'long'"
    assert flow_run.state
    assert task_run.state
    assert flow_run.state.is_failed()
    assert task_run.state.is_failed()
    assert task_run.run_count == 1
    assert task_run.state.message == line
    assert (flow_run.state.message or "").startswith(f"generate: {line}")
    assert not deployed.project.published_commit(run)
    assert not clones(worker)
    wait_for_no_processes(run, END_SECONDS)
    errors = deployed.log(run, level=logging.ERROR)
    assert [said.partition(", 0")[0] for said in errors[:1]] == [f"error: {line}"]
    assert errors[1].startswith(f"generate: failed: {line}, ")
    assert errors[2].startswith(f'Finished in state Failed("generate: {line}')
    assert len(errors) == 3
    assert not [said for said in deployed.log(run) if "Traceback" in said]


@pytest.mark.slow
@pytest.mark.usefixtures("short_silence")
def test_a_run_goes_on_after_the_deaths_of_its_processes_and_the_next_one_after_its_own(
    deployed: Deployed, worker: Worker
) -> None:
    training = Training(worker.state)
    first = deployed.start(stages=["train"])
    for role in ("stage", "dvc", "supervisor"):
        training.wait_for(25, deployed, first)
        kill(first, role)
    training.wait_for(25, deployed, first)
    kill(first, "flow")
    wait_for_no_processes(first, END_SECONDS)
    deployed.server.wait_for_run(first, State.is_crashed, "its discovery", DETECTION_SECONDS)
    assert deployed.task_runs(first)["train@rnn"].run_count == 4
    deployed.server.forget_runs()  # or the first one would be repeated in a minute, while the second is at work or after
    second = deployed.start(stages=["train"])
    training.wait_for(1, deployed, second)
    flow_run = deployed.server.wait_for_end(second, PATIENCE_SECONDS, worker.log)
    assert flow_run.state
    assert flow_run.state.is_completed(), flow_run.state.message
    assert [*deployed.project.branches()] == ["auto/main"]
    assert deployed.project.published(second) == deployed.project.reproduced("main", "train@rnn")
    assert not clones(worker)
