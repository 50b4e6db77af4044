"""The supervisor on its own, with commands that behave in every way."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows import supervisor
from tests.flows.processes import at_work_in, wait_until


def supervised(folder: Path, *command: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-P", supervisor.__file__, *command],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def close(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def terminate(process: subprocess.Popen[str]) -> None:
    process.terminate()


def rest(process: subprocess.Popen[str]) -> str:
    """Return what else it prints, when it has ended."""
    assert process.stdout is not None
    with process:
        return process.stdout.read().rstrip()


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137)])
def test_it_ends_as_its_command_ends(tmp_path: Path, command: str, status: int) -> None:
    process = supervised(tmp_path, "sh", "-c", command)
    rest(process)
    assert process.returncode == status


@pytest.mark.parametrize("end", [close, terminate])
def test_what_the_command_started_ends_first_and_the_command_by_itself(
    tmp_path: Path, end: Callable[[subprocess.Popen[str]], None]
) -> None:
    process = supervised(tmp_path, "sh", "-c", "echo began; sleep 600; echo the child ended with status $?; exit 3")
    assert first_line(process) == "began"
    end(process)
    assert rest(process) == "the child ended with status 137"
    assert process.returncode == 3
    assert not at_work_in(tmp_path)


def test_children_in_sessions_of_their_own_end_too(tmp_path: Path) -> None:
    # It starts its own child while it is being ended.
    process = supervised(tmp_path, "sh", "-c", "setsid sh -c 'echo began; sleep 600; true' & wait")
    assert first_line(process) == "began"
    close(process)
    rest(process)
    assert not at_work_in(tmp_path)


@pytest.mark.parametrize("left", ["sleep 600", "setsid sleep 600"])
def test_what_a_command_leaves_in_the_background_ends_with_it(tmp_path: Path, left: str) -> None:
    process = supervised(tmp_path, "sh", "-c", f"{left} & exit 0")
    rest(process)
    assert not at_work_in(tmp_path)


def test_a_command_that_goes_on_is_interrupted_even_where_the_flow_ignores_that(tmp_path: Path) -> None:
    code = "import time\ntry:\n print('began', flush=True)\n time.sleep(600)\nexcept KeyboardInterrupt:\n print('cleaned up')"
    process = supervised(
        tmp_path, sys.executable, "-c", code, before=("sh", "-c", 'trap "" INT HUP TERM; exec "$@"', "sh")
    )
    assert first_line(process) == "began"
    close(process)
    assert rest(process) == "cleaned up"


def test_a_command_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.2)
    command = ["sh", "-c", 'trap "" INT; echo began; while true; do sleep 0.1; done']
    process = supervised(tmp_path, *command)
    assert first_line(process) == "began"
    process.kill()  # so that this process has to do what the supervisor would
    supervisor.end_session(process.pid, command)
    rest(process)
    assert not at_work_in(tmp_path)


def test_a_file_that_dvc_is_writing_is_finished_before_the_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PATIENCE_SECONDS", 0.0)
    code = "import time; file = open('dvc.lock', 'w'); print('began', flush=True); time.sleep(1); file.write('all')"
    command = [sys.executable, "-c", code]
    process = supervised(tmp_path, *command)
    assert first_line(process) == "began"
    process.kill()
    supervisor.end_session(process.pid, command)
    rest(process)
    assert (tmp_path / "dvc.lock").read_text() == "all"


def test_a_supervisor_that_hangs_is_ended_with_the_rest(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo began; sleep 600; true"]
    process = supervised(tmp_path, *command)
    assert first_line(process) == "began"
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    supervisor.end_session(process.pid, command)
    rest(process)
    assert process.returncode == -signal.SIGKILL
    assert not at_work_in(tmp_path)
