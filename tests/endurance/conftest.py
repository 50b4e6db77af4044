"""Real servers and workers with the settings that the project ships: `make endurance`."""

from collections.abc import Callable, Iterator

import pytest

from tests.flows.conftest import deploy_project, server
from tests.flows.projects import Deployed
from tests.flows.servers import Worker

__all__ = ["deploy_project", "server"]


@pytest.fixture(scope="module")
def deployed(deploy_project: Callable[..., Deployed]) -> Deployed:
    """One model on little data, and settings as they are shipped."""
    return deploy_project(models=["rnn"], params={"train.epochs": 400})


@pytest.fixture
def worker(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(deployed.server, "cpu-pool", tmp_path_factory.mktemp("worker")) as running:
        yield running


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a measurement where the person who runs the tests sees it."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)

    return show
