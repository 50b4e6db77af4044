"""Independent stages of one workspace at the same time, on a real server and with a real DVC."""

import json
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows import settings, side_by_side
from flows.repository import pipeline
from flows.repository.pipeline import Stage
from flows.repository.workspace import Workspace
from rnnflow.generation.threads import THREADS
from rnnflow.runtime.environment import DEVICE
from rnnflow.runtime.provenance import ROOT
from tests.flows.processes import at_work_in, with_stages
from tests.flows.repositories import Repository
from tests.flows.servers import PrefectServer
from tests.flows.services import running, wait_until

pytest_plugins = ["tests.flows.repositories"]

FLOW = """
import json, sys
from pathlib import Path
from prefect import flow
from flows import settings
from flows.repository import pipeline
from flows.repository.workspace import in_place
from flows.side_by_side import run_here
from flows.stage import ending_in_one_line

changes = json.loads(sys.argv[1])
file = Path("settings.yaml").absolute()
shipped = settings.load().model_dump()
settings.load = lambda: settings.Settings.model_validate(shipped | changes)

@flow
@ending_in_one_line
def retrain() -> str:
    with in_place(Path(sys.argv[2]), ".", allow_dirty=True) as workspace:
        return run_here(pipeline.read(workspace.folder), workspace, pull=False).summary()

print("ended:", retrain(return_state=True).message)
"""
NO_RETRIES = {"retries": {"max": 0, "delay_seconds": 0.1}}
OVERTAKEN = """\
import pathlib, sys, time
for _ in range(6000):
    if "train@a" in pathlib.Path("dvc.lock").read_text():
        sys.exit()
    time.sleep(0.01)
sys.exit("train@a is not done")
"""
"""What ends well only if the next stage of the plan comes about meanwhile."""


def command(server: PrefectServer, folder: Path, **changes: object) -> tuple[list[str], dict[str, str]]:
    """Return a command that runs the flow in a repository with changed settings, and its environment."""
    return [sys.executable, "-c", FLOW, json.dumps(NO_RETRIES | changes), str(folder)], {
        **server.environment,
        "PYTHONPATH": str(ROOT),
    }


def ended(server: PrefectServer, folder: Path, **changes: object) -> str:
    """Return the last line of a run and those before it."""
    arguments, environment = command(server, folder, **changes)
    return server.run(*arguments, folder=ROOT, environment=environment)


def stages_in_lock(repository: Repository) -> dict[str, object]:
    stages: dict[str, object] = YAML(typ="safe").load(repository.read("dvc.lock"))["stages"]
    return stages


def test_stages_that_do_not_depend_on_each_other_are_at_work_at_once_and_leave_the_lock_of_dvc_repro(
    repository: Repository, server: PrefectServer
) -> None:
    repository.write("overtaken.py", OVERTAKEN)
    repository.replace("stages/train.sh", "set -e\n", "set -e\n[ $1 = a ] || python overtaken.py\n")
    (repository.folder / "dvc.lock").unlink()
    repository.commit("train@b waits for train@a")
    printed = ended(server, repository.folder, parallel=2)
    assert "2 ran; trained a, b\n" in printed
    left = stages_in_lock(repository)
    assert [*left] == [stage.name for stage in pipeline.read(repository.folder)]  # as one after another
    (repository.folder / "dvc.lock").unlink()
    repository.dvc("repro", "--quiet")
    assert left == stages_in_lock(repository)


@pytest.mark.slow
def test_one_out_of_time_ends_and_lets_the_one_beside_it_end_well(
    repository: Repository, server: PrefectServer
) -> None:
    folder = with_stages(repository, waits="python waits.py {out}", ends="touch {out}")
    limits = {"default": 60, "waits": 2}
    printed = ended(server, folder, parallel=2, timeout_seconds=limits)
    assert "ended: waits: " in printed
    assert "2.0 second(s)" in printed
    assert "worker thread" not in printed
    assert "the rest: " not in printed  # it has trained nothing, and was not said to have failed
    assert (folder / "ends.txt").exists()
    assert at_work_in(folder) == []


@pytest.mark.slow
def test_an_interrupted_run_leaves_none_of_its_stages_at_work(repository: Repository, server: PrefectServer) -> None:
    stage = "touch began-{out} && python waits.py {out}"
    folder = with_stages(repository, first=stage, second=stage)
    arguments, environment = command(server, folder, parallel=2)
    with running(arguments, env=environment, stderr=subprocess.PIPE) as run:
        wait_until(lambda: len(list(folder.glob("began-*"))) == 2, "two stages at work", 60)
        run.send_signal(signal.SIGINT)
        _, printed = run.communicate()
    assert run.returncode
    assert "first: interrupted" in printed
    assert "second: interrupted" in printed
    assert at_work_in(folder) == []


def test_stages_are_counted_with_the_threads_and_processes_of_their_params(
    repository: Repository, workspace: Workspace
) -> None:
    repository.replace("params.yaml", "  epochs: 3\n", "  epochs: 3\n  num_threads: 3\n  num_processes: 2\n")
    threads = {stage.name: stage.num_threads for stage in pipeline.read(repository.folder)}
    assert threads == {"collect": 1, "train@b": 6, "train@a": 6, "compare": 1}


@pytest.mark.parametrize(("num_threads", "fits"), [(1, True), (2, True), (3, False)])
def test_a_stage_waits_for_as_many_places_as_it_has_threads(workspace: Workspace, num_threads: int, fits: bool) -> None:
    small = Stage("small", frozenset(), is_stale=True, is_new=True)
    other = Stage("other", frozenset(), is_stale=True, is_new=True, num_threads=num_threads)
    at_work = side_by_side._SideBySide(workspace, 3, pull=False)
    assert at_work.has_place_for(other)
    at_work._at_work[Future()] = small, workspace.dvc
    assert at_work.has_place_for(other) == fits
    at_work._at_work.clear()


def test_by_default_there_are_as_many_places_as_processors_and_one_beside_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(THREADS, "5")
    monkeypatch.setattr(side_by_side, "GPU", tmp_path / "nvidia0")
    assert side_by_side.num_places() == 5
    (tmp_path / "nvidia0").touch()
    assert side_by_side.num_places() == 1
    monkeypatch.setenv(DEVICE, "cpu")
    assert side_by_side.num_places() == 5
    changed = settings.load().model_copy(update={"parallel": 3})
    monkeypatch.setattr(settings, "load", lambda: changed)
    assert side_by_side.num_places() == 3
