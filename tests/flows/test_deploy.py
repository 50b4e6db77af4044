import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

from tests.flows.postgresql import PostgreSQL
from tests.flows.servers import PrefectServer, Worker
from tests.flows.services import wait_until
from tests.flows.stand_ins import StandIn, make_stand_in

BRANCH = "rnnflow_branch"
FLOWS = ("retrain/rnnflow-cpu", "retrain/rnnflow-gpu", "retrain/rnnflow-coordinated")
NAMES = (*FLOWS, "stage/rnnflow-cpu-pool", "stage/rnnflow-gpu-pool")


@pytest.fixture
def client(server: PrefectServer) -> Iterator[SyncPrefectClient]:
    with server.client() as client:
        yield client


def things(client: SyncPrefectClient) -> dict[str, list[str]]:
    """Return the names of what is on the server, as often as it is there."""
    deployments = client.read_deployments()
    schedules = [schedule for deployment in deployments for schedule in deployment.schedules]
    return {
        "pools": sorted(pool.name for pool in client.read_work_pools()),
        "variables": sorted(variable.name for variable in client.read_variables()),
        "deployments": sorted(deployment.name for deployment in deployments),
        "schedules": sorted(str(schedule.slug) for schedule in schedules),
        "automations": sorted(automation.name for automation in client.read_automations()),
    }


@pytest.mark.slow
def test_an_address_with_a_token_is_refused_and_nothing_on_the_server_holds_it(
    deployed: StandIn, server: PrefectServer, client: SyncPrefectClient
) -> None:
    url = "https://user:planted-secret@git.example.com/team/rnnflow.git"
    command = (sys.executable, "-m", "flows.deploy", "--repository", url)
    printed = server.run(*command, folder=deployed.folder, expected=2)
    assert printed.startswith("error: https://git.example.com/team/rnnflow.git: the address was given with a user")
    kept = [*client.read_variables(), *client.read_deployments(), *client.read_automations()]
    assert not [text for text in (printed, *map(str, kept)) if "planted-secret" in text]


def test_an_active_schedule_makes_runs_appear(deployed: StandIn, server: PrefectServer) -> None:
    """With the wrong version of SQLAlchemy Prefect takes deployments and never schedules a run."""
    with server.client() as client:
        deployment = client.read_deployment_by_name("retrain/rnnflow-cpu")
        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
        runs = wait_until(
            lambda: [run for run in client.read_flow_runs(deployment_filter=chosen) if run.auto_scheduled],
            "a scheduled run",
        )
    assert all(run.state and run.state.is_scheduled() for run in runs)
    assert {run.parameters["why"] for run in runs} == {"nightly"}
    assert {run.parameters["revision"] for run in runs} == {"main"}


def test_runs_of_a_deployment_do_not_pile_up_or_overlap(deployed: StandIn, client: SyncPrefectClient) -> None:
    for name in NAMES:
        deployment = client.read_deployment_by_name(name)
        limit = deployment.global_concurrency_limit
        if name.startswith("stage"):
            assert limit is None
        else:
            assert limit
            assert limit.limit == 1
            assert deployment.concurrency_options
            assert deployment.concurrency_options.collision_strategy == "ENQUEUE"


@pytest.mark.slow
def test_two_projects_share_a_server_and_none_takes_the_other_over(
    deployed: StandIn, server: PrefectServer, client: SyncPrefectClient, tmp_path: Path
) -> None:
    other = make_stand_in(tmp_path / "other")
    before = things(client)
    said = server.run(sys.executable, "-m", "flows.deploy", folder=other.folder, expected=2)
    assert said == (
        f"error: project 'rnnflow' on this server is {deployed.folder}, and this is {other.folder}: give this one another "
        "name (`project:` in flows/settings.yaml), or say --move if it has only moved\n"
    )
    assert things(client) == before
    settings = other.folder / "flows/settings.yaml"
    settings.write_text(settings.read_text().replace("project: rnnflow", "project: second-one"))
    own = client.read_deployment_by_name("retrain/rnnflow-cpu")
    other.deploy(server)
    assert client.read_deployment_by_name("retrain/rnnflow-cpu").updated == own.updated
    assert client.read_deployment_by_name("retrain/second-one-cpu").tags == ["second-one", "cpu"]
    after = things(client)
    for kind in ("pools", "variables", "deployments", "automations"):
        added = [name for name in after[kind] if name not in before[kind]]
        assert added == [name.replace("rnnflow", "second-one") for name in before[kind] if "rnnflow" in name]
        for name in added if kind == "deployments" else ():
            flow = "stage" if name.endswith("pool") else "retrain"
            client.delete_deployment(client.read_deployment_by_name(f"{flow}/{name}").id)


def test_deploying_again_doubles_nothing_and_leaves_alone_what_somebody_set(
    deployed: StandIn, server: PrefectServer, client: SyncPrefectClient
) -> None:
    client.update_variable(VariableUpdate(name=BRANCH, value="next"))
    (automation,) = client.read_automations_by_name("rnnflow data arrived")
    client.pause_automation(automation.id)
    before = things(client)
    printed = deployed.deploy(server)
    outcomes = [line for line in printed.splitlines() if ": " in line]
    (still,) = client.read_automations_by_name("rnnflow data arrived")
    client.resume_automation(still.id)
    assert things(client) == before
    assert not still.enabled
    assert f"variable {BRANCH} = next: unchanged" in outcomes
    assert client.read_deployment_by_name("retrain/rnnflow-cpu").parameters["revision"] == "next"
    changed = [line for line in outcomes if not line.endswith(": unchanged")]
    assert changed == [f"deployment {name}: deployed" for name in NAMES]
    assert "nobody is told of runs that fail" in printed


def test_what_is_gone_from_the_file_is_gone_from_the_server_and_what_is_changed_there_is_changed(
    deployed: StandIn, server: PrefectServer, client: SyncPrefectClient
) -> None:
    with deployed.changed_manifest() as manifest:
        cpu, gpu, coordinated = manifest["deployments"][:3]
        coordinated["name"] = "rnnflow-together"
        del cpu["schedules"], cpu["triggers"], cpu["concurrency_limit"]
        gpu["schedules"][0]["cron"] = "30 4 * * *"
        deployed.write(manifest)
        said = deployed.deploy_own(server)
    client.delete_deployment(client.read_deployment_by_name("retrain/rnnflow-together").id)
    assert "deployment retrain/rnnflow-together: deployed\n" in said
    assert (
        "deployment retrain/rnnflow-coordinated: not in prefect.yaml any more; if it is to go, prefect deployment"
        in said
    )
    assert "deployment retrain/rnnflow-cpu: deployed, schedule nightly removed" in said
    assert not client.read_automations_by_name("rnnflow data arrived")
    changed = client.read_deployment_by_name("retrain/rnnflow-cpu")
    assert changed.schedules == []
    assert changed.global_concurrency_limit is None
    (schedule,) = client.read_deployment_by_name("retrain/rnnflow-gpu").schedules
    assert not schedule.active
    assert schedule.schedule.model_dump()["cron"] == "30 4 * * *"


def test_help_needs_no_prefect(deployed: StandIn, server: PrefectServer) -> None:
    script = (
        "import sys; from flows.deploy import main\ntry: main(['--help'])\nfinally: print('prefect' in sys.modules)"
    )
    assert server.run(sys.executable, "-c", script, folder=deployed.folder).endswith("False\n")


@pytest.mark.slow
def test_postgresql_carries_a_run_on_a_worker_from_deployment_to_completion(tmp_path: Path) -> None:
    stand_in = make_stand_in(tmp_path / "project")
    with PostgreSQL() as database, PrefectServer(tmp_path / "server", database.url) as server:
        stand_in.deploy_own(server)
        with Worker(server, "cpu-pool", tmp_path / "worker") as worker, server.client() as client:
            deployment = client.read_deployment_by_name("retrain/rnnflow-cpu")
            run = client.create_flow_run_from_deployment(deployment.id)
            ended = server.wait_for_end(run.id, log=worker.log)
    assert ended.state
    assert ended.state.is_completed(), ended.state.message
    assert ended.name == "retrain main by hand"
    assert set(ended.tags) == {"rnnflow", "cpu"}
    found: dict[str, Any] = json.loads(ended.state.message or "")
    assert found["folder"] == found["modules"]  # the flow's modules are those of the clone it was started in
    assert Path(found["folder"]).name == "project-main"
    assert not Path(found["folder"]).exists()
    assert found["heartbeats"] == "30"
    assert found["device"] == "cpu"
    assert found["repository"] == "origin"
