"""Runs one command and ends it cleanly: `python supervisor.py COMMAND…`, as the leader of a session of its own.

Standard input is a pipe that the flow holds. When it closes, because the flow is gone, or when SIGTERM comes, the
session is ended; so is what a command that ended by itself has left of it.
"""

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

import psutil

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 1.5
"""What DVC gets to end by itself: it may be committing the outputs of a stage that has just finished."""
GRACE_SECONDS = 8.0
"""What it gets altogether, the time after its SIGINT included."""
END_SECONDS = GRACE_SECONDS + 2
PR_SET_CHILD_SUBREAPER = 36
"""From Linux's `<sys/prctl.h>`."""


def main(command: list[str]) -> int:
    """Run `command` and return its exit status, 128 and the signal's number where a signal ended it, as a shell does."""
    wake = _woken_by(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    _adopt_orphans()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while process.poll() is None:
        ready, _, _ = select.select([sys.stdin, wake], [], [])
        if sys.stdin in ready or set(wake.recv(64)) != {signal.SIGCHLD}:
            break
    end_session(os.getpid(), command)
    status = process.wait()
    return status if status >= 0 else 128 - status


def end_session(session: int, command: Sequence[str]) -> None:
    """End every process of a session but the caller, in an order that leaves no lock and no half-written file.

    What `command` has started ends first: DVC then sees its stage fail, frees its locks and exits by itself. A DVC
    that goes on, because it is transferring or hashing, is interrupted. What is left after that is killed.
    """
    began = time.monotonic()
    is_interrupted = False
    while (leader := _find(session, command)) and time.monotonic() < began + GRACE_SECONDS:
        if not is_interrupted and time.monotonic() > began + PATIENCE_SECONDS and not _is_writing(leader):
            _send(signal.SIGINT, [leader])
            is_interrupted = True
        _send(signal.SIGKILL, _descendants(leader))
        time.sleep(POLL_SECONDS)
    while (left := _left(session)) and time.monotonic() < began + END_SECONDS:
        _send(signal.SIGKILL, left)
        time.sleep(POLL_SECONDS)


def _woken_by(*numbers: signal.Signals) -> socket.socket:
    """Return a socket that receives the number of each of these signals as a byte."""
    wake, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    for number in numbers:
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the command would inherit
    return wake


def _adopt_orphans() -> None:
    """Become the parent of those whose own parent ends, so that none is lost that has a session of its own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _find(session: int, command: Sequence[str]) -> psutil.Process | None:
    for process in _members(session):
        try:
            if process.cmdline() == list(command):
                return process
        except psutil.Error:
            continue
    return None


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
    sys.exit(main(sys.argv[1:]))
