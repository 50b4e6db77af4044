"""The supervisor on its own, with commands that behave in every way."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import TextIO

import psutil
import pytest

from flows.supervision import supervisor
from tests.flows.processes import LIMIT_SECONDS, at_work_in
from tests.flows.services import running, wait_until

EXECUTES = """\
import os
def main(command, report):
    report.write("as reported")
    if command[0] == "raise":
        raise EOFError(command[1])
    os.execvp(command[0], command)
"""


@dataclass(frozen=True)
class Supervised:
    """A supervisor that has been asked to run a command."""

    process: subprocess.Popen[str]
    flow: Connection
    output: TextIO
    pid: int

    def first_line(self) -> str:
        return self.output.readline().rstrip()

    def last_line(self) -> str:
        """Return the last line that the command prints, when the supervisor has ended."""
        self.flow.close()
        self.process.wait()
        return self.output.read().rstrip().rpartition("\n")[2]


@contextmanager
def start(folder: Path, *command: str, before: Sequence[str] = ()) -> Iterator[Supervised]:
    """Have a supervisor run a command in a folder; afterwards both have ended, whatever the test did."""
    (folder / "executes.py").write_text(EXECUTES)
    flow, theirs = Pipe()
    reading, writing = os.pipe()
    with flow, os.fdopen(reading) as output, os.fdopen(writing, "wb") as printed:
        program = [*before, sys.executable, "-P", supervisor.__file__, str(folder / "executes.py")]
        with running(program, folder, stdin=theirs.fileno()) as process:
            theirs.close()
            try:
                flow.send(command)
                send_handle(flow, printed.fileno(), None)
                printed.close()
                yield Supervised(process, flow, output, pid=flow.recv())
            finally:
                flow.close()
                with suppress(subprocess.TimeoutExpired):  # it hangs
                    process.wait(LIMIT_SECONDS)


def close(supervised: Supervised) -> None:
    supervised.flow.close()


def terminate(supervised: Supervised) -> None:
    supervised.process.terminate()
    with pytest.raises(EOFError):
        supervised.flow.recv()


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137)])
def test_it_says_how_its_command_ended(tmp_path: Path, command: str, status: int) -> None:
    with start(tmp_path, "sh", "-c", command) as supervised:
        assert supervised.flow.recv() == (status, "")
        supervised.last_line()


def test_a_command_that_raises_has_failed(tmp_path: Path) -> None:
    with start(tmp_path, "raise", "the flow's line is not meant") as supervised:
        assert supervised.flow.recv() == (1, "as reported")
        assert supervised.last_line() == "EOFError: the flow's line is not meant"


@pytest.mark.parametrize(("end", "status"), [(close, 0), (terminate, 128 + signal.SIGTERM)])
def test_what_the_command_started_ends_first_and_the_command_by_itself(
    tmp_path: Path, end: Callable[[Supervised], None], status: int
) -> None:
    with start(tmp_path, "sh", "-c", "echo began; sleep 600; echo the child ended with status $?") as supervised:
        assert supervised.first_line() == "began"
        end(supervised)
        assert supervised.last_line() == "the child ended with status 137"
        assert supervised.process.returncode == status
        assert not at_work_in(tmp_path)


def test_children_in_sessions_of_their_own_end_too(tmp_path: Path) -> None:
    # It starts its own child while it is being ended.
    with start(tmp_path, "sh", "-c", "setsid sh -c 'echo began; sleep 600; true' & wait") as supervised:
        assert supervised.first_line() == "began"
        supervised.last_line()
        assert not at_work_in(tmp_path)


@pytest.mark.parametrize("left", ["sleep 600", "setsid sleep 600"])
def test_what_a_command_leaves_in_the_background_ends_with_it(tmp_path: Path, left: str) -> None:
    with start(tmp_path, "sh", "-c", f"{left} & exit 0") as supervised:
        assert supervised.flow.recv() == (0, "")
        assert not at_work_in(tmp_path)
        supervised.last_line()


def test_a_command_that_goes_on_is_interrupted_even_where_the_flow_ignores_that(tmp_path: Path) -> None:
    code = "import time\ntry:\n print('began', flush=True)\n time.sleep(600)\nexcept KeyboardInterrupt:\n print('cleaned up')"
    before = ("sh", "-c", 'trap "" INT HUP TERM; exec "$@"', "sh")
    with start(tmp_path, sys.executable, "-c", code, before=before) as supervised:
        assert supervised.first_line() == "began"
        assert supervised.last_line() == "cleaned up"


def test_a_command_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.2)
    command = ["sh", "-c", 'trap "" INT; echo began; while true; do sleep 0.1; done']
    with start(tmp_path, *command) as supervised:
        assert supervised.first_line() == "began"
        supervised.process.kill()  # so that this process has to do what the supervisor would
        supervisor.end_session(supervised.process.pid, supervised.pid)
        supervised.last_line()
        assert not at_work_in(tmp_path)


def test_a_file_that_dvc_is_writing_is_finished_before_the_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PATIENCE_SECONDS", 0.0)
    code = "import time; file = open('dvc.lock', 'w'); print('began', flush=True); time.sleep(1); file.write('all')"
    command = [sys.executable, "-c", code]
    with start(tmp_path, *command) as supervised:
        assert supervised.first_line() == "began"
        supervised.process.kill()
        supervisor.end_session(supervised.process.pid, supervised.pid)
        supervised.last_line()
        assert (tmp_path / "dvc.lock").read_text() == "all"


def test_a_supervisor_that_hangs_is_ended_with_the_rest(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo began; sleep 600; true"]
    with start(tmp_path, *command) as supervised:
        assert supervised.first_line() == "began"
        supervised.process.send_signal(signal.SIGSTOP)
        stopped = psutil.Process(supervised.process.pid)
        wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, "the stop", LIMIT_SECONDS)
        supervisor.end_session(supervised.process.pid, supervised.pid)
        supervised.last_line()
        assert supervised.process.returncode == -signal.SIGKILL
        assert not at_work_in(tmp_path)
