"""Runs that wait until the one at work has ended: those that would do the same again are cancelled.

A deployment runs once at a time, and whatever comes meanwhile waits: data that was announced, a person's run, a run that
finds another still called Running whose machine is dead. The first of them to begin sees all that the others would have
seen, so one is enough, however many there are: ticks of a night without a worker, or ten deliveries in an hour.
"""

from datetime import UTC, datetime
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runtime import deployment, flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled

_REASON = "why"
"""The parameter in which runs may differ and do the same."""


def cancel_covered() -> None:
    """Cancel the runs of this deployment that are due and would do what the current run is about to do."""
    if not (PREFECT_API_URL.value() and deployment.id):
        return
    with get_client(sync_client=True) as client:
        own = client.read_flow_run(UUID(flow_run.id))
        for run in _due(client, UUID(str(deployment.id))):
            if run.id != own.id and _asked_for(run) == _asked_for(own):
                message = f"{own.name} began after this was due, and does the same"
                client.set_flow_run_state(run.id, Cancelled(message=message))
                get_run_logger().info("also for: %s, due %s", run.parameters.get(_REASON), run.expected_start_time)


def _due(client: SyncPrefectClient, deployment_id: UUID) -> list[FlowRun]:
    scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=scheduled),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
    )
    now = datetime.now(UTC)
    return [run for run in runs if run.expected_start_time and run.expected_start_time <= now]


def _asked_for(run: FlowRun) -> dict[str, object]:
    return {name: value for name, value in run.parameters.items() if name != _REASON}
