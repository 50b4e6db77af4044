import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.repository.workspace import in_place, product_of, state_folder
from rnnflow.runtime.errors import InputError
from tests.flows.repositories import Repository
from tests.flows.services import running

pytest_plugins = ["tests.flows.repositories"]

IN_PLACE = """
import sys
from pathlib import Path
from flows.repository.workspace import in_place
with in_place(Path(sys.argv[1]), ".", allow_dirty=False) as workspace:
    print(workspace.folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def process_in(program: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a process that works in a workspace until its input ends, and return it with the workspace's folder."""
    command = [sys.executable, "-c", program, *arguments]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.stdin.close()
        process.wait()


def runs() -> list[str]:
    return sorted(path.name for path in (state_folder() / "runs").iterdir())


def refused(enter: Callable[[], object]) -> str:
    with pytest.raises(InputError) as raised:
        enter()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def enter_in_place(folder: Path, *, allow_dirty: bool = False) -> None:
    with in_place(folder, ".", allow_dirty=allow_dirty):
        pass


@pytest.mark.parametrize("inside", [".", "data/raw"])
def test_the_work_tree_is_the_workspace_wherever_in_it_one_stands(repository: Repository, inside: str) -> None:
    with in_place(repository.folder / inside, "origin", allow_dirty=False) as workspace:
        assert workspace.folder == repository.folder
        assert workspace.base == repository.git("rev-parse", "HEAD")
        assert workspace.repository == str(repository.origin)
        assert not workspace.is_clone
        assert workspace.dvc.environment == {}


def test_a_part_of_a_larger_repository_is_known_by_its_place_in_it(repository: Repository) -> None:
    assert product_of(repository.folder / "data/raw") == "."
    part = repository.folder / "products/a part"
    (part / ".dvc").mkdir(parents=True)
    (part / "data").mkdir()
    assert product_of(part) == product_of(part / "data") == "products/a part"


def test_the_base_is_the_commit_that_is_checked_out_not_that_of_origin(repository: Repository) -> None:
    ahead = repository.commit("not pushed")
    with in_place(repository.folder, ".", allow_dirty=False) as workspace:
        assert workspace.base == ahead


def test_a_folder_outside_of_git_is_refused(tmp_path: Path) -> None:
    assert "not a git repository" in refused(lambda: enter_in_place(tmp_path))


def test_a_git_repository_without_dvc_is_refused(tmp_path: Path) -> None:
    Repository(tmp_path).git("init", "--quiet")
    assert refused(lambda: enter_in_place(tmp_path)).startswith(f"{tmp_path}: not a DVC repository; ")


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    Repository(tmp_path).git("init", "--quiet")
    (tmp_path / ".dvc").mkdir()
    assert refused(lambda: enter_in_place(tmp_path)) == f"{tmp_path}: nothing is committed yet; `git commit` first"


def test_changed_files_are_named_and_refused(repository: Repository) -> None:
    repository.write("params.yaml", "changed: true\n")
    assert refused(lambda: enter_in_place(repository.folder)) == (
        "params.yaml: changed and not committed; commit, use --isolated, or say --allow-dirty"
    )


def test_staged_deleted_and_added_files_count_and_many_are_counted(repository: Repository) -> None:
    repository.write("data/raw/a new file.md", "x")
    repository.git("add", "data/raw")
    repository.write("params.yaml", "changed: true\n")
    (repository.folder / "stages/train.sh").unlink()
    repository.write(".dvc/config", "")
    repository.git("add", "stages")
    said = refused(lambda: enter_in_place(repository.folder / "data"))
    assert said.startswith(".dvc/config, data/raw/a new file.md, params.yaml and 1 more: changed and not committed")


def test_changed_files_are_accepted_if_one_says_so(repository: Repository) -> None:
    repository.write("params.yaml", "changed: true\n")
    with in_place(repository.folder, ".", allow_dirty=True):
        assert repository.read("params.yaml") == "changed: true\n"


def test_what_dvc_itself_changes_and_untracked_files_are_no_local_changes(repository: Repository) -> None:
    for path in ("dvc.lock", "data/raw/.gitignore", ".gitignore", "data/raw/first.txt.dvc"):
        repository.write(path, f"{repository.read(path)}\n")
    repository.write("notes.txt", "not tracked")
    assert repository.git("diff", "--name-only").count("\n") == 3
    enter_in_place(repository.folder)


def test_a_second_run_is_refused_while_one_is_at_work(repository: Repository) -> None:
    with in_place(repository.folder, ".", allow_dirty=False):
        said = refused(lambda: enter_in_place(repository.folder / "data"))
    assert said == f"{repository.folder}: another run is at work here; wait for it or use --isolated"
    enter_in_place(repository.folder)


def test_a_run_that_was_killed_holds_nobody_up(repository: Repository) -> None:
    with process_in(IN_PLACE, str(repository.folder)) as (process, folder):
        assert folder == repository.folder
        assert "another run is at work" in refused(lambda: enter_in_place(repository.folder))
        process.kill()
        process.wait()
        enter_in_place(repository.folder)


def test_the_lock_is_free_after_a_failure_and_not_seen_by_git(repository: Repository) -> None:
    with pytest.raises(KeyboardInterrupt), in_place(repository.folder, ".", allow_dirty=False):
        raise KeyboardInterrupt
    enter_in_place(repository.folder)
    assert repository.git("status", "--short") == ""
