import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from flows.stage import ending_in_one_line
from flows.supervision.dvc import Failure, StageError
from rnnflow.runtime.errors import InputError
from tests.flows.repositories import Repository
from tests.flows.services import running

pytest_plugins = ["tests.flows.repositories"]

ISOLATED = """
import sys
from pathlib import Path
from flows.repository import pipeline
from flows.repository.workspace import isolated
from flows.stage import _alone_at
with isolated(Path(sys.argv[1]), ".", "HEAD", sys.argv[2]) as workspace:
    workspace.dvc.run(["checkout", "--allow-missing"], print)
    stage = next(stage for stage in pipeline.read(workspace.folder) if stage.name == "collect")
    with _alone_at(stage, workspace, print):
        print("outcome:", workspace.dvc.reproduce(stage.name, print), flush=True)
"""


def raising(error: Exception) -> Callable[[], str]:
    def run() -> str:
        raise error

    return run


def test_a_step_ends_with_what_it_returned() -> None:
    state = ending_in_one_line(lambda: "3 stages: 3 ran")()
    assert (state.is_completed(), state.message) == (True, "3 stages: 3 ran")


def test_a_mistake_names_the_state() -> None:
    state = ending_in_one_line(raising(InputError("params.yaml: train.epochs: missing")))()
    assert (state.name, state.message) == ("InputError", "params.yaml: train.epochs: missing")


def test_what_the_machine_refuses_for_a_while_is_a_failure_that_may_pass() -> None:
    state = ending_in_one_line(raising(OSError(errno.ESTALE, os.strerror(errno.ESTALE), "runs/1")))()
    assert state.message == "runs/1: Stale file handle"
    assert isinstance(state.data, StageError)
    assert state.data.failure is Failure.TRANSIENT


def test_any_other_error_of_the_system_keeps_its_traceback() -> None:
    with pytest.raises(PermissionError):
        ending_in_one_line(raising(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "runs")))()


@pytest.mark.slow
def test_of_runs_of_one_commit_at_once_one_makes_a_stage_and_the_other_takes_its_result(repository: Repository) -> None:
    (repository.folder / "dvc.lock").unlink()
    repository.replace("stages/collect.sh", "set -e\n", "set -e\nsleep 3\n")
    repository.write("data/raw/second.txt", "3\n")  # in Git
    repository.commit("nothing has run")
    (repository.folder / "data/raw/first.txt.dvc").unlink()
    repository.commit("no data in DVC")
    command = [sys.executable, "-c", ISOLATED, str(repository.folder)]
    with ExitStack() as stack:
        runs = [stack.enter_context(running([*command, name], stdout=subprocess.PIPE)) for name in ("a", "b")]
        printed = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    outcomes = sorted(line for text in printed for line in text.splitlines() if line.startswith("outcome: "))
    assert outcomes == ["outcome: ran", "outcome: restored from the run cache"], printed
    assert any("another run is at work on the same collect; waiting" in text for text in printed)
