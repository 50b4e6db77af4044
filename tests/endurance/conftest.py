"""Real servers and workers with the settings that the project ships: `make endurance`."""

from collections.abc import Callable, Iterator

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from tests.flows.conftest import deploy_project, server
from tests.flows.projects import Deployed, processes
from tests.flows.servers import Worker

UNFINISHED = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])

__all__ = ["deploy_project", "server"]


@pytest.fixture(scope="module")
def deployed(deploy_project: Callable[..., Deployed]) -> Deployed:
    """One model on little data, and settings as they are shipped."""
    return deploy_project(models=["rnn"], params={"train.epochs": 400})


@pytest.fixture
def worker(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A new machine; what a failed test has left of its runs is ended with it, or no other run would start."""
    with Worker(deployed.server, "cpu-pool", tmp_path_factory.mktemp("worker")) as running:
        yield running
    with deployed.server.client() as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=UNFINISHED))):
            for process in processes(run.id):
                process.kill()
            client.set_flow_run_state(run.id, Cancelled(), force=True)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a measurement where the person who runs the tests sees it."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)

    return show
