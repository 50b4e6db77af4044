"""Runs DVC's commands one after another and ends each cleanly, with all it has started.

`python -P supervisor.py SCRIPT MODULE…`, as the leader of a session of its own. A command is a call of the function
`main` of the script, in a fork: that starts at once, since the modules are loaded before. Standard input is a connection to
the flow, which sends a command's arguments and the file to print to, and receives its process id, then its exit status
and its report. When the connection closes, because the flow is gone, or when SIGTERM comes, the session is ended; so is what a command
that ended by itself has left of it.
"""

import ctypes
import gc
import importlib
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from typing import IO, NoReturn, Protocol

import psutil

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 1.5
"""What DVC gets to end by itself: it may be committing the outputs of a stage that has just finished."""
GRACE_SECONDS = 8.0
"""What it gets altogether, the time after its SIGINT included."""
END_SECONDS = GRACE_SECONDS + 2
PR_SET_CHILD_SUBREAPER = 36
"""From Linux's `<sys/prctl.h>`."""
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Command(Protocol):
    def __call__(self, arguments: Sequence[str], report: IO[str]) -> int:
        """Run with these arguments, leave more than the exit status in `report`, and return the exit status."""


@dataclass(frozen=True)
class _Running:
    """A command at work.

    Attributes:
        pid: its process id.
        report: a file without a name.
    """

    pid: int
    report: IO[str]

    def read_report(self) -> str:
        """Return what a command that has ended has left: nothing if it was killed."""
        with self.report:
            self.report.seek(0)
            return self.report.read()


def main(script: str, *modules: str) -> int:
    """Run what the flow asks for until it is gone, or a signal comes: 128 and its number are then returned."""
    wake = _woken_by_signals()
    _adopt_orphans()
    flow: Connection = Connection(sys.stdin.fileno())
    command: _Command = runpy.run_path(script)["main"]
    for module in modules:
        with suppress(ImportError):  # another version of DVC keeps it elsewhere
            importlib.import_module(module)
    gc.freeze()  # or a command that collects garbage would copy every page that it shares with this process
    running, ended_by = None, 0
    with suppress(EOFError, OSError):  # the flow is gone
        while True:
            ready = wait([flow, wake])
            if wake in ready:
                ended_by = _ending_signal(wake.recv(64))
                if ended_by:
                    break
            status = _reap(running.pid if running else None)
            if running and status is not None:
                end_session(os.getpid(), None)
                flow.send((status, running.read_report()))
                running = None
            elif flow in ready:
                arguments, output = flow.recv(), recv_handle(flow)
                running = _fork(command, arguments, output)
                flow.send(running.pid)
    end_session(os.getpid(), running.pid if running else None)
    return 128 + ended_by if ended_by else 0


def end_session(session: int, leader: int | None) -> None:
    """End every process of a session but the caller, in an order that leaves no lock and no half-written file.

    What the `leader`, DVC, has started ends first: DVC then sees its stage fail, frees its locks and exits by itself. A
    DVC that goes on, because it is transferring or hashing, is interrupted. What is left after that is killed.
    """
    began = time.monotonic()
    is_interrupted = False
    while (dvc := _member(session, leader)) and time.monotonic() < began + GRACE_SECONDS:
        if not is_interrupted and time.monotonic() > began + PATIENCE_SECONDS and not _is_writing(dvc):
            _send(signal.SIGINT, [dvc])
            is_interrupted = True
        _send(signal.SIGKILL, _descendants(dvc))
        time.sleep(POLL_SECONDS)
    while (left := _left(session)) and time.monotonic() < began + END_SECONDS:
        _send(signal.SIGKILL, left)
        time.sleep(POLL_SECONDS)


def _woken_by_signals() -> socket.socket:
    """Return a socket that receives the number of each signal as a byte."""
    wake, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    return wake


def _adopt_orphans() -> None:
    """Become the parent of those whose own parent ends, so that none is lost that has a session of its own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _ending_signal(numbers: bytes) -> int:
    """Return the number of the signal, one a byte, that asks for the end, or 0: the end of a child does not."""
    for number in numbers:
        if number != signal.SIGCHLD:
            return number
    return 0


def _fork(command: _Command, arguments: Sequence[str], output: int) -> _Running:
    """Call `command` in a child that prints to the file `output`."""
    report = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- open as long as the command is at work
    pid = os.fork()
    if pid == 0:
        _become(command, arguments, output, report)
    os.close(output)
    return _Running(pid, report)


def _become(command: _Command, arguments: Sequence[str], output: int, report: IO[str]) -> NoReturn:
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    sys.argv[1:] = arguments  # by which DVC names itself to another that waits for it
    status = 1
    try:
        status = command(arguments, report)
    except Exception:
        traceback.print_exc()
    report.flush()
    sys.exit(status)


def _reap(command: int | None) -> int | None:
    """Let go of every child that has ended; return the command's exit status if it is one, as a shell gives it."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == command:
                status = os.waitstatus_to_exitcode(ended[1])
                found = status if status >= 0 else 128 - status
    return found


def _member(session: int, pid: int | None) -> psutil.Process | None:
    try:
        if pid is None or os.getsid(pid) != session:
            return None
        process = psutil.Process(pid)
    except (OSError, psutil.Error):
        return None
    return process if _is_alive(process) else None


def _left(session: int) -> list[psutil.Process]:
    """Return what lives of a session and of what it has started, in whatever session; without the caller."""
    everyone = {process for member in _members(session) for process in (member, *_descendants(member))}
    return [process for process in everyone if process.pid != os.getpid() and _is_alive(process)]


def _members(session: int) -> list[psutil.Process]:
    members = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session:
                members.append(psutil.Process(pid))
        except (OSError, psutil.Error):  # it has ended meanwhile
            continue
    return members


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _is_writing(process: psutil.Process) -> bool:
    """Return whether a file that DVC writes in place, and could leave cut short, is open now."""
    try:
        return any(file.path.endswith((".dvc", "dvc.lock")) for file in process.open_files())
    except psutil.Error:
        return False


def _send(number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
