"""Cancelling a run while it trains, many times."""

import random
import statistics
import time
from collections.abc import Callable

import pytest
from prefect.client.schemas.objects import State

from tests.flows.projects import Deployed
from tests.flows.servers import Worker
from tests.flows.strikes import PATIENCE_SECONDS, cancel, find_training, seconds_until_gone

pytestmark = pytest.mark.endurance

NUM_CANCELS = 20
LIMIT_SECONDS = 10.0
LATEST_SECONDS = 8.0
"""After the start of a training: it is loading its modules, its data, or in one of its first hundreds of epochs."""


def test_every_cancelled_run_is_cancelled_and_gone_within_ten_seconds(
    deployed: Deployed, worker: Worker, say: Callable[[str], None]
) -> None:
    moments = random.Random(0)
    seconds = []
    for seed in range(NUM_CANCELS):
        run = deployed.start(stages=["train"], overrides={"train.epochs": 100_000, "train.seed": seed})
        find_training(run, worker.log)
        time.sleep(moments.uniform(0, LATEST_SECONDS))
        cancel(deployed, run)
        seconds.append(seconds_until_gone(deployed, run, State.is_cancelled, PATIENCE_SECONDS))
        assert not [*(worker.state / "runs").iterdir()]
    ordered = sorted(seconds)
    say(
        f"{NUM_CANCELS} cancels: median {statistics.median(ordered):.1f} s, longest {ordered[-1]:.1f} s: "
        + " ".join(f"{value:.1f}" for value in seconds)
    )
    assert ordered[-1] < LIMIT_SECONDS
