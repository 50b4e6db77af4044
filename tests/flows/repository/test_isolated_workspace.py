"""A clone of its own for a run, which is gone afterwards."""

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from flows.repository import pipeline
from flows.repository.workspace import isolated, resolve, state_folder
from rnnflow.runtime.errors import InputError
from tests.flows.repositories import Repository
from tests.flows.repository.test_workspace import process_in, refused, runs
from tests.flows.services import is_alive, running

pytest_plugins = ["tests.flows.repositories"]

ISOLATED = """
import sys
from pathlib import Path
from flows.repository.workspace import isolated
with isolated(Path(sys.argv[1]), ".", "HEAD", sys.argv[2]) as workspace:
    print(workspace.folder, flush=True)
    sys.stdin.read()
"""


WITH_A_CHILD = ISOLATED.replace(
    "    sys.stdin.read()",
    "    import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()",
)


MANY_RUNS = """
import sys
from pathlib import Path
from flows.repository.workspace import isolated
for number in range(5):
    with isolated(Path(sys.argv[1]), ".", "HEAD", f"{sys.argv[2]}-{number}") as workspace:
        assert (workspace.folder / "dvc.yaml").exists()
"""


def enter_isolated(folder: Path, repository: str = ".", revision: str = "HEAD", name: str = "run") -> None:
    with isolated(folder, repository, revision, name):
        pass


@pytest.mark.parametrize("revision", ["main", "HEAD", "v1", "branch", "v1~1", "refs/tags/v1", "sha", "short sha"])
def test_the_clone_is_of_the_branch_tag_or_commit_that_was_asked_for(repository: Repository, revision: str) -> None:
    main = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", "-b", "branch")
    branch = repository.commit("on the branch")
    repository.git("checkout", "--quiet", "main")
    repository.git("tag", "--annotate", "--message=first", "v1", "main~1")
    commits = {"branch": branch, "v1": f"{main}~1", "v1~1": f"{main}~2", "refs/tags/v1": f"{main}~1"}
    wanted = repository.git("rev-parse", commits.get(revision, main))
    revision = {"sha": main, "short sha": main[:9]}.get(revision, revision)
    with isolated(repository.folder, ".", revision, "run") as workspace:
        assert workspace.base == wanted
        assert workspace.folder == state_folder() / "runs/run"
        clone = Repository(workspace.folder)
        assert clone.git("rev-parse", "HEAD") == wanted
        assert clone.git("status", "--short") == ""
        assert workspace.is_clone
        assert workspace.dvc.environment == {"RNNFLOW_STATE": str(state_folder())}


@pytest.mark.parametrize("form", [".", "origin", "relative", "../origin.git", "path", "URL"])
@pytest.mark.parametrize("inside", [".", "data/raw"])
def test_the_repository_is_named_as_for_git_fetch(repository: Repository, form: str, inside: str) -> None:
    repository.git("remote", "add", "relative", "../origin.git")
    pushed = repository.git("rev-parse", "HEAD")
    own = repository.commit("not pushed")
    spelt = {"path": str(repository.origin), "URL": repository.origin.as_uri()}.get(form, form)
    if spelt.startswith("..") and inside != ".":
        spelt = os.path.relpath(repository.origin, repository.folder / inside)
    with isolated(repository.folder / inside, spelt, "main", "run") as workspace:
        assert workspace.base == (own if form == "." else pushed)
        expected = {".": str(repository.folder), "URL": repository.origin.as_uri()}
        assert workspace.repository == expected.get(form, str(repository.origin))


def test_a_detached_head_is_found(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--detach")
    ahead = repository.commit("on no branch")
    with isolated(repository.folder, ".", "HEAD", "run") as workspace:
        assert workspace.base == ahead


def test_a_commit_that_no_branch_holds_is_found_by_its_ref(repository: Repository) -> None:
    commit = repository.commit("on no branch")
    repository.git("push", "--quiet", "origin", "HEAD:refs/hidden/one")
    url = repository.origin.as_uri()  # from a path, Git would link all files, unseen commits as well
    assert "is not in" in refused(lambda: enter_isolated(repository.folder, url, commit))
    with isolated(repository.folder, url, commit, "run", "refs/hidden/one") as workspace:
        assert workspace.base == commit
    with pytest.raises(InputError, match="couldn't find remote ref refs/hidden/two"):
        isolated(repository.folder, url, commit, "run", "refs/hidden/two").__enter__()
    assert runs() == []


def test_a_revision_that_does_not_exist_is_told(repository: Repository) -> None:
    said = refused(lambda: enter_isolated(repository.folder, "origin", "v9"))
    assert said == f"revision 'v9' is not in {repository.origin}"
    assert runs() == []


@pytest.mark.parametrize("place", ["/nowhere/at/all", "../nowhere", "upstream"])
def test_a_repository_that_does_not_exist_is_told(repository: Repository, place: str) -> None:
    said = refused(lambda: enter_isolated(repository.folder, place))
    assert said.startswith("git clone: ")
    assert place in said
    assert runs() == []


def test_a_revision_without_dvc_is_told(repository: Repository) -> None:
    repository.git("rm", "--quiet", "-r", ".dvc")
    repository.git("commit", "--quiet", "--message=no DVC")
    said = refused(lambda: enter_isolated(repository.folder, ".", "main"))
    assert said == f"revision 'main' of {repository.folder} holds no DVC repository"
    assert runs() == []


def test_a_token_in_the_address_is_not_told(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://me:secret@host.example/project.git"
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{repository.origin}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", url)
    said = refused(lambda: enter_isolated(repository.folder, url, "v9"))
    assert said == "revision 'v9' is not in https://host.example/project.git"


@pytest.mark.parametrize("end", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_clone_is_gone_however_the_run_ends(repository: Repository, end: type[BaseException] | None) -> None:
    def run() -> None:
        with isolated(repository.folder, ".", "HEAD", "run") as workspace:
            (workspace.folder / "reports").mkdir()
            (workspace.folder / "reports/read-only.txt").touch(0o400)
            if end:
                raise end

    if end:
        with pytest.raises(end):
            run()
    else:
        run()
    assert runs() == []


def test_the_clone_is_gone_after_an_interrupt_of_the_process(repository: Repository) -> None:
    with process_in(ISOLATED, str(repository.folder), "interrupted") as (process, folder):
        assert folder.is_dir()
        process.send_signal(signal.SIGINT)
        process.wait()
    assert runs() == []


def test_the_clone_of_a_killed_run_is_removed_by_the_next_one_and_that_of_a_living_one_is_not(
    repository: Repository,
) -> None:
    with (
        process_in(ISOLATED, str(repository.folder), "living") as (_, living),
        process_in(ISOLATED, str(repository.folder), "killed") as (process, killed),
    ):
        process.kill()
        process.wait()
        assert killed.is_dir()
        with isolated(repository.folder, ".", "HEAD", "run"):
            assert runs() == ["living", "living.lock", "run", "run.lock"]
            assert (living / "dvc.yaml").exists()
        assert runs() == ["living", "living.lock"]
    assert runs() == []


def test_what_a_killed_run_had_started_and_still_lives_does_not_keep_its_clone(repository: Repository) -> None:
    with process_in(WITH_A_CHILD, str(repository.folder), "killed") as (process, killed):
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        process.wait()
        assert killed.is_dir()
        enter_isolated(repository.folder)
        assert runs() == []
        assert is_alive(child)


def test_a_run_that_is_started_again_under_its_name_begins_anew(repository: Repository) -> None:
    with process_in(ISOLATED, str(repository.folder), "again") as (process, folder):
        (folder / "left-over.txt").touch()
        said = refused(lambda: enter_isolated(repository.folder, name="again"))
        assert said == f"{folder}: another run is at work here"
        assert (folder / "left-over.txt").exists()
        process.kill()
        process.wait()
    with isolated(repository.folder, ".", "HEAD", "again") as workspace:
        assert not (workspace.folder / "left-over.txt").exists()


def test_what_a_run_that_died_at_its_start_or_its_end_has_left_is_removed(repository: Repository) -> None:
    (state_folder() / "runs/without-a-lock").mkdir(parents=True)
    (state_folder() / "runs/without-a-clone.lock").touch()
    enter_isolated(repository.folder)
    assert runs() == []


def test_runs_that_start_and_end_side_by_side_do_not_remove_each_others_clones(repository: Repository) -> None:
    with ExitStack() as stack:
        commands = [[sys.executable, "-c", MANY_RUNS, str(repository.folder), str(number)] for number in range(4)]
        processes = [stack.enter_context(running(command)) for command in commands]
        assert [process.wait() for process in processes] == [0] * 4
    assert runs() == []


def test_a_persons_work_tree_is_neither_read_nor_written(repository: Repository) -> None:
    repository.write("params.yaml", "changed: true\n")
    repository.write("stages/train.sh", "staged\n")
    repository.git("add", "stages")
    repository.write("notes.txt", "not tracked\n")
    repository.write("models/a.txt", "changed by hand\n")

    def seen() -> tuple[str, dict[Path, bytes]]:
        status = repository.git("--no-optional-locks", "status", "--porcelain=v2", "--branch")
        return status, {path: path.read_bytes() for path in repository.folder.rglob("*") if path.is_file()}

    before = seen()
    with isolated(repository.folder, ".", "main", "run") as workspace:
        clone = Repository(workspace.folder)
        assert "changed" not in clone.read("params.yaml")
        assert "staged" not in clone.read("stages/train.sh")
        assert not (clone.folder / "notes.txt").exists()
        assert not (clone.folder / "models").exists()
        clone.write("params.yaml", "changed in the clone\n")
        clone.git("-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "--all", "--message=x")
    assert seen() == before


def test_clones_share_a_cache_so_that_the_second_restores_what_the_first_made(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "a state, #1 with 100%"))
    with isolated(repository.folder, ".", "HEAD", "one") as workspace:
        clone = Repository(workspace.folder)
        clone.write("data/raw/first.txt", repository.read("data/raw/first.txt"))
        assert "Running stage 'train@a'" in clone.dvc("repro", "train@a")
        assert not (clone.folder / ".dvc/cache").exists()
    with isolated(repository.folder, ".", "HEAD", "two") as workspace:
        clone = Repository(workspace.folder)
        clone.dvc("checkout", "--quiet", "models/a.txt", "data/raw/first.txt")
        assert clone.read("models/a.txt") == repository.read("models/a.txt")
    assert list((tmp_path / "a state, #1 with 100%/cache/files/md5").iterdir())


def test_dvc_leaves_nothing_outside_of_the_clone_but_the_cache(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_SITE_CACHE_DIR")
    with isolated(repository.folder, ".", "HEAD", "run") as workspace:
        pipeline.read(workspace.folder)
        assert (workspace.folder / ".dvc/tmp/site-cache/repo").is_dir()


def test_the_state_is_kept_where_the_environment_says_or_in_the_users_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("RNNFLOW_STATE", raising=False)
    assert state_folder() == tmp_path / "user/rnnflow"
    monkeypatch.setenv("RNNFLOW_STATE", "")
    assert state_folder() == tmp_path / "user/rnnflow"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNFLOW_STATE", "state")
    assert state_folder() == tmp_path / "state"


def test_an_address_that_names_nothing_here_is_left_as_it_is(repository: Repository) -> None:
    for url in ("https://host.example/x.git", "git@host.example:x.git", "upstream"):
        assert resolve(repository.folder, url) == url
