"""A Prefect server for one run: on a free port of this machine, and gone when the run is.

Prefect would start one itself, but later, once the run's process has loaded Prefect and then the server too, and it
would outlast a process that is killed. This module loads neither: both processes load what they need side by side.
"""

import atexit
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from flows.redaction import redacted
from rnnflow.runtime import garbage
from rnnflow.runtime.errors import InputError

END_SECONDS = 5.0
MAX_RETRIES = 2
"""Of a call to the server, 2 and 4 seconds after the first try; `prefect.toml` has more, for servers that may come back."""
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception): ")
_started: set[str] = set()


def is_at(api_url: str) -> bool:
    """Return whether a temporary server of this process is meant."""
    return api_url in _started


class TemporaryServer:
    """A server that starts at once, in a session of its own, and ends when this process has, however it ends.

    Ctrl-C would otherwise end the server at the same time as it asks the run to end, which would then try to reach it
    for minutes. It knows that this process has ended by a pipe whose writing end is here alone.

    Attributes:
        api_url: where it will answer; connections are accepted, and wait, from the beginning.
    """

    def __init__(self) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the server is
        reading, writing = os.pipe()
        self._run = os.fdopen(writing, "wb")
        with socket.create_server(("127.0.0.1", 0)) as listening, os.fdopen(reading) as ends_with:
            self.api_url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(listening.fileno())],
                pass_fds=[listening.fileno()],
                stdin=ends_with,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,  # not this process's, whose reader is not to wait for the server's end
                start_new_session=True,
            )
        _started.add(self.api_url)
        # A server that Prefect started by itself, beside this one, would outlast a process that is killed.
        os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
        atexit.register(self.stop)  # what Prefect registers later, and still has to send, comes before

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Let Prefect's settings name this server as soon as it answers.

        Raises:
            InputError: it has ended, or does not answer in the time that `prefect.toml` gives it.
        """
        import httpx
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_CLIENT_MAX_RETRIES,
            PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
            PREFECT_UI_URL,
            temporary_settings,
        )

        failure = ""
        try:
            seconds = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
            httpx.get(f"{self.api_url}/health", timeout=seconds).raise_for_status()
        except httpx.HTTPError as error:
            self.stop()
            failure = redacted(self._last_words() or str(error))
        if failure:  # not in the handler: a connection that was lost as its context would count as one that may pass
            raise InputError(f"Prefect's temporary server does not answer: {failure}")
        # It has no pages.
        its = {PREFECT_API_URL: self.api_url, PREFECT_UI_URL: "", PREFECT_CLIENT_MAX_RETRIES: MAX_RETRIES}
        with temporary_settings(its):
            yield

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if _EXCEPTION.match(line)), "")

    def stop(self) -> None:
        """End it and wait until it has ended. It can be called any number of times."""
        self._run.close()
        try:
            self._process.wait(2 * END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _serve(descriptor: int) -> None:
    garbage.collect_seldom()
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    import uvicorn
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():  # of a profile or `prefect.toml`: this server is not asked for, nor its database
        return
    from prefect.server.api.server import create_app

    from flows.server.__main__ import begin_as_writers

    begin_as_writers()
    app = create_app(ephemeral=True, final=True)
    # A socket made from its descriptor knows its family, without which small answers would be held back.
    with socket.socket(fileno=descriptor) as listening:
        uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="error")).run(sockets=[listening])


def _end_with_the_run() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)  # at once while it loads, else when it has answered
    time.sleep(END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
