"""Processes that tests start and stop: each in a session of its own, on loopback, with files of its own.

Whatever becomes of a test, what it has started ends with it and is reaped. A process that is left open would be
reported as a warning in whatever test comes next, and fail that one.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from rnnflow.runtime.provenance import ROOT

T = TypeVar("T")

START_SECONDS = 600.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1

QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "NO_COLOR": "1",
    "COLUMNS": "200",
    "PYTHONUNBUFFERED": "1",
}

_LAUNCHER = """
import os, pwd, signal, sys
user, *command = sys.argv[1:]
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
if user:
    os.setgroups([])
    os.setgid(pwd.getpwnam(user).pw_gid)
    os.setuid(pwd.getpwnam(user).pw_uid)
os.execvp(command[0], command)
"""


def wait_until(condition: Callable[[], T], what: str, seconds: float = 60.0, log: Path | None = None) -> T:
    """Return the first truthy value of `condition`, or fail the test with the end of the log."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            end = f"\n{log.read_text(errors='replace')[-4000:]}" if log and log.exists() else ""
            raise AssertionError(f"{what}: did not happen within {seconds:.0f} s{end}")
        time.sleep(POLL_SECONDS)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], folder: Path = ROOT, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process with pipes, whose group ends with the block; a process that is to end by itself is waited for.

    Args:
        command: the program and its arguments.
        folder: where it works.
        options: more of `subprocess.Popen`, such as `stdout=subprocess.PIPE`.
    """
    with subprocess.Popen(command, cwd=folder, text=True, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            kill_group(process)


def kill_group(process: subprocess.Popen[Any]) -> None:
    """Kill what is left of the group that a process leads or, having ended, has led."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process still runs; one that only waits to be reaped by its parent does not."""
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for_deaths(processes: Sequence[psutil.Process], seconds: float = 60.0) -> None:
    """Wait until none of these is alive, whoever reaps them."""
    wait_until(lambda: not any(map(is_alive, processes)), f"the end of {processes}", seconds)


class Background:
    """A process in a session of its own, its output in a file; `with` stops it, and what it has started.

    Signals that whoever started the tests ignores (`nohup`, `&` in a script) have their default effect in it.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        folder: Path,
        user: str = "",
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-ISc", _LAUNCHER, user, *command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def descendants(self) -> list[psutil.Process]:
        """Return the living processes that it started, directly or not."""
        try:
            return [*filter(is_alive, psutil.Process(self.pid).children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it as a supervisor such as systemd would: a signal, time to obey, then force for what is left."""
        descendants = self.descendants()
        self.send(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        kill_group(self.process)
        for descendant in descendants:
            with suppress(psutil.NoSuchProcess):  # it has ended by itself
                descendant.kill()
        wait_for_deaths(descendants)

    def kill(self) -> None:
        """End it without warning, alone: what it started lives on."""
        self.process.kill()
        self.process.wait()


class Service:
    """Something that runs as one background process and says when it is ready; `with` starts and stops it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: Background | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> Background:
        assert self._process is not None, f"{self} has not been started"
        return self._process

    def start(self) -> None:
        """Start it, as before if it has been started before, and wait until it is ready."""
        before = self.log.stat().st_size if self.log.exists() else 0
        self._process = self._launched()

        def is_ready() -> bool:
            assert self.process.is_running, f"{self} ended\n{self.process.output[-4000:]}"
            return self._is_ready(self.process.output[before:])

        try:
            wait_until(is_ready, f"the start of {self}", START_SECONDS, self.log)
        except BaseException:
            self.stop()
            raise

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None and self._process.is_running:
            self._process.stop(number)

    def kill(self) -> None:
        """End it without warning, alone: what it started lives on."""
        self.process.kill()

    def _launched(self) -> Background:
        raise NotImplementedError

    def _is_ready(self, output: str) -> bool:
        """Return whether it is ready, by what it has printed since its start or by asking it."""
        raise NotImplementedError


def clean_environment() -> dict[str, str]:
    """The tests' own environment without settings of Prefect and rnnflow, and with this Python's programs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RNNFLOW_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return kept | QUIET | {"PATH": path}
