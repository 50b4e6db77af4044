from pathlib import Path

import pytest

from flows.repository import publishing
from flows.repository.workspace import Workspace, isolated, on_top_of
from flows.supervision.dvc import Failure, StageError
from rnnflow.runtime.errors import InputError
from tests.flows.repositories import Repository, later, state_of

pytest_plugins = ["tests.flows.repositories"]


def test_a_pushed_branch_holds_the_snapshot_and_is_moved_forward_alone_and_removed(
    repository: Repository, workspace: Workspace
) -> None:
    origin = Repository(repository.origin)
    repository.write("dvc.lock", "one\n")
    first = publishing.snapshot(workspace, "first")
    before = state_of(repository)
    assert publishing.push(workspace, first, "auto/1") == "auto/1"
    assert origin.git("rev-parse", "auto/1") == first
    other = publishing.snapshot(workspace, "not a child of the first")
    with pytest.raises(StageError) as raised:
        publishing.push(workspace, other, "auto/1")
    assert raised.value.failure is Failure.TRANSIENT  # another run was faster; the next try stands on its result
    publishing.push(workspace, publishing.snapshot(workspace, "a child", first), "auto/1")
    publishing.remove(workspace, "auto/1")
    assert origin.git("branch", "--format=%(refname:short)") == "main"
    assert state_of(repository) == before


def test_what_is_published_stands_on_the_base_and_on_what_was_published_before(
    repository: Repository, workspace: Workspace
) -> None:
    def publish(text: str, after: Workspace) -> tuple[str, list[str]]:
        repository.write("dvc.lock", text)
        parents = publishing.parents(after, "auto/main")
        return publishing.push(after, publishing.snapshot(after, text, *parents), "auto/main"), parents

    def tip() -> str:
        return Repository(repository.origin).git("rev-parse", "auto/main")

    assert publish("one\n", workspace)[1] == [workspace.base]
    first = tip()
    assert publish("two\n", workspace)[1] == [first]
    second = tip()
    repository.git("checkout", "--quiet", "--", "dvc.lock")
    repository.write("README.md", "new\n")
    repository.git("add", "README.md")
    repository.git("commit", "--quiet", "--message=new base")
    moved = later(repository, workspace)
    assert publish("three\n", moved)[1] == [moved.base, second]
    third = tip()
    assert repository.git("show", f"{third}:README.md") == "new"
    assert repository.git("show", f"{third}:dvc.lock") == "three"
    assert publishing.published_as(moved, third) == "auto/main"
    repository.git("checkout", "--quiet", "--", "dvc.lock")
    repository.git("merge", "--quiet", "--ff-only", third)
    merged = later(repository, workspace)
    assert publishing.parents(merged, "auto/main") == [merged.base]


@pytest.mark.parametrize(("revision", "branch"), [("main", "main"), ("HEAD", "main"), ("v1", None), ("nowhere", None)])
def test_a_revision_names_a_branch_or_none(repository: Repository, revision: str, branch: str | None) -> None:
    Repository(repository.origin).git("tag", "v1", "main")
    with isolated(repository.folder, str(repository.origin), "main", "run") as clone:
        assert publishing.branch_of(clone, revision) == branch
        assert publishing.branch_of(clone, clone.base) is None


def test_a_work_tree_brings_forward_the_branch_that_is_checked_out(
    repository: Repository, workspace: Workspace
) -> None:
    assert publishing.branch_of(workspace, "HEAD") == "main"
    repository.git("checkout", "--quiet", "--detach")
    assert publishing.branch_of(workspace, "HEAD") is None


def test_a_clone_can_go_on_from_what_the_branch_has_become(repository: Repository) -> None:
    with isolated(repository.folder, str(repository.origin), "main", "run") as clone:
        assert publishing.head(clone, "main") == clone.base
        Repository(clone.folder).write("dvc.lock", "made meanwhile\n")
        repository.write("README.md", "new\n")
        pushed = repository.commit("new")
        repository.git("push", "--quiet", "origin", "main")
        moved = on_top_of(clone, publishing.head(clone, "main"))
        assert moved.base == pushed
        assert not publishing.has_changes(moved, publishing.snapshot(moved, "x"))


def test_a_push_from_a_clone_arrives_in_the_work_tree_that_it_was_cloned_from(repository: Repository) -> None:
    with isolated(repository.folder, ".", "main", "run") as workspace:
        Repository(workspace.folder).write("dvc.lock", "changed\n")
        commit = publishing.snapshot(workspace, "x")
        publishing.push(workspace, commit, "auto/1")
    assert repository.git("rev-parse", "auto/1") == commit
    assert repository.git("status", "--short") == ""


def test_an_earlier_identical_result_is_found_by_its_branch(repository: Repository, workspace: Workspace) -> None:
    repository.write("dvc.lock", "one\n")
    assert publishing.published_as(workspace, publishing.snapshot(workspace, "x")) is None
    publishing.push(workspace, publishing.snapshot(workspace, "first"), "auto/1")
    assert publishing.published_as(workspace, publishing.snapshot(workspace, "second")) == "auto/1"
    repository.write("dvc.lock", "two\n")
    assert publishing.published_as(workspace, publishing.snapshot(workspace, "third")) is None


def test_the_same_result_is_known_again_whatever_else_was_committed_since(
    repository: Repository, workspace: Workspace
) -> None:
    repository.write("dvc.lock", "one\n")
    publishing.push(workspace, publishing.snapshot(workspace, "first"), "auto/1")
    repository.write("README.md", "new\n")
    repository.git("add", "README.md")
    repository.git("commit", "--quiet", "--message=new base", "README.md")
    second = later(repository, workspace)
    assert publishing.published_as(second, publishing.snapshot(second, "second")) == "auto/1"


def test_the_same_result_after_another_one_was_merged_is_another_change(
    repository: Repository, workspace: Workspace
) -> None:
    repository.write("dvc.lock", "one\n")
    publishing.push(workspace, publishing.snapshot(workspace, "first"), "auto/1")
    repository.write("dvc.lock", "two\n")
    repository.git("commit", "--quiet", "--message=merged", "dvc.lock")
    repository.write("dvc.lock", "one\n")
    second = later(repository, workspace)
    assert publishing.published_as(second, publishing.snapshot(second, "second")) is None


def test_merged_branches_are_removed_and_others_left(repository: Repository, workspace: Workspace) -> None:
    repository.write("dvc.lock", "one\n")
    merged = publishing.snapshot(workspace, "merged")
    publishing.push(workspace, merged, "auto/merged")
    publishing.push(workspace, publishing.snapshot(workspace, "waits"), "auto/waits")
    publishing.push(workspace, merged, "person/own")
    publishing.push(workspace, merged, repository.git("branch", "--show-current"))
    assert publishing.remove_merged(workspace) == []  # a work tree is not asked
    with isolated(repository.folder, str(repository.origin), "HEAD", "run") as clone:
        assert publishing.remove_merged(clone) == ["auto/merged"]
        assert publishing.branches(clone, "auto/") == ["auto/waits"]
        assert publishing.branches(clone, "person/") == ["person/own"]
        assert publishing.remove_merged(clone) == []


def test_a_branch_that_is_no_result_or_is_gone_is_not_found(repository: Repository, workspace: Workspace) -> None:
    repository.write("dvc.lock", "one\n")
    commit = publishing.snapshot(workspace, "x")
    publishing.push(workspace, commit, "work/1")
    publishing.push(workspace, workspace.base, "auto/0")
    assert publishing.published_as(workspace, commit) is None
    publishing.push(workspace, commit, "auto/1")
    assert publishing.published_as(workspace, commit) == "auto/1"
    publishing.remove(workspace, "auto/1")
    assert publishing.published_as(workspace, commit) is None


def test_looking_for_earlier_results_brings_neither_branches_nor_tags_into_a_persons_repository(
    repository: Repository, workspace: Workspace
) -> None:
    repository.write("dvc.lock", "one\n")
    commit = publishing.snapshot(workspace, "x")
    publishing.push(workspace, commit, "auto/1")
    Repository(repository.origin).git("tag", "published", commit)
    before = state_of(repository), repository.git("tag"), (repository.folder / ".git/FETCH_HEAD").read_bytes()
    assert publishing.published_as(workspace, commit) == "auto/1"
    after = state_of(repository), repository.git("tag"), (repository.folder / ".git/FETCH_HEAD").read_bytes()
    assert after == before


def test_a_refusal_of_the_repository_is_one_line_in_its_own_words(repository: Repository, workspace: Workspace) -> None:
    hook = repository.origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'no room for results'\nexit 1\n")
    hook.chmod(0o755)
    commit = publishing.snapshot(workspace, "x")
    with pytest.raises(InputError) as raised:
        publishing.push(workspace, commit, "auto/1")
    assert str(raised.value) == (
        f"git push: remote: no room for results; ! [remote rejected] {commit} -> auto/1 (pre-receive hook declined)"
    )


def test_a_repository_that_is_gone_is_told_in_one_line(workspace: Workspace, tmp_path: Path) -> None:
    gone = Workspace(
        workspace.folder, workspace.base, str(tmp_path / "gone"), workspace.dvc, workspace.state, "rnnflow"
    )
    for step in (lambda: publishing.push(gone, gone.base, "auto/1"), lambda: publishing.published_as(gone, gone.base)):
        with pytest.raises(InputError) as raised:
            step()
        assert f"'{tmp_path}/gone' does not appear to be a git repository" in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("https://host.example/us/project.git", "https://host.example/us/project/tree/auto/1"),
        ("https://host.example/us/project/", "https://host.example/us/project/tree/auto/1"),
        ("http://me:secret@host.example:8080/project", "http://host.example:8080/project/tree/auto/1"),
        ("git@host.example:us/project.git", "https://host.example/us/project/tree/auto/1"),
        ("host.example:/us/project.git", "https://host.example/us/project/tree/auto/1"),
        ("ssh://git@host.example/us/project.git", "https://host.example/us/project/tree/auto/1"),
        ("ssh://host.example:2222/us/project", "https://host.example/us/project/tree/auto/1"),
        ("/srv/a project.git", "file:///srv/a%20project.git#auto/1"),
        ("file:///srv/project.git", "file:///srv/project.git#auto/1"),
        ("git://host.example/project", "git://host.example/project#auto/1"),
    ],
)
def test_the_address_is_what_a_browser_opens_and_holds_no_password(repository: str, expected: str) -> None:
    assert publishing.address(repository, "auto/1") == expected
