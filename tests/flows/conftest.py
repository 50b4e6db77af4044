from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.flows.projects import Deployed, deploy, make_project
from tests.flows.servers import PROJECT, PrefectServer
from tests.flows.stand_ins import StandIn, make_stand_in


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """One Prefect server for all tests of the flow that a process runs; it would go on computing beside the others."""
    with PrefectServer(tmp_path_factory.mktemp("prefect-server")) as running:
        yield running


@pytest.fixture(scope="package")
def deploy_project(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Deployed]:
    """Makes a project of the work tree and deploys it on the server; the arguments are those of `make_project`."""

    def make(**changes: Any) -> Deployed:
        return deploy(make_project(tmp_path_factory.mktemp("a project"), **changes), server)

    return make


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return make_stand_in(tmp_path_factory.mktemp("deploy") / PROJECT)  # by its name as well


@pytest.fixture(scope="module")
def deployed(stand_in: StandIn, server: PrefectServer) -> StandIn:
    stand_in.deploy_own(server)
    return stand_in
