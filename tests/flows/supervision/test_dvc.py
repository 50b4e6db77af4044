"""Stages under the real DVC, ended in every way there is: nothing stays behind, and the next try succeeds."""

import pickle
import shutil
import socket
import sys
import threading
from collections.abc import Callable

import pytest

from flows.supervision import dvc as dvc_module
from flows.supervision.dvc import Dvc, Failure, Outcome, StageError
from tests.flows.processes import at_work_in, with_stages
from tests.flows.repositories import Repository

pytest_plugins = ["tests.flows.repositories"]


FAILING_DISK = """\
import os
import shutil

def fails(*arguments, **named):
    raise OSError(NUMBER, os.strerror(NUMBER))

shutil.copyfileobj = shutil.copyfile = fails
os.replace = os.rename = os.link = fails
"""


def when(expected: str, do: Callable[[], object]) -> Callable[[str], None]:
    """Return a log that does something at the first line of this text."""
    done: list[object] = []

    def log(line: str) -> None:
        if line == expected and not done:
            done.append(do())

    return log


def test_a_stage_says_how_it_came_up_to_date(repository: Repository, dvc: Dvc) -> None:
    folder = repository.folder
    assert dvc.reproduce("train@a", print) is Outcome.UP_TO_DATE
    repository.replace("params.yaml", "size: 1", "size: 3")
    assert dvc.reproduce("train@a", print) is Outcome.RAN
    (folder / "dvc.lock").unlink()
    (folder / "models/a.txt").unlink()
    assert dvc.reproduce("train@a", print) is Outcome.RESTORED
    assert "size 3" in repository.read("models/a.txt")


def test_options_reach_dvc(repository: Repository, dvc: Dvc) -> None:
    assert dvc.reproduce("train@a", print, "--force") is Outcome.RAN


def test_every_line_is_logged_in_order_in_the_calling_thread(repository: Repository, dvc: Dvc) -> None:
    with_stages(repository, counts="seq 1000; touch {out}")
    logged = []

    def log(line: str) -> None:
        logged.append(line)
        assert threading.current_thread() is threading.main_thread()

    assert dvc.reproduce("counts", log) is Outcome.RAN
    start = logged.index("1")
    assert logged[start : start + 1000] == [str(number) for number in range(1, 1001)]
    assert all(logged)


def test_a_progress_bar_is_one_line_and_colours_are_left_out(repository: Repository, dvc: Dvc) -> None:
    with_stages(repository, shows=r"printf '\r 10%%\r 50%%\r100%%\n\033[1;31mred\033[0m\n'; touch {out}")
    logged: list[str] = []
    dvc.reproduce("shows", logged.append)
    start = logged.index("100%")
    assert logged[start + 1] == "red"
    assert not any("\x1b" in line or "10%" in line for line in logged[1 + logged.index("Running stage 'shows':") + 1 :])


def test_python_in_a_stage_is_the_one_of_the_flow(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    code = 'import os, sys; print(sys.prefix, os.environ["RNNFLOW_STATE"], sys.dont_write_bytecode)'
    folder = with_stages(repository, asks=f"python -c '{code}'; touch {{out}}")
    logged: list[str] = []
    with Dvc(folder, {"RNNFLOW_STATE": "/state"}) as dvc:
        dvc.reproduce("asks", logged.append)
    assert f"{sys.prefix} /state False" in logged


def test_other_commands_return_what_they_print(repository: Repository, dvc: Dvc) -> None:
    assert "Everything is up to date." in dvc.run(["pull"], lambda _: None)


def test_a_remote_that_falls_silent_is_given_up(
    repository: Repository, dvc: Dvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc_module, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(dvc_module, "LOOK_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/store"
        repository.run("dvc", "remote", "add", "silent", url)
        with pytest.raises(StageError, match="push: nothing has moved for 3 s; the remote may be silent") as raised:
            dvc.run(["push", "--remote", "silent"], print)
    assert raised.value.failure is Failure.TRANSIENT
    assert not at_work_in(repository.folder)
    assert dvc.reproduce("collect", print) is Outcome.UP_TO_DATE


def test_a_stage_that_waits_for_a_silent_remote_is_given_up_and_one_that_computes_is_not(
    repository: Repository, dvc: Dvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc_module, "SILENCE_SECONDS", 1.5)
    monkeypatch.setattr(dvc_module, "LOOK_SECONDS", 0.25)
    repository.replace("stages/collect.sh", "set -e", "set -e\nsleep 3")
    assert dvc.reproduce("collect", print) is Outcome.RAN
    shutil.rmtree(repository.folder / ".dvc/cache")
    (repository.folder / "data/numbers.txt").unlink()
    with socket.create_server(("127.0.0.1", 0)) as server:
        repository.run("dvc", "remote", "modify", "store", "url", f"http://127.0.0.1:{server.getsockname()[1]}/store")
        with pytest.raises(StageError, match=r"collect: nothing has moved for 1\.5 s"):
            dvc.reproduce("collect", print, "--pull")


def test_the_error_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(StageError("train", Failure.TRANSIENT, "killed")))
    assert (error.stage, error.failure, str(error)) == ("train", Failure.TRANSIENT, "killed")


def test_a_supervisor_that_cannot_start_says_why(
    repository: Repository, dvc: Dvc, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("script.py", "import no_such_module")
    monkeypatch.setattr("flows.supervision.dvc.COMMAND", repository.folder / "script.py")
    with pytest.raises(StageError) as caught:
        dvc.reproduce("train@a", print)
    assert str(caught.value) == "ModuleNotFoundError: No module named 'no_such_module'"
    assert caught.value.failure is Failure.PERMANENT


def test_a_supervisor_loads_what_it_can(repository: Repository, dvc: Dvc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.supervision.dvc.MODULES", ("dvc.no_such_module",))
    assert dvc.reproduce("train@a", print) is Outcome.UP_TO_DATE


@pytest.mark.parametrize(
    ("ending", "failure"),
    [
        ("echo 'error: sequences: Stale file handle' >&2; exit 75", Failure.TRANSIENT),
        ("echo 'error: sequences: Permission denied' >&2; exit 2", Failure.PERMANENT),
        ("python -c 'raise OSError(5, \"Input/output error\")'", Failure.TRANSIENT),
        ("python -c 'raise OSError(30, \"Read-only file system\")'", Failure.PERMANENT),
    ],
)
def test_a_stage_is_tried_again_only_for_what_may_pass(
    repository: Repository, dvc: Dvc, ending: str, failure: Failure
) -> None:
    with_stages(repository, fails=ending)
    with pytest.raises(StageError) as raised:
        dvc.reproduce("fails", print)
    assert raised.value.failure is failure


@pytest.mark.parametrize(("number", "failure"), [("28", Failure.TRANSIENT), ("30", Failure.PERMANENT)])
def test_dvcs_own_error_of_the_system_is_known_by_its_number(
    repository: Repository, dvc: Dvc, number: str, failure: Failure
) -> None:
    """A remote on a disk that is full, or mounted read-only, as far as DVC can tell."""
    repository.write("sitecustomize.py", FAILING_DISK.replace("NUMBER", number))
    dvc.environment = {"PYTHONPATH": str(repository.folder)}
    with pytest.raises(StageError) as raised:
        dvc.run(["push"], print)
    assert raised.value.failure is failure


def test_a_secret_in_a_remotes_address_is_in_no_line_and_no_error(repository: Repository, dvc: Dvc) -> None:
    repository.run("dvc", "remote", "modify", "store", "url", "http://user:planted-secret@127.0.0.1:9/store")
    lines: list[str] = []
    with pytest.raises(StageError) as raised:
        dvc.run(["push", "--verbose"], lines.append)
    assert "127.0.0.1" in "\n".join([*lines, str(raised.value)])
    assert "planted-secret" not in "\n".join([*lines, str(raised.value)])
