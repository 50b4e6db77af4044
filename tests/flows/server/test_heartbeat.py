import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import State
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Crashed

from flows.server.heartbeat import EVENT, alive
from tests.flows.servers import PrefectServer
from tests.flows.services import Background, wait_until
from tests.flows.stand_ins import AT_WORK, StandIn, make_stand_in

PREFECTS_SECONDS = 30
"""Between Prefect's own heartbeats, at the least."""


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return make_stand_in(tmp_path_factory.mktemp("heartbeat") / "project")


@pytest.fixture
def client(server: PrefectServer) -> Iterator[SyncPrefectClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def start(
    stand_in: StandIn, server: PrefectServer, client: SyncPrefectClient, tmp_path: Path
) -> Iterator[Callable[..., tuple[UUID, Background]]]:
    """Starts a run that has no worker and would take ten minutes, and returns it with its process."""

    def begin(why: str, before: str = "") -> tuple[UUID, Background]:
        script = f"{before}\nfrom flows.retrain import retrain\nretrain(overrides={{'sleep': 600}}, why='{why}')"
        log = tmp_path / "run.log"
        process = Background([sys.executable, "-c", script], log, server.environment, stand_in.folder)
        processes.callback(process.stop)
        chosen = FlowRunFilter(name=FlowRunFilterName(any_=[f"retrain HEAD {why}"]))
        (run,) = wait_until(lambda: client.read_flow_runs(flow_run_filter=chosen), "the run", log=log)
        server.wait_for_run(run.id, State.is_running, "its beginning", log=log)
        wait_until(lambda: AT_WORK in log.read_text(), "what the run begins with", log=log)
        return run.id, process

    with ExitStack() as processes:
        yield begin


def heartbeats(client: SyncPrefectClient, run: UUID) -> list[datetime]:
    resource = EventResourceFilter(id=[f"prefect.flow-run.{run}"])
    chosen = EventFilter(event=EventNameFilter(name=[EVENT]), resource=resource)
    page = client.read_events(chosen, limit=50)
    return sorted(event.occurred for event in page.events)


def state_at_the_end(client: SyncPrefectClient, run: UUID, process: Background) -> State:
    wait_until(lambda: not process.is_running, "its end", log=process.log)
    state = client.read_flow_run(run).state
    assert state
    return state


@pytest.mark.slow
def test_a_run_sends_heartbeats_oftener_than_prefect_and_ends_when_it_was_taken_for_dead(
    start: Callable[..., tuple[UUID, Background]], client: SyncPrefectClient
) -> None:
    run, process = start("sends heartbeats")
    wait_until(lambda: len(heartbeats(client, run)) > 2, "three heartbeats", log=process.log)
    first, *_, last = heartbeats(client, run)
    assert (last - first).total_seconds() < PREFECTS_SECONDS
    client.set_flow_run_state(run, Crashed(message="silent"))
    state = state_at_the_end(client, run, process)
    assert state.is_crashed()
    assert state.message == "silent"


def test_a_cancelled_run_says_itself_that_it_has_ended(
    start: Callable[..., tuple[UUID, Background]], client: SyncPrefectClient
) -> None:
    run, process = start("is cancelled")
    client.set_flow_run_state(run, Cancelling())
    process.send(signal.SIGTERM)  # the worker's part
    state = state_at_the_end(client, run, process)
    assert state.is_cancelled()
    assert state.message == "Cancelled; everything that it had started has ended."


def test_a_run_that_is_told_to_end_says_so_itself(
    start: Callable[..., tuple[UUID, Background]], client: SyncPrefectClient
) -> None:
    run, process = start("is stopped")
    process.send(signal.SIGTERM)  # of a worker that is stopped
    state = state_at_the_end(client, run, process)
    assert state.is_crashed()
    assert state.message == "It was told to end (SIGTERM): its worker or its machine is being stopped."


def test_a_cancelled_run_without_a_worker_ends_itself(
    start: Callable[..., tuple[UUID, Background]], client: SyncPrefectClient
) -> None:
    run, process = start("has no worker", before="import flows.server.heartbeat as h\nh.WORKER_SECONDS = 0.0")
    client.set_flow_run_state(run, Cancelling())
    state = state_at_the_end(client, run, process)
    assert state.is_cancelled()


def test_without_a_server_there_is_nobody_to_keep_in_touch_with() -> None:
    with temporary_settings({PREFECT_API_URL: None}), alive():
        pass
