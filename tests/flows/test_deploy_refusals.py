"""What `make deploy` refuses, in one line, with exit status 2."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.deploy import main
from tests.flows.servers import PrefectServer
from tests.flows.services import free_port
from tests.flows.stand_ins import StandIn, make_stand_in

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"parameters": {"epochs": 3}}, "its runs would fail: the flow has no parameter 'epochs'; expected some of re"),
    ({"schedules": [{"slug": "a"}]}, "-cpu: schedules"),
    ({"work_pool": {"name": "tpu"}}, "references work pool 'tpu' which does not exist."),
    ({"schedules": [{"slug": "a", "cron": "99 * * * *"}]}, 'cron Value error, Invalid cron string: "99 * * * *"'),
    ({"work_pool": {}}, "A work pool is required to deploy this flow."),
    ({"work_pool": {"name": "rnnflow-cpu-pool", "job_variables": {"stream_output": "maybe"}}}, "is not of type"),
    ({"entrypoint": "flows/gone.py:retrain"}, "No such file or directory: 'flows/gone.py'"),
    ({"entrypoint": "flows/retrain.py:gone"}, "Flow function with name 'gone' not found in 'flows/retrain.py'"),
    ({"parameters": {"isolated": "maybe"}}, "'maybe' is not of type 'boolean'"),
    ({"triggers": [{"expect": ["a"], "within": "often"}]}, "event.within Input should be a valid timedelta"),
    ({"schedules": [{"cron": "0 3 * * *"}]}, "Please provide a slug for each schedule"),
]
"""Each takes a program that loads Prefect, and so all but one are slow."""


@pytest.fixture
def refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[StandIn, str | None], str]:
    """Returns the line with which a deployment to an address is refused."""

    def refuse(stand_in: StandIn, url: str | None) -> str:
        monkeypatch.chdir(stand_in.folder)
        with temporary_settings({PREFECT_API_URL: url}), pytest.raises(SystemExit) as exit_:
            main([])
        assert exit_.value.code == 2
        captured = capsys.readouterr()
        assert "deployment " not in captured.out
        (line,) = captured.err.splitlines()
        return line

    return refuse


@pytest.mark.parametrize(
    ("values", "expected"),
    [REFUSED[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in REFUSED[1:])],
)
def test_what_prefect_or_its_server_refuses_is_one_line(
    deployed: StandIn,
    server: PrefectServer,
    refusal: Callable[[StandIn, str | None], str],
    values: dict[str, Any],
    expected: str,
) -> None:
    with deployed.changed_manifest() as manifest:
        manifest["deployments"][0].update(values)
        deployed.write(manifest)
        line = refusal(deployed, server.api_url)
    assert line.startswith("error: prefect.yaml: ")
    assert "cpu" in line
    assert expected in line


def test_no_server_is_named(stand_in: StandIn, refusal: Callable[[StandIn, str | None], str]) -> None:
    assert refusal(stand_in, None) == (
        "error: PREFECT_API_URL is not set: start one with `make server`, "
        "then export PREFECT_API_URL=http://127.0.0.1:4200/api"
    )


def test_no_server_answers(stand_in: StandIn, refusal: Callable[[StandIn, str | None], str]) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    line = refusal(stand_in, url)
    assert line.startswith(f"error: {url}: no Prefect server answers (")
    assert line.endswith("); start one with `make server`")


def test_the_address_is_that_of_the_user_interface(
    stand_in: StandIn, server: PrefectServer, refusal: Callable[[StandIn, str | None], str]
) -> None:
    line = refusal(stand_in, server.api_url.removesuffix("/api"))
    assert line.endswith("no Prefect API there (/admin/version not found); the address ends in /api")


def test_a_bad_manifest_is_refused_before_the_server_is_asked(
    tmp_path: Path, refusal: Callable[[StandIn, str | None], str]
) -> None:
    stand_in = make_stand_in(tmp_path / "project")
    manifest = stand_in.read()
    manifest["deployments"][0]["tags"] = []
    stand_in.write(manifest)
    assert refusal(stand_in, None).startswith("error: prefect.yaml: deployment 'project-cpu': no tag 'project'")


def test_a_part_of_a_larger_repository_in_which_no_run_would_find_the_flow_is_refused(
    stand_in: StandIn, tmp_path: Path, refusal: Callable[[StandIn, str | None], str]
) -> None:
    part = tmp_path / "larger/part"
    shutil.copytree(stand_in.folder, part, ignore=shutil.ignore_patterns(".git"))
    subprocess.run(["git", "init", "--quiet"], cwd=part.parent, check=True)
    line = refusal(StandIn(part), None)
    assert line.startswith(f"error: {part}: expected the top of a Git repository, where runs look for flows/")
