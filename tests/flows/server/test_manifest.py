from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.server.manifest import read
from flows.server.pools import POOLS
from flows.settings import load
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT
from tests.flows.stand_ins import StandIn, make_stand_in

NAMES = {pool.name for pool in POOLS}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return make_stand_in(tmp_path_factory.mktemp("manifest") / "project")


@pytest.fixture
def stand_in(original: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.chdir(original.folder)
    (original.folder / "prefect.yaml").write_bytes((ROOT / "prefect.yaml").read_bytes())
    return original


def refusal(stand_in: StandIn, change: Callable[[Any], object]) -> str:
    """Return the line with which a changed `prefect.yaml` is refused."""
    manifest = stand_in.read()
    change(manifest["deployments"][0])
    stand_in.write(manifest)
    with pytest.raises(InputError) as error:
        read(stand_in.folder, NAMES)
    message = str(error.value)
    assert "\n" not in message
    return message.removeprefix("prefect.yaml: ")


def test_the_project_deploys_both_flows_to_both_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    deployments = {deployment.full_name: deployment.pool for deployment in read(ROOT, NAMES)}
    assert deployments == {
        "retrain/cpu": "cpu-pool",
        "retrain/gpu": "gpu-pool",
        "retrain/coordinated": "cpu-pool",
        "stage/cpu-pool": "cpu-pool",
        "stage/gpu-pool": "gpu-pool",
    }


def test_each_stage_goes_to_a_pool_that_is_there_and_has_a_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    wanted = {f"stage/{pool}" for pool in load().workers.values()}
    assert wanted <= {deployment.full_name for deployment in read(ROOT, NAMES)}


def test_one_schedule_at_most_is_active_so_that_nobody_trains_twice_a_night() -> None:
    deployments = StandIn(ROOT).read()["deployments"]
    schedules = [schedule for deployment in deployments for schedule in deployment.get("schedules", [])]
    assert len(schedules) > 1
    assert sum(schedule.get("active", True) for schedule in schedules) == 1
    assert all("/" in schedule["timezone"] for schedule in schedules)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"work_pool": {}}, "deployment 'cpu': no work pool, so no worker would ever take its runs"),
        (
            {"work_pool": {"name": "tpu"}},
            "deployment 'cpu': there is no work pool 'tpu'; expected one of cpu-pool, gpu",
        ),
        ({"name": "gpu"}, "two deployments are called 'retrain/gpu'; give each a name of its own"),
        ({"tags": []}, "deployment 'cpu': no tag 'rnnflow'"),
        ({"entrypoint": "flows/gone.py:retrain"}, "flows/gone.py:retrain: there is no file flows/gone.py"),
        ({"entrypoint": "flows/retrain.py:gone"}, "flows/retrain.py has no flow called 'gone'"),
        ({"entrypoint": "flows/broken.py:broken"}, "flows/broken.py:broken: ModuleNotFoundError("),
        ({"entrypoint": "flows/retrain.py"}, "expected FILE:FLOW"),
        ({"parameters": {"epochs": 3}}, "deployment 'cpu': the flow has no parameter 'epochs'; expected some of rev"),
        (
            {"parameters": {"isolated": "maybe"}},
            "deployment 'cpu': parameters: Validation failed for field 'isolated'.",
        ),
        ({"triggers": [{"expect": ["a"], "within": "often"}]}, "deployment 'cpu': triggers.0.event.within: "),
        ({"schedules": [{"slug": "a", "cron": "99 * * * *"}]}, 'schedules.0: cron: Invalid cron string: "99 * * * *"'),
        (
            {"schedules": [{"slug": "a", "cron": "0 3 * * *", "timezone": "Mars/Olympus"}]},
            'schedules.0: timezone: Invalid timezone: "Mars/Olympus"',
        ),
        ({"schedules": [{"slug": "a", "interval": "often"}]}, "schedules.0.interval: "),
        ({"schedules": [{"slug": "a", "rrule": "often"}]}, "schedules.0: "),
        ({"schedules": [{"slug": "a"}]}, "schedules.0: expected one of cron, interval, rrule, got none"),
        ({"schedules": [{"cron": "0 3 * * *"}]}, "deployment 'cpu': schedules.0.slug: missing"),
        (
            {"schedules": [{"slug": "a", "interval": 60}, {"slug": "a", "interval": 90}]},
            "deployment 'cpu': two schedules have the same slug",
        ),
        ({"shedules": []}, "deployment 'cpu': shedules: Extra inputs are not permitted"),
        ({"schedules": 3}, "deployment 'cpu': schedules: Input should be a valid list"),
    ],
)
def test_what_the_server_would_refuse_or_never_run_is_one_line(
    stand_in: StandIn, values: dict[str, Any], expected: str
) -> None:
    (stand_in.folder / "flows/broken.py").write_text("import no_such_module\n")
    assert expected in refusal(stand_in, lambda deployment: deployment.update(values))


def test_a_name_that_is_missing_is_one_line(stand_in: StandIn) -> None:
    assert refusal(stand_in, lambda deployment: deployment.pop("name")) == "deployment '1': name: missing"


def test_a_file_that_is_no_yaml_is_one_line(stand_in: StandIn) -> None:
    (stand_in.folder / "prefect.yaml").write_text("deployments: [\n")
    with pytest.raises(InputError, match=r"^prefect\.yaml: while parsing"):
        read(stand_in.folder, NAMES)


def test_a_file_without_deployments_is_one_line(stand_in: StandIn) -> None:
    (stand_in.folder / "prefect.yaml").write_text("name: rnnflow\n")
    with pytest.raises(InputError, match=r"^prefect\.yaml: expected a list of deployments under 'deployments'$"):
        read(stand_in.folder, NAMES)


def test_another_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^prefect\.yaml: not in .*; run from the top of the project$"):
        read(tmp_path, NAMES)
