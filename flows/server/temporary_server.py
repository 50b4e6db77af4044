"""Prefect's temporary server, which would outlast a process that is killed: Prefect ends it at a regular end alone."""

import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "RNNFLOW_TEMPORARY_SERVER_OF"
IS_TEMPORARY = b"PREFECT__SERVER_EPHEMERAL=1"
"""What Prefect says to its temporary server, and to nothing else below a run."""
END_SECONDS, LOOK_SECONDS = 5.0, 0.5
MAX_RETRIES = 2
"""Of a call to the server, 2 and 4 seconds after the first try; `prefect.toml` has more, for servers that may come back."""


@contextmanager
def ending_with_this_process() -> Iterator[None]:
    """Have the server that Prefect will start end when this process has, however it ends.

    Another process waits for that, in a session of its own: it holds the reading end of a pipe whose writing end is here alone.
    Ctrl-C ends the server at the same time as it asks the run to end, which would then try to reach it for minutes.
    """
    # Here, since the other process runs this file without Prefect.
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    _start_ending()
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: MAX_RETRIES}):
        yield


def _start_ending() -> None:
    os.environ[MARK] = secrets.token_hex(8)
    reading, _ = os.pipe()
    # -I and -S: it needs nothing but the standard library, and is there in some milliseconds.
    command = [sys.executable, "-I", "-S", __file__, os.environ[MARK]]
    # It outlives this process by a second, and whoever reads what that prints is not to wait for it.
    silent = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_WRONLY, 0) for descriptor in (1, 2)]
    actions = [(os.POSIX_SPAWN_DUP2, reading, 0), *silent]
    os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
    os.close(reading)


def _wait_and_end(mark: str) -> None:
    sys.stdin.buffer.read()
    wanted = {IS_TEMPORARY, f"{MARK}={mark}".encode()}
    until = time.monotonic() + END_SECONDS
    num_looks = 0
    while (servers := list(_processes(wanted))) or num_looks < 2:  # one that is just being started is found later
        num_looks += 1
        for server in servers:
            with suppress(ProcessLookupError):
                os.kill(server, signal.SIGTERM if time.monotonic() < until else signal.SIGKILL)
        time.sleep(LOOK_SECONDS)


def _processes(wanted: set[bytes]) -> Iterator[int]:
    """Yield those with these variables."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if wanted <= set(path.read_bytes().split(b"\0")):
                yield int(path.parent.name)


if __name__ == "__main__":
    _wait_and_end(sys.argv[1])
