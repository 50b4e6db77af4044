"""What promotions refuse, and that a refusal or a death leaves nothing half done."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows import promote
from tests.flows.promotions import hook, refused, reproduce, set_models
from tests.flows.repositories import Repository
from tests.flows.services import wait_for_deaths, wait_until

pytest_plugins = ["tests.flows.promotions"]


def state(project: Repository) -> list[object]:
    """Return all that a promotion changes, here and in the remote."""
    production = project.folder / "models/production"
    remote = project.run("git", "--git-dir", str(project.origin), "for-each-ref")
    return [
        project.git("rev-parse", "HEAD"),
        project.git("status", "--porcelain"),
        project.git("tag"),
        {path.name: path.read_bytes() for path in production.iterdir()},
        remote,
    ]


def without_why(project: Repository) -> tuple[list[str], str]:
    return ["--force"], "--force: say --why, which the commit will keep"


def dirty_tree(project: Repository) -> tuple[list[str], str]:
    project.write("params.yaml", project.read("params.yaml") + "\n")
    return [], "params.yaml: changed and not committed"


def existing_tag(project: Repository) -> tuple[list[str], str]:
    project.git("tag", "classifier@v1.0.0")
    return ["--version", "v1.0.0"], "tag classifier@v1.0.0 exists; choose another --version, such as v1.1.0"


def no_version(project: Repository) -> tuple[list[str], str]:
    return ["--version", "1.0"], "version '1.0': expected three numbers, such as v1.2.0"


def nothing_promoted(project: Repository) -> tuple[list[str], str]:
    return ["--rollback"], "there is nothing to roll back to: no version has been promoted"


def first_one(project: Repository) -> tuple[list[str], str]:
    return ["--rollback"], "there is nothing to roll back to: v1.0.0 is the first version that was in production"


def unknown_version(project: Repository) -> tuple[list[str], str]:
    return ["--rollback", "v7.0.0"], "version v7.0.0 is not among v1.0.0"


def there_already(project: Repository) -> tuple[list[str], str]:
    return ["--rollback", "v1.0.0"], "v1.0.0 is in production already"


def not_good_enough(project: Repository) -> tuple[list[str], str]:
    set_models(project, "poor")
    reproduce(project)
    return [], "poor: worse; significantly less accurate"


def other_model(project: Repository) -> tuple[list[str], str]:
    return ["--model", "poor"], "reports/comparison/verdict.json is not about model poor; --force --why"


def no_model(project: Repository) -> tuple[list[str], str]:
    return ["--model", "best", "--force", "--why", "x"], f"{project.folder}/models/best/model.onnx: no such file"


def old_verdict(project: Repository) -> tuple[list[str], str]:
    shutil.copy2(project.folder / "source/good.onnx", project.folder / "source/poor.onnx")
    project.dvc("repro", "--quiet", "--single-item", "export@poor")
    project.commit("another")
    return [], "reports/comparison/verdict.json is about other files than the ones that are here; `dvc repro` first"


def unknown_file(project: Repository) -> tuple[list[str], str]:
    shutil.copy2(project.folder / "source/good.onnx", project.folder / "models/poor/model.onnx")
    return [], "models/poor/model.onnx: not the file that dvc.lock names; `dvc repro`, and commit first"


def no_verdict(project: Repository) -> tuple[list[str], str]:
    (project.folder / "reports/comparison/verdict.json").unlink()
    return [], "reports/comparison/verdict.json: no such file; `dvc repro compare`"


def no_branch(project: Repository) -> tuple[list[str], str]:
    project.git("checkout", "--quiet", "--detach")
    return [], "no branch is checked out"


def gone_from_everywhere(project: Repository) -> tuple[list[str], str]:
    for folder in (project.folder / ".dvc/cache", project.store):
        shutil.rmtree(folder)
    return ["--rollback"], "Checkout failed for following targets: models/production/"


def refused_tags(project: Repository) -> tuple[list[str], str]:
    hook(project.origin / "hooks/update", 'case "$1" in refs/tags/*) echo "tags are protected" >&2; exit 1;; esac')
    return [], "git push: "


def refused_branch(project: Repository) -> tuple[list[str], str]:
    hook(project.origin / "hooks/update", 'case "$1" in refs/heads/*) echo "main is protected" >&2; exit 1;; esac')
    return [], "git push: "


def moved_branch(project: Repository) -> tuple[list[str], str]:
    other = Repository(project.folder.with_name("other"))
    project.git("clone", "--quiet", str(project.origin), str(other.folder))
    other.git("-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "--allow-empty", "--message=other")
    other.git("push", "--quiet")
    return [], "git push: "


def store_refuses(project: Repository) -> tuple[list[str], str]:
    shutil.rmtree(project.store, ignore_errors=True)
    project.store.write_text("a file where the remote should be\n")
    return [], f"[Errno 20] Not a directory: '{project.store}/"


MISTAKES = {
    "compared": [
        without_why, dirty_tree, existing_tag, no_version, nothing_promoted, no_model, unknown_file, no_verdict,
        no_branch, moved_branch, store_refuses,
    ],
    "promoted": [first_one, unknown_version, there_already, old_verdict],
    "replaced": [other_model, not_good_enough, gone_from_everywhere],
}  # fmt: skip
"""By the point of the history at which they are made."""


@pytest.mark.parametrize(
    ("project", "mistake"),
    [pytest.param(point, each, id=each.__name__) for point, mistakes in MISTAKES.items() for each in mistakes],
    indirect=["project"],
)
def test_what_cannot_be_done_is_one_line_and_nothing_half_done(
    project: Repository, mistake: Callable[[Repository], tuple[list[str], str]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = mistake(project)
    before = state(project)
    assert refused(capsys, *arguments).startswith(message)
    assert state(project) == before


@pytest.mark.parametrize(
    "refusal",
    [refused_tags, pytest.param(refused_branch, marks=pytest.mark.slow)],
    ids=lambda refusal: refusal.__name__,
)
def test_once_the_remote_agrees_the_next_run_goes_through(
    project: Repository,
    refusal: Callable[[Repository], tuple[list[str], str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, message = refusal(project)
    before = state(project)
    line = refused(capsys)
    assert line.startswith(message)
    assert "protected" in line
    assert state(project) == before
    (project.origin / "hooks/update").unlink()
    promote.main([])
    assert "is in production as v1." in capsys.readouterr().out


@pytest.fixture
def killed(project: Repository) -> Callable[[Path], None]:
    """Promotes in a process of its own and kills it where a hook waits."""

    def kill(at: Path) -> None:
        reached = project.folder.with_name("reached")
        hook(at, f"touch '{reached}'; sleep 60")
        with subprocess.Popen([sys.executable, "-m", "flows.promote"], start_new_session=True) as process:
            wait_until(lambda: reached.exists() or process.poll() is not None, "the hook")
            started = psutil.Process(process.pid).children(recursive=True)
            for one in (process, *started):  # Git too, which would go on by itself
                one.kill()
        wait_for_deaths(started)
        assert process.returncode == -signal.SIGKILL
        at.unlink()

    return kill


@pytest.mark.parametrize("where", [pytest.param("commit", marks=pytest.mark.slow), "push"])
def test_the_next_run_finishes_what_a_killed_one_began(
    project: Repository, killed: Callable[[Path], None], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hooks = {"commit": project.folder / ".git/hooks/pre-commit", "push": project.folder / ".git/hooks/pre-push"}
    killed(hooks[where])
    for lock in (project.folder / ".git").rglob("*.lock"):  # Git's own, which it names in an error of one line
        lock.unlink()
    promote.main([])
    assert "poor is in production" in capsys.readouterr().out
    assert project.git("status", "--porcelain") == ""
    remote = project.run("git", "ls-remote", str(project.origin))
    assert "refs/tags/classifier@v1.0.0" in remote
    assert f"{project.git('rev-parse', 'HEAD')}\trefs/heads/main" in remote
