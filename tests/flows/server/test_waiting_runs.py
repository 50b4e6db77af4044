"""Runs that a worker took and never began: its machine died in between, and nobody but the server knows of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Pending, Running, Scheduled

from flows import settings
from flows.dispatch import DispatchedStage, Dispatcher
from flows.repository.pipeline import Stage
from flows.server.dead_run_automations import SILENCE_SECONDS, never_began
from tests.flows.servers import PROJECT, PrefectServer, Worker
from tests.flows.services import wait_until
from tests.flows.stand_ins import make_stand_in

START_SECONDS = 10
"""In which a run begins here: the least that can be set, to wait less than the project does."""


@pytest.fixture
def client(server: PrefectServer, tmp_path: Path) -> Iterator[SyncPrefectClient]:
    """Of a server on which runs that do not begin are called crashed soon; the next deployment of a test makes it as it was."""
    stand_in = make_stand_in(tmp_path / "project", start_seconds=START_SECONDS)
    stand_in.deploy_own(server)
    with server.client() as client:
        yield client


def taken(client: SyncPrefectClient) -> UUID:
    """Return a run that a worker has taken which is no more; it occupies nobody's place."""
    deployment = client.read_deployment_by_name("retrain/rnnflow-cpu")
    run = client.create_flow_run_from_deployment(deployment.id).id
    client.set_flow_run_state(run, Pending(), force=True)
    return run


@pytest.mark.slow
def test_a_run_that_was_put_back_and_taken_again_is_called_crashed_if_it_does_not_begin(
    server: PrefectServer, client: SyncPrefectClient
) -> None:
    run = taken(client)
    client.set_flow_run_state(run, Scheduled(), force=True)
    client.set_flow_run_state(run, Pending(), force=True)
    ended = server.wait_for_run(run, State.is_crashed, "its discovery")
    assert ended.state
    assert ended.state.message == never_began(START_SECONDS)


@pytest.mark.slow
def test_a_run_that_dies_before_its_first_sign_of_life_is_crashed_and_while_it_is_cancelled_cancelled(
    server: PrefectServer, client: SyncPrefectClient
) -> None:
    begun, cancelled = taken(client), taken(client)
    for run in (begun, cancelled):
        client.set_flow_run_state(run, Running(), force=True)
    client.set_flow_run_state(cancelled, Cancelling(), force=True)
    for run, message in ((begun, "No heartbeat for "), (cancelled, "Cancelled; ")):
        ended = server.wait_for_end(run, 2 * SILENCE_SECONDS)
        assert ended.state
        assert ended.state.is_crashed() == (run == begun)
        assert (ended.state.message or "").startswith(message)


@pytest.mark.slow
def test_the_next_run_calls_crashed_what_never_began_when_the_server_has_forgotten_it(
    server: PrefectServer, client: SyncPrefectClient, tmp_path: Path
) -> None:
    (automation,) = client.read_automations_by_name(f"{PROJECT}: runs that never began")
    client.delete_automation(automation.id)  # in place of an event that is lost when a server is killed
    lost = taken(client)
    with Worker(server, "cpu-pool", tmp_path / "worker") as worker:
        wait_until(lambda: _seconds_in_state(client, lost) > START_SECONDS, "so many seconds")
        deployment = client.read_deployment_by_name("retrain/rnnflow-cpu")
        later = client.create_flow_run_from_deployment(deployment.id).id
        server.wait_for_end(later, log=worker.log)
    state = client.read_flow_run(lost).state
    assert state
    assert state.is_crashed()
    assert state.message == never_began(START_SECONDS)


@pytest.mark.slow
def test_a_stage_that_was_sent_to_a_worker_and_never_began_does_not_keep_its_run_waiting(
    server: PrefectServer, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = settings.load()
    monkeypatch.setattr(settings, "load", lambda: shipped.model_copy(update={"start_seconds": 0.01}))
    lost = taken(client)
    stage = Stage("generate", frozenset(), is_stale=True, is_new=True)

    @flow
    def coordinating() -> str:
        dispatcher = Dispatcher(client, PROJECT, ".")
        dispatcher.dispatched[stage.name] = DispatchedStage(stage, {}, "cpu-pool", lost, shipped.retries.max)
        (returned,) = wait_until(dispatcher.returned, "its return")
        return returned.failure

    with temporary_settings({PREFECT_API_URL: server.api_url}):
        assert coordinating() == never_began(0.01)


def _seconds_in_state(client: SyncPrefectClient, run: UUID) -> float:
    state = client.read_flow_run(run).state
    assert state
    return (datetime.now(UTC) - state.timestamp).total_seconds()
