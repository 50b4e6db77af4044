import sys
from collections.abc import Iterator

import pytest
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.announce import main
from tests.flows.servers import PrefectServer
from tests.flows.services import free_port, wait_until
from tests.flows.stand_ins import StandIn, make_stand_in


@pytest.fixture(scope="module")
def deployed(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    stand_in = make_stand_in(tmp_path_factory.mktemp("announce") / "project")
    stand_in.deploy_own(server)
    return stand_in


@pytest.fixture
def started(server: PrefectServer) -> Iterator[list[FlowRun]]:
    """Runs that the test has waited for; afterwards they are gone, so that no worker of another test takes them."""
    runs: list[FlowRun] = []
    yield runs
    with server.client() as client:
        for run in runs:
            client.delete_flow_run(run.id)


def wait_for_run(server: PrefectServer, why: str) -> FlowRun:
    def found() -> list[FlowRun]:
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["rnnflow-cpu"]))
        )
        return [run for run in runs if run.parameters.get("why") == why]

    with server.client() as client:
        (run,) = wait_until(found, f"a run because of {why}")
    return run


def test_an_announcement_starts_one_run_that_says_why(
    deployed: StandIn, server: PrefectServer, started: list[FlowRun]
) -> None:
    said = server.run(sys.executable, "-m", "flows.announce", "--delivery", "june", folder=deployed.folder)
    assert said == "announced: new data june (rnnflow data arrived)\n"
    run = wait_for_run(server, "new data june")
    started.append(run)
    assert not run.auto_scheduled
    assert run.parameters["publish"] == "branch"  # the deployment's own
    assert run.state
    assert run.state.is_scheduled()


def test_the_reason_can_be_put_in_words(deployed: StandIn, server: PrefectServer, started: list[FlowRun]) -> None:
    said = server.run(sys.executable, "-m", "flows.announce", "--why", "{{ labels }} fixed", folder=deployed.folder)
    assert said.startswith("announced: {{ labels }} fixed (")
    started.append(wait_for_run(server, "{{ labels }} fixed"))


def test_a_server_on_which_nothing_listens_is_one_line(deployed: StandIn, server: PrefectServer) -> None:
    with server.client() as client:
        (automation,) = client.read_automations_by_name("rnnflow data arrived")
        client.pause_automation(automation.id)
        said = server.run(sys.executable, "-m", "flows.announce", folder=deployed.folder, expected=2)
        client.resume_automation(automation.id)
    assert (
        said
        == f"error: no deployment on {server.api_url}/ listens for rnnflow.data.arrived of rnnflow.data.raw.rnnflow; "
        "run `make deploy`\n"
    )


def test_a_server_that_does_not_answer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(SystemExit) as exit_:
        main(["--delivery", "june"])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {url}: no Prefect server answers (")
