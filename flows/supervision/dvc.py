"""DVC's commands in supervised child processes: their lines as they come, and a clean end."""

import multiprocessing.connection
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from flows.supervision import supervisor
from flows.supervision.failures import Failure, LoggedError, explain
from flows.supervision.full_disks import explained
from flows.supervision.transcript import Outcome, Transcript, readable

__all__ = ["Dvc", "Failure", "Outcome", "StageError", "StoppedError"]

COMMAND = Path(__file__).with_name("dvc_command.py")
MODULES = (
    *("dvc.cli.parser", "dvc.cachemgr", "dvc.data_cloud", "dvc.lock", "dvc.rwlock", "dvc.scm"),
    *("dvc.repo.metrics", "dvc.repo.params", "dvc.repo.plots", "dvc.repo.stage", "pyparsing", "ruamel.yaml"),
)
"""What a command of DVC would load anew each time: most of the time that it takes to start."""
PIPE_BYTES = 1 << 20
"""More than a pipe holds anywhere, unless root has made it larger."""
MAX_LINE_BYTES = 65_536
SILENCE_SECONDS = 600.0
"""After which a command that moves data, and moves none, is ended and tried again."""
LOOK_SECONDS = 0.5
"""A time-out of a stage that runs beside others waits for it, in a thread that no signal reaches."""


class StageError(Exception):
    """A stage, or another DVC command, failed; the message is one line, the stage's own where it left one."""

    def __init__(self, stage: str, failure: Failure, message: str) -> None:
        super().__init__(stage, failure, message)
        self.stage = stage
        self.failure = failure
        self.message = message

    def __str__(self) -> str:
        return self.message


class StoppedError(BaseException):
    """The run has ended, and with it a command that another thread had at work; no failure to try again, as of a stage."""


class _SupervisorEndedError(Exception):
    """The supervisor has been killed, or could not start."""


class Dvc:
    """DVC in one workspace, below a supervisor that starts with the first command, or before, and is there for all that follow.

    Whatever ends a call, a cancellation or a time-out of the flow included, ends what the command has started too.

    Args:
        workspace: the DVC repository.
        environment: variables for DVC and the stages besides those that the caller has when the supervisor starts.
    """

    def __init__(self, workspace: Path, environment: Mapping[str, str] = {}) -> None:
        self.workspace = workspace
        self.environment = environment
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._connection: Connection
        self._pid: int | None = None
        self._starting = threading.Lock()
        self._is_stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the supervisor if there is none, or none that is alive; it loads DVC meanwhile.

        Raises:
            StoppedError: `stop` was called.
        """
        if self._supervisor and not self._connection.closed and self._supervisor.poll() is None:
            return
        self._end()
        self._connection, theirs = multiprocessing.Pipe()
        with theirs, self._starting:
            if self._is_stopped:
                raise StoppedError
            # -P: neither DVC nor the supervisor takes modules from the workspace, which may hold any project's, or from
            # the folder of the script, where this file is called like the package.
            self._supervisor = subprocess.Popen(
                [sys.executable, "-P", supervisor.__file__, str(COMMAND), *MODULES],
                cwd=self.workspace,
                env=_environment(self.environment),
                stdin=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )

    def stop(self) -> None:
        """From another thread: end the command at work, which then fails, and let none begin any more."""
        with self._starting:
            self._is_stopped = True
            if self._supervisor:
                self._supervisor.terminate()

    def close(self) -> None:
        """End the supervisor and whatever still runs below it."""
        self._end()

    def reproduce(self, stage: str, log: Callable[[str], None], *options: str) -> Outcome:
        """Bring one stage up to date and return how; what it depends on must be.

        Args:
            stage: its name in `dvc.yaml`.
            log: receives each line that DVC and the stage print, in the calling thread.
            options: more options of `dvc repro`.

        Raises:
            StageError: the stage or DVC failed.
        """
        return self._transcript(stage, ["repro", "--single-item", *options, stage], log).outcome

    def run(self, arguments: Sequence[str], log: Callable[[str], None]) -> list[str]:
        """Run another command, such as `push`, and return the lines it printed.

        Raises:
            StageError: the command failed; its `stage` is the subcommand, the first of `arguments`.
        """
        return self._transcript(arguments[0], arguments, log).before

    def _transcript(self, name: str, arguments: Sequence[str], log: Callable[[str], None]) -> Transcript:
        transcript = Transcript()
        kills_before = _kills_for_memory()

        def listen(line: str) -> None:
            transcript.add(line)
            if line:
                log(line)

        try:
            status, errors = self._call(["--wait-for-lock", *arguments], listen, _Progress(name))
        except _SupervisorEndedError:
            ended, last_words = self._end()
            if self._is_stopped:
                raise StoppedError from None
            status, errors = ended or 1, []
            for line in last_words.splitlines():
                listen(line)
        except BaseException:
            self._end()
            raise
        if status:
            failure, message = explain(status, transcript, errors, _kills_for_memory() > kills_before)
            raise StageError(name, failure, explained(message, [self.workspace, self.workspace / ".dvc/cache"]))
        return transcript

    def _call(
        self, arguments: Sequence[str], listen: Callable[[str], None], progress: "_Progress"
    ) -> tuple[int, list[LoggedError]]:
        """Return the exit status of a command, and the errors that it logged."""
        self.start()
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as output:
            with os.fdopen(writing, "wb") as theirs, _noticing_its_end():
                self._connection.send(arguments)
                send_handle(self._connection, theirs.fileno(), None)
            with _noticing_its_end():
                self._pid = self._connection.recv()
            for line in _lines(output.fileno(), self._connection, partial(progress.check, self._pid)):
                listen(line)
        with _noticing_its_end():
            status, report = self._connection.recv()
        self._pid = None
        return status, LoggedError.parse(report)

    def _end(self) -> tuple[int, str]:
        """Have the supervisor end what still runs and itself, or do so in its place; return its status and errors."""
        if not self._supervisor:
            return 0, ""
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):  # it was killed, or hangs
            self._supervisor.wait(supervisor.END_SECONDS)
        supervisor.end_session(self._supervisor.pid, self._pid)
        _, errors = self._supervisor.communicate()
        status = self._supervisor.returncode
        self._supervisor = self._pid = None
        return status, errors.decode(errors="replace")


@contextmanager
def _noticing_its_end() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise _SupervisorEndedError from error


def _environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment, in which `python` is this interpreter, as the stages' commands expect."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", **additions}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an uncompiled DVC starts 2.5 times as slowly
    return environment


class _Progress:
    """Notices that a command gets nowhere, as with a remote that accepts and stays silent.

    A stage, which is a child of DVC, may compute for hours; DVC itself always reads or writes.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_bytes = -1
        self.since = time.monotonic()

    def check(self, pid: int | None) -> None:
        """Look whether the process has read or written anything since the last time.

        Raises:
            StageError: not for too long.
        """
        num_bytes = _num_bytes_moved(pid) if pid else None
        if num_bytes is None or num_bytes != self.num_bytes:
            self.num_bytes, self.since = num_bytes or 0, time.monotonic()
        elif time.monotonic() - self.since > SILENCE_SECONDS:
            message = f"{self.name}: nothing has moved for {SILENCE_SECONDS:g} s; the remote may be silent"
            raise StageError(self.name, Failure.TRANSIENT, message)


def _num_bytes_moved(pid: int) -> int | None:
    """Return how much a process without children has read and written so far, if the system tells."""
    try:
        process = psutil.Process(pid)
        counters = process.io_counters()
        return None if process.children() else counters.read_chars + counters.write_chars
    except (psutil.Error, AttributeError):  # it has just ended, or this is no Linux
        return None


def _lines(output: int, status: Connection, look: Callable[[], None]) -> Iterator[str]:
    """Yield what is printed until there is a status; an orphan that holds the output open is not waited for.

    `look` is called every few seconds meanwhile.
    """
    os.set_blocking(output, False)
    sources: list[int | Connection] = [output, status]
    ready: list[object] = []
    rest = b""
    while status not in ready:
        ready = [*multiprocessing.connection.wait(sources, LOOK_SECONDS)]
        if not ready:
            look()
        try:
            printed = os.read(output, PIPE_BYTES)  # with the status at hand, all that was printed before it
            if not printed and output in sources:
                sources.remove(output)
        except BlockingIOError:
            continue
        *lines, rest = (rest + printed).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        yield from map(_shown, lines)
    if rest:
        yield _shown(rest)


def _shown(line: bytes) -> str:
    """Return a line as it would stand on a terminal, without its colours."""
    return readable(line.decode(errors="replace").rstrip().rpartition("\r")[2])


def _kills_for_memory() -> int:
    """Return how often Linux has killed a process for memory since it started; 0 elsewhere."""
    with suppress(FileNotFoundError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
