"""Runs that wait until the one at work has ended: those that would do the same again are cancelled.

A deployment runs once at a time, and whatever comes meanwhile waits: data that was announced, a person's run, a run that
finds another still called Running whose machine is dead. The first of them to begin sees all that the others would have
seen, so one is enough, however many there are: ticks of a night without a worker, or ten deliveries in an hour.

It also finds those that never began, whose worker died in between. The server's automation does that as well, but learns of
it by an event, and a server that is killed loses those that it has not yet looked at.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Crashed

from flows import settings
from flows.server.connection import has_lasting_server
from flows.server.dead_run_automations import never_began

_REASON = "why"
"""The parameter in which runs may differ and do the same."""


def settle_others() -> None:
    """Cancel the runs of this deployment that are due and would do what the current one does; call crashed what never began."""
    if not (has_lasting_server() and deployment.id):
        return
    with get_client(sync_client=True) as client:
        own = client.read_flow_run(UUID(flow_run.id))
        others = [run for run in _due(client, UUID(str(deployment.id))) if run.id != own.id]
        _cancel_covered(client, own, others)
        for run in others:
            if call_crashed_if_it_never_began(client, run):
                get_run_logger().warning("%s never began, and is called crashed", run.name)


def call_crashed_if_it_never_began(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Call a run crashed if a worker took it long ago and it has not begun, and return whether that is so."""
    seconds = settings.load().start_seconds
    long_ago = datetime.now(UTC) - timedelta(seconds=seconds)
    is_lost = run.state is not None and run.state.is_pending() and run.state.timestamp < long_ago
    if is_lost:
        client.set_flow_run_state(run.id, Crashed(message=never_began(seconds)))
    return is_lost


def _cancel_covered(client: SyncPrefectClient, own: FlowRun, others: list[FlowRun]) -> None:
    for run in others:
        if run.state and run.state.is_scheduled() and _asked_for(run) == _asked_for(own):
            message = f"{own.name} began after this was due, and does the same"
            client.set_flow_run_state(run.id, Cancelled(message=message))
            get_run_logger().info("also for: %s, due %s", run.parameters.get(_REASON), run.expected_start_time)


def _due(client: SyncPrefectClient, deployment_id: UUID) -> list[FlowRun]:
    """Return the runs of a deployment that were to begin by now and have not."""
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING]))
    by_now = FlowRunFilterExpectedStartTime(before_=datetime.now(UTC))
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=states, expected_start_time=by_now),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
    )


def _asked_for(run: FlowRun) -> dict[str, object]:
    return {name: value for name, value in run.parameters.items() if name != _REASON}
