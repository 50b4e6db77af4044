"""A schedule that is much too dense, a worker that is away for a while, and commits that come when they like."""

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort

from tests.flows.projects import Deployed
from tests.flows.servers import Worker
from tests.flows.services import wait_until
from tests.flows.strikes import PATIENCE_SECONDS

pytestmark = pytest.mark.endurance

DEPLOYMENT = "retrain/rnnflow-cpu"
EVERY_SECONDS = 20
LASTS_SECONDS = 300.0
AWAY_SECONDS = 60.0
AWAY_FROM_SECOND = 120.0
PAGE = 200
"""The most runs that a server gives at once."""
COMMITS_AT_SECONDS = (30.0, 100.0, 150.0, 210.0)


@contextmanager
def schedule(deployed: Deployed, seconds: float) -> Iterator[UUID]:
    """Let a run be due every few seconds, and give the deployment's id."""
    with deployed.server.client() as client:
        deployment = client.read_deployment_by_name(DEPLOYMENT).id
        every = IntervalSchedule(interval=timedelta(seconds=seconds))
        schedules: Any = [(every, True)]  # Prefect asks for a list of a union
        (created,) = client.create_deployment_schedules(deployment, schedules)
        try:
            yield deployment
        finally:
            client.delete_deployment_schedule(deployment, created.id)


def due_runs(deployed: Deployed, deployment: UUID) -> list[FlowRun]:
    """Return the runs whose time has come, however many are planned."""
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    due = FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now().astimezone()))
    runs: list[FlowRun] = []
    with deployed.server.client() as client:
        while page := client.read_flow_runs(
            flow_run_filter=due, deployment_filter=chosen, limit=PAGE, offset=len(runs), sort=FlowRunSort.START_TIME_ASC
        ):
            runs += page
    return runs


def working_times(deployed: Deployed, runs: list[FlowRun]) -> list[tuple[datetime, datetime]]:
    """Return from when to when each run was Running, in order."""
    times = []
    with deployed.server.client() as client:
        for run in runs:
            states = sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
            began = [state.timestamp for state in states if state.is_running()]
            if began:
                times.append((began[0], states[-1].timestamp))
    return sorted(times)


def test_a_dense_schedule_neither_piles_up_nor_overlaps_and_publishes_each_version_once(
    deployed: Deployed, worker: Worker, say: Callable[[str], None]
) -> None:
    deployed.project.push({"train.epochs": 3})
    moments = random.Random(0)
    events: list[tuple[float, Callable[[], object]]] = [
        (AWAY_FROM_SECOND, worker.kill),
        (AWAY_FROM_SECOND + AWAY_SECONDS, worker.start),
        (LASTS_SECONDS, lambda: None),
    ]
    for number, second in enumerate(COMMITS_AT_SECONDS):
        change = {"train.seed": 1000 + number}
        events.append((second + moments.uniform(0, EVERY_SECONDS), partial(deployed.project.push, change)))
    with schedule(deployed, EVERY_SECONDS) as deployment:
        began = time.monotonic()
        for second, act in sorted(events, key=lambda event: event[0]):
            time.sleep(max(0.0, began + second - time.monotonic()))
            act()
        last = deployed.project.git("rev-parse", "main")
        wait_until(lambda: last in parents(deployed), "the last version's publication", PATIENCE_SECONDS, worker.log)
    wait_until(
        lambda: not any(is_working(run) for run in due_runs(deployed, deployment)), "the last run", PATIENCE_SECONDS
    )
    runs = due_runs(deployed, deployment)
    times = working_times(deployed, runs)
    counts = Counter(run.state.name for run in runs if run.state)
    say(f"{len(runs)} ticks: {dict(counts)}; {len(times)} runs worked; {len(parents(deployed))} versions published")
    assert all(end <= start for (_, end), (start, _) in pairwise(times)), times
    assert set(counts) <= {"Completed", "Cancelled"}
    assert len(set(parents(deployed))) == len(parents(deployed)) <= 1 + len(COMMITS_AT_SECONDS)


def is_working(run: FlowRun) -> bool:
    return run.state is not None and run.state.type in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


def parents(deployed: Deployed) -> list[str]:
    """Return the commit that each published result started from: the version that it holds the results of."""
    project = deployed.project
    said = project.git(f"--git-dir={project.origin}", "log", "--format=%b", "--grep=^Flow run", *project.branches())
    return re.findall(r"^Flow run \S+, from (\w+)\.$", said, re.MULTILINE)
