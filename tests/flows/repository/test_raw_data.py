import shutil
from pathlib import Path

import pytest

from flows.repository import pipeline, raw_data
from flows.repository.workspace import Workspace
from flows.supervision.dvc import StageError
from rnnflow.runtime.errors import InputError
from tests.flows.repositories import Repository

pytest_plugins = ["tests.flows.repositories"]


def track_new_data(workspace: Workspace) -> str:
    lines: list[str] = []
    return raw_data.track_new_data(workspace, lines.append)


def changed(repository: Repository) -> list[str]:
    return repository.git("status", "--short", "--untracked-files=all").splitlines()


def is_stale(repository: Repository) -> bool:
    return pipeline.read(repository.folder)[0].is_stale


def test_nothing_new_changes_nothing(repository: Repository, workspace: Workspace) -> None:
    assert track_new_data(workspace) == "0 imports looked at, nothing new"
    assert changed(repository) == []
    assert not is_stale(repository)


def test_new_files_and_folders_and_changed_ones_are_taken_in_and_the_rest_left_alone(
    repository: Repository, workspace: Workspace
) -> None:
    repository.write("data/raw/june/a.txt", "7\n")
    repository.write("data/raw/june/b/c.txt", "8\n")
    repository.write("data/raw/a line, ü [1].txt", "9\n")
    repository.write("data/raw/first.txt", "1\n2\n3\n")
    repository.write("data/raw/README.md", "changed by hand\n")
    repository.write("data/raw/half-written.tmp", "x")
    repository.write("data/raw/being-copied/a.tmp", "x")
    repository.write(".dvcignore", "*.tmp\n")
    repository.write("elsewhere.txt", "x")
    (repository.folder / "data/raw/void").mkdir()
    assert track_new_data(workspace) == "new: data/raw/first.txt, data/raw/a line, ü [1].txt, data/raw/june"
    tracked = {source.path for source in pipeline.sources(repository.folder)}
    assert tracked == {"data/raw/first.txt", "data/raw/june", "data/raw/a line, ü [1].txt"}
    repository.git("add", "--all")
    assert set(repository.git("diff", "--cached", "--name-only", "-z").split("\0")) - {""} == {
        ".dvcignore",
        "data/raw/.gitignore",
        "data/raw/README.md",
        "data/raw/a line, ü [1].txt.dvc",
        "data/raw/being-copied/a.tmp",
        "data/raw/first.txt.dvc",
        "data/raw/half-written.tmp",
        "data/raw/june.dvc",
        "elsewhere.txt",
    }
    assert pipeline.changed_data(repository.folder) == []
    assert repository.read("data/raw/README.md") == "changed by hand\n"
    assert is_stale(repository)
    assert track_new_data(workspace) == "0 imports looked at, nothing new"


def test_a_new_file_beside_what_is_tracked_already_is_taken_in_alone(
    repository: Repository, workspace: Workspace
) -> None:
    repository.write("data/raw/2026/may.txt", "5\n")
    repository.write("data/raw/2026/june/a.txt", "6\n")
    repository.dvc("add", "--quiet", "data/raw/2026/may.txt", "data/raw/2026/june")  # and committed by nobody yet
    repository.write("data/raw/2026/july.txt", "7\n")
    assert track_new_data(workspace) == "new: data/raw/2026/july.txt"
    assert {source.path for source in pipeline.sources(repository.folder)} == {
        "data/raw/first.txt",
        "data/raw/2026/may.txt",
        "data/raw/2026/june",
        "data/raw/2026/july.txt",
    }
    repository.commit("deliveries")
    repository.write("data/raw/2026/august/a.txt", "8\n")
    repository.write("data/raw/2026/june/b.txt", "9\n")
    assert track_new_data(workspace) == "new: data/raw/2026/june, data/raw/2026/august"


def test_a_folder_that_grows_elsewhere_is_brought_up_to_date(
    repository: Repository, workspace: Workspace, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "one.txt").write_text("11\n")
    repository.dvc("import-url", "--quiet", str(archive), "data/raw/archive")
    repository.commit("import")
    assert track_new_data(workspace) == "1 imports looked at, nothing new"
    assert changed(repository) == []
    (archive / "two.txt").write_text("12\n")
    assert track_new_data(workspace) == "new: data/raw/archive"
    assert changed(repository) == ["M data/raw/archive.dvc"]
    assert repository.read("data/raw/archive/two.txt") == "12\n"
    assert is_stale(repository)
    shutil.rmtree(archive)
    with pytest.raises(StageError, match=f"dependency '{archive}' does not exist"):
        track_new_data(workspace)


def test_data_that_is_here_is_enough(workspace: Workspace) -> None:
    raw_data.require(workspace, pipeline.read(workspace.folder), print)


def test_data_that_is_not_here_is_named_with_what_to_do(repository: Repository, workspace: Workspace) -> None:
    (repository.folder / "data/raw/first.txt").unlink()
    with pytest.raises(InputError) as raised:
        raw_data.require(workspace, pipeline.read(workspace.folder), print)
    assert str(raised.value) == (
        "data/raw/first.txt: tracked by data/raw/first.txt.dvc and not here; push it to the remote from where it is "
        "(`dvc push data/raw/first.txt.dvc`) and let the run pull"
    )


def test_data_that_a_stage_does_not_need_may_be_missing(repository: Repository, workspace: Workspace) -> None:
    repository.write("other/a.txt", "1\n")
    repository.dvc("add", "--quiet", "other/a.txt")
    (repository.folder / "other/a.txt").unlink()
    raw_data.require(workspace, pipeline.read(repository.folder), print)
