import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.repository import git as git_module
from flows.repository.git import author, commit_id, git
from flows.supervision.dvc import Failure, StageError
from rnnflow.runtime.errors import InputError
from tests.flows.repositories import Repository
from tests.flows.services import wait_for_deaths

pytest_plugins = ["tests.flows.repositories"]


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Git repository on a machine on which nobody has told Git a name."""
    for name in [name for name in os.environ if name.startswith(("GIT_AUTHOR", "GIT_COMMITTER")) or name == "EMAIL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "nobody"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "config", "user.useConfigOnly", "true")  # some machines have a name that would do
    return folder


def test_what_git_prints_is_returned_without_the_end_of_its_last_line(repository: Repository) -> None:
    assert git(repository.folder, "log", "--format=%s") == "remote\nresults\nproject"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("show", "nowhere"), "git show: ambiguous argument 'nowhere': unknown revision"),
        (("clone", "/nowhere", "x"), "git clone: repository '/nowhere' does not exist"),
        (("frobnicate",), "git frobnicate: git: 'frobnicate' is not a git command"),
        (("fetch", "/nowhere"), "git fetch: '/nowhere' does not appear to be a git repository"),
        (("rev-parse", "--verify", "--quiet", "nowhere"), "git rev-parse: $"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_command(
    repository: Repository, command: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        git(repository.folder, *command)
    assert re.match(message, str(raised.value))
    assert "\n" not in str(raised.value)


def test_a_refusal_of_ssh_is_not_hidden_behind_what_git_makes_of_it(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", "echo 'Permission denied (publickey).' >&2; exit 255;")
    with pytest.raises(InputError) as raised:
        git(repository.folder, "fetch", "ssh://git@host.example/x")
    assert str(raised.value) == "git fetch: Permission denied (publickey).; Could not read from remote repository."


def test_a_hook_of_the_other_side_is_heard(repository: Repository) -> None:
    hook = repository.origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho no pushes on Sundays >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(InputError) as raised:
        git(repository.folder, "push", "--quiet", "origin", "HEAD:refs/heads/new")
    assert str(raised.value) == (
        "git push: remote: no pushes on Sundays; ! [remote rejected] HEAD -> new (pre-receive hook declined)"
    )


def test_nobody_is_asked_for_a_password(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "1")
    said = git(repository.folder, "-c", "alias.said=!echo $GIT_TERMINAL_PROMPT $LC_ALL", "said")
    assert said == "0 C"


def test_the_environment_of_a_call_is_of_that_call_alone(repository: Repository) -> None:
    with_index = git(repository.folder, "status", "--short", environment={"GIT_INDEX_FILE": "/nowhere"})
    assert "D  dvc.yaml" in with_index
    assert git(repository.folder, "status", "--short") == ""


def test_a_commit_is_found_by_branch_tag_and_hash(repository: Repository) -> None:
    head = repository.git("rev-parse", "HEAD")
    results = repository.git("rev-parse", "HEAD~1")
    repository.git("tag", "--annotate", "--message=x", "v1", results)
    assert commit_id(repository.folder, "main") == head
    assert commit_id(repository.folder, "HEAD") == head
    assert commit_id(repository.folder, "HEAD~1") == results
    assert commit_id(repository.folder, "v1") == results
    assert commit_id(repository.folder, results) == results
    assert commit_id(repository.folder, results[:8]) == results


def test_the_branch_of_origin_comes_before_a_local_one(repository: Repository) -> None:
    before = repository.git("rev-parse", "HEAD")
    repository.commit("not pushed")
    assert commit_id(repository.folder, "main") == before


@pytest.mark.parametrize("revision", ["nowhere", "", "--all", "-n1", "dvc.yaml", "HEAD:dvc.yaml", "0" * 40, "a b"])
def test_what_is_no_commit_is_not_found(repository: Repository, revision: str) -> None:
    assert commit_id(repository.folder, revision) is None


def test_the_machines_own_identity_signs(repository: Repository) -> None:
    assert author(repository.folder) == {}


def test_rnnflow_signs_where_the_machine_has_no_identity(nobody: Path) -> None:
    git(nobody, "commit", "--quiet", "--allow-empty", "--message=x", environment=author(nobody))
    assert git(nobody, "log", "--format=%an %ae %cn %ce") == "rnnflow rnnflow@localhost rnnflow rnnflow@localhost"


def test_a_network_that_is_away_may_be_there_again_later(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="git ls-remote: ") as raised:
        git(tmp_path, "ls-remote", "http://127.0.0.1:9/repository.git")
    assert raised.value.failure is Failure.TRANSIENT


@pytest.fixture
def silent() -> Iterator[str]:
    """Host and port of a server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def transient_failure(folder: Path, url: str) -> str:
    with pytest.raises(StageError) as raised:
        git(folder, "ls-remote", url)
    assert raised.value.failure is Failure.TRANSIENT
    wait_for_deaths([process for process in psutil.process_iter(["cmdline"]) if url in (process.info["cmdline"] or ())])
    return str(raised.value)


def test_a_server_that_falls_silent_is_given_up(tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_HTTP_LOW_SPEED_TIME", "1")
    assert "too slow" in transient_failure(tmp_path, f"http://{silent}/repository")


@pytest.mark.parametrize("scheme", ["git", "http"])
def test_a_command_ends_in_time_with_all_it_has_started(
    tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(git_module, "MAX_SECONDS", 1.0)
    message = transient_failure(tmp_path, f"{scheme}://{silent}/repository")
    assert message == "git ls-remote: has not ended within 1 s; the other side may be silent"


def test_a_token_is_not_told_with_gits_own_words(tmp_path: Path) -> None:
    with pytest.raises((InputError, StageError)) as raised:
        git(tmp_path, "ls-remote", "https://user:planted-secret@127.0.0.1:9/repository")
    assert "planted-secret" not in str(raised.value)
    assert "127.0.0.1:9" in str(raised.value)
