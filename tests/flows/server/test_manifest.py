from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.server.manifest import filled_in, read
from flows.server.pools import POOLS
from flows.settings import load
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT
from tests.flows.servers import PROJECT
from tests.flows.stand_ins import StandIn, make_stand_in


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return make_stand_in(tmp_path_factory.mktemp("manifest") / "project")


@pytest.fixture
def stand_in(original: StandIn) -> StandIn:
    (original.folder / "prefect.yaml").write_bytes((ROOT / "prefect.yaml").read_bytes())
    return original


def refusal(stand_in: StandIn, change: Callable[[Any], object]) -> str:
    """Return the line with which a changed `prefect.yaml` is refused."""
    manifest = stand_in.read()
    change(manifest["deployments"][0])
    stand_in.write(manifest)
    with pytest.raises(InputError) as error:
        read(filled_in(stand_in.folder, PROJECT), PROJECT)
    message = str(error.value)
    assert "\n" not in message
    return message.removeprefix("prefect.yaml: ")


def test_the_project_deploys_both_flows_to_both_pools() -> None:
    pools = {
        deployment.identity: deployment.work_pool["name"] for deployment in read(filled_in(ROOT, PROJECT), PROJECT)
    }
    assert pools == {
        ("flows/retrain.py:retrain", "rnnflow-cpu"): "rnnflow-cpu-pool",
        ("flows/retrain.py:retrain", "rnnflow-gpu"): "rnnflow-gpu-pool",
        ("flows/retrain.py:retrain", "rnnflow-coordinated"): "rnnflow-cpu-pool",
        ("flows/stage.py:run_one_stage", "rnnflow-cpu-pool"): "rnnflow-cpu-pool",
        ("flows/stage.py:run_one_stage", "rnnflow-gpu-pool"): "rnnflow-gpu-pool",
    }
    assert set(pools.values()) == {pool.full_name(PROJECT) for pool in POOLS}


def test_each_stage_goes_to_a_pool_that_is_there_and_has_a_deployment() -> None:
    names = {
        deployment.name
        for deployment in read(filled_in(ROOT, PROJECT), PROJECT)
        if deployment.entrypoint.startswith("flows/stage.py")
    }
    assert {f"{PROJECT}-{pool}" for pool in load().workers.values()} <= names


def test_one_schedule_at_most_is_active_so_that_nobody_trains_twice_a_night() -> None:
    deployments = StandIn(ROOT).read()["deployments"]
    schedules = [schedule for deployment in deployments for schedule in deployment.get("schedules", [])]
    assert len(schedules) > 1
    assert sum(schedule.get("active", True) for schedule in schedules) == 1
    assert all("/" in schedule["timezone"] for schedule in schedules)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"name": "rnnflow-gpu"},
            "deployment 'rnnflow-gpu': another one of the same flow has this name; give each a name of its own",
        ),
        ({"tags": []}, "deployment 'rnnflow-cpu': no tag 'rnnflow'"),
        ({"shedules": []}, "deployment 'rnnflow-cpu': shedules: unknown parameter; did you mean 'schedules'?"),
        ({"schedules": 3}, "deployment 'rnnflow-cpu': schedules: input should be a valid list, got 3"),
    ],
)
def test_what_prefect_would_take_and_never_run_is_one_line(
    stand_in: StandIn, values: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(stand_in, lambda deployment: deployment.update(values))


def test_a_name_that_is_missing_is_one_line(stand_in: StandIn) -> None:
    assert refusal(stand_in, lambda deployment: deployment.pop("name")) == "deployment '1': name: missing"


def test_a_file_that_is_no_yaml_is_one_line(stand_in: StandIn) -> None:
    (stand_in.folder / "prefect.yaml").write_text("deployments: [\n")
    with pytest.raises(InputError, match=r"^prefect\.yaml: while parsing"):
        read(filled_in(stand_in.folder, PROJECT), PROJECT)


def test_a_file_without_deployments_is_one_line(stand_in: StandIn) -> None:
    (stand_in.folder / "prefect.yaml").write_text("name: rnnflow\n")
    with pytest.raises(InputError, match=r"^prefect\.yaml: expected a list of deployments under 'deployments'$"):
        read(filled_in(stand_in.folder, PROJECT), PROJECT)


def test_another_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^prefect\.yaml: not in .*; run from the top of the project$"):
        filled_in(tmp_path, PROJECT)
