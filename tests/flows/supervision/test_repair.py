import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.supervision.dvc import Dvc, Outcome
from flows.supervision.repair import repair
from tests.flows.processes import WAITS, with_stages
from tests.flows.repositories import Repository
from tests.flows.services import running

pytest_plugins = ["tests.flows.repositories"]


def rwlock(repository: Repository, pid: int) -> Path:
    """Let a process hold a stage's output, as DVC notes it."""
    holder = {"pid": pid, "cmd": "dvc repro"}
    held = {"write": {str(repository.folder / "data/numbers.txt"): holder}, "read": {}}
    repository.write(".dvc/tmp/rwlock", json.dumps(held))
    return repository.folder / ".dvc/tmp/rwlock"


def test_a_sound_workspace_is_left_alone(repository: Repository) -> None:
    repository.replace("params.yaml", "size: 1", "size: 3")
    before = repository.read("dvc.lock")
    assert repair(repository.folder) == []
    assert repository.read("dvc.lock") == before
    assert repository.git("status", "--porcelain") == "M params.yaml"


@pytest.mark.parametrize("left", ["", "schema: '2.0'\nstages:\n  collect:\n", "schema: '2.0'\nstages:\n  coll"])
def test_a_lock_cut_short_comes_from_git_again(repository: Repository, left: str) -> None:
    whole = repository.read("dvc.lock")
    assert whole.startswith(left)
    repository.write("dvc.lock", left)
    assert repair(repository.folder) == ["dvc.lock was damaged: taken from Git again"]
    assert repository.read("dvc.lock") == whole
    assert repair(repository.folder) == []


def test_a_lock_that_was_never_committed_is_removed_and_the_run_cache_knows_the_results(
    repository: Repository, dvc: Dvc
) -> None:
    repository.git("rm", "--cached", "--quiet", "dvc.lock")
    repository.write("dvc.lock", "")
    assert repair(repository.folder) == ["dvc.lock was damaged and is not in Git: removed, the run cache restores it"]
    assert dvc.reproduce("collect", print) is Outcome.RESTORED


def test_an_emptied_dvc_file_comes_from_git_again_before_dvc_forgets_its_data(repository: Repository) -> None:
    whole = repository.read("data/raw/first.txt.dvc")
    repository.write("data/raw/first.txt.dvc", "")
    assert repair(repository.folder) == ["data/raw/first.txt.dvc was damaged: taken from Git again"]
    assert repository.read("data/raw/first.txt.dvc") == whole


def test_a_merge_in_progress_is_left_to_people(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "other")
    repository.replace("dvc.lock", "size:", "size: 1")
    repository.commit()
    repository.git("checkout", "--quiet", "main")
    repository.replace("dvc.lock", "size:", "size: 2")
    repository.commit()
    repository.run("git", "merge", "other", expected=1)
    conflict = repository.read("dvc.lock")
    repair(repository.folder)
    assert repository.read("dvc.lock") == conflict


def test_an_rwlock_cut_short_is_removed(repository: Repository, dvc: Dvc) -> None:
    repository.write(".dvc/tmp/rwlock", '{"write": {')
    assert repair(repository.folder) == ["rwlock was damaged: removed"]
    assert dvc.reproduce("collect", print) is Outcome.UP_TO_DATE


def test_an_rwlock_of_a_number_that_a_stranger_has_by_now_is_removed(repository: Repository) -> None:
    with running(["sleep", "600"]) as stranger:
        path = rwlock(repository, stranger.pid)
        assert repair(repository.folder) == ["rwlock named processes that are not DVC's any more: removed"]
    assert not path.exists()


def test_an_rwlock_of_a_living_dvc_is_kept(repository: Repository) -> None:
    folder = with_stages(repository, waits=WAITS)
    command = [sys.executable, "-m", "dvc", "repro", "waits"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with running(command, folder, stdout=subprocess.PIPE, env=environment) as person:
        assert person.stdout is not None
        while person.stdout.readline() != "began\n":
            assert person.poll() is None
        before = repository.read(".dvc/tmp/rwlock")
        assert repair(folder) == []
        assert repository.read(".dvc/tmp/rwlock") == before
        (folder / "go").touch()
        person.communicate()
    assert person.returncode == 0
