from pathlib import Path

import pytest

from flows.repository import publishing
from flows.repository.workspace import Workspace, isolated
from flows.supervision.dvc import Dvc
from tests.flows.repositories import Repository, state_of

pytest_plugins = ["tests.flows.repositories"]


def changed_files(repository: Repository, commit: str) -> dict[str, str]:
    """Return what the commit did to each file: M, A or D."""
    listed = repository.git("diff-tree", "-r", "-z", "--no-commit-id", "--name-status", commit).strip("\0").split("\0")
    return dict(zip(listed[1::2], listed[::2], strict=True)) if listed != [""] else {}


def test_a_snapshot_holds_the_tracked_changes_and_the_new_files_of_dvc(
    repository: Repository, workspace: Workspace
) -> None:
    repository.write("params.yaml", "changed: true\n")
    (repository.folder / "stages/compare.sh").unlink()
    repository.write("dvc.lock", "changed\n")
    for new in ("data/raw/june.dvc", "data/raw/a folder/[1] ü.dvc", "new/.gitignore", "notes.txt", "stages/new.sh"):
        repository.write(new, "new\n")
    repository.write("data/numbers.txt", "ignored\n")
    commit = publishing.snapshot(workspace, "Retrain: by hand\n\nFlow run 1.")
    assert changed_files(repository, commit) == {
        "params.yaml": "M",
        "stages/compare.sh": "D",
        "dvc.lock": "M",
        "data/raw/june.dvc": "A",
        "data/raw/a folder/[1] ü.dvc": "A",
        "new/.gitignore": "A",
    }
    assert repository.git("show", f"{commit}:params.yaml") == "changed: true"
    assert repository.git("log", "-1", "--format=%P %s|%b", commit) == f"{workspace.base} Retrain: by hand|Flow run 1."


def test_a_lock_that_was_never_committed_is_new(repository: Repository, dvc: Dvc) -> None:
    repository.git("rm", "--quiet", "--cached", "dvc.lock")
    repository.git("commit", "--quiet", "--message=no lock")
    workspace = Workspace(
        repository.folder,
        repository.git("rev-parse", "HEAD"),
        str(repository.origin),
        dvc,
        repository.folder / ".rnnflow",
        "rnnflow",
    )
    assert changed_files(repository, publishing.snapshot(workspace, "x")) == {"dvc.lock": "A"}


def test_a_snapshot_leaves_index_branch_and_files_alone(repository: Repository, workspace: Workspace) -> None:
    repository.write("params.yaml", "staged: true\n")
    repository.write("staged.txt", "staged\n")
    repository.git("add", "params.yaml", "staged.txt")
    repository.git("rm", "--quiet", "--cached", "stages/compare.sh")
    repository.write("params.yaml", "changed: after that\n")
    repository.write("data/raw/june.dvc", "new\n")
    before = state_of(repository)
    commit = publishing.snapshot(workspace, "x")
    assert state_of(repository) == before
    assert changed_files(repository, commit) == {"params.yaml": "M", "data/raw/june.dvc": "A"}
    assert repository.git("show", f"{commit}:params.yaml") == "changed: after that"


def test_a_snapshot_starts_from_the_base_whatever_was_committed_since(
    repository: Repository, workspace: Workspace
) -> None:
    repository.write("params.yaml", "committed: meanwhile\n")
    repository.commit()
    commit = publishing.snapshot(workspace, "x")
    assert repository.git("rev-parse", f"{commit}^") == workspace.base
    assert changed_files(repository, commit) == {"params.yaml": "M"}


def test_a_snapshot_can_follow_another_one(repository: Repository, workspace: Workspace) -> None:
    repository.write("dvc.lock", "one\n")
    first = publishing.snapshot(workspace, "first")
    repository.write("dvc.lock", "two\n")
    second = publishing.snapshot(workspace, "second", first)
    assert repository.git("rev-parse", f"{second}^") == first
    assert changed_files(repository, second) == {"dvc.lock": "M"}


def test_a_snapshot_of_a_detached_clone_is_signed_even_where_nobody_has_a_name(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with isolated(repository.folder, ".", "main", "run") as workspace:
        clone = Repository(workspace.folder)
        clone.git("config", "user.useConfigOnly", "true")
        clone.write("dvc.lock", "changed\n")
        commit = publishing.snapshot(workspace, "x")
        assert clone.git("log", "-1", "--format=%an <%ae>", commit) == "rnnflow <rnnflow@localhost>"


def test_only_another_content_is_a_change(repository: Repository, workspace: Workspace) -> None:
    repository.write("notes.txt", "not tracked\n")
    (repository.folder / "params.yaml").touch()
    assert not publishing.has_changes(workspace, publishing.snapshot(workspace, "x"))
    repository.write("dvc.lock", "changed\n")
    assert publishing.has_changes(workspace, publishing.snapshot(workspace, "x"))
