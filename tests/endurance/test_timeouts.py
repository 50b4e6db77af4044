"""The time-out of a stage, measured by the death of its process."""

import time
from collections.abc import Callable

import pytest

from tests.flows.projects import Deployed
from tests.flows.servers import Worker
from tests.flows.services import wait_for_deaths
from tests.flows.strikes import PATIENCE_SECONDS, find_training, wait_for_no_processes

pytestmark = pytest.mark.endurance

LIMITS = (8, 11, 14)
SLACK_SECONDS = 1.0
END_SECONDS = 10.0


def test_a_timeout_fires_within_a_second_of_its_time(
    deployed: Deployed, worker: Worker, say: Callable[[str], None]
) -> None:
    late = []
    for limit in LIMITS:
        with deployed.project.changed(settings={"timeout_seconds.train": limit}):
            run = deployed.start(stages=["train"], overrides={"train.epochs": 100_000, "train.seed": limit})
            wait_for_deaths([find_training(run, worker.log)], PATIENCE_SECONDS)
            ended = time.time()
            wait_for_no_processes(run, END_SECONDS)
            deployed.server.wait_for_end(run, PATIENCE_SECONDS, worker.log)
        task_run = deployed.task_runs(run)["train@rnn"]
        assert task_run.start_time
        assert task_run.state
        assert task_run.state.name == "TimedOut"
        assert task_run.run_count == 1
        late.append(ended - task_run.start_time.timestamp() - limit)
    say("timeouts fired late by " + ", ".join(f"{seconds:.2f} s" for seconds in late))
    assert all(0 <= seconds < SLACK_SECONDS for seconds in late)
