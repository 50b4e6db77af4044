"""Real servers for the tests: Prefect's server and workers, PostgreSQL; each on loopback, with files of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State

from rnnflow.provenance import ROOT

T = TypeVar("T")

START_SECONDS = 180.0
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


class Background:
    """A process in a session of its own, its output in a file.

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
            return psutil.Process(self.pid).children(recursive=True)
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
        for descendant in descendants:
            if descendant.is_running():
                descendant.kill()

    def kill(self) -> None:
        """End it without warning, alone: what it started lives on."""
        self.process.kill()
        self.process.wait()


class PrefectServer:
    """`prefect server start` with a database of its own, which a restart finds again.

    Attributes:
        api_url: stays the same over restarts.
        environment: of processes that are to talk to this server.
    """

    def __init__(self, folder: Path, database_url: str | None = None, settings: Mapping[str, str] | None = None):
        self.folder = folder
        self.port = free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        self.log = folder / "server.log"
        self.environment = clean_environment() | {
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_API_URL": self.api_url,
        }
        self._own = self.environment | {"PREFECT_LOGGING_SERVER_LEVEL": "WARNING"} | dict(settings or {})
        if database_url:
            self._own["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url
        self._process: Background | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> Background:
        assert self._process is not None, "the server has not been started"
        return self._process

    def start(self) -> None:
        """Start the server, on the same port and database as before, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = Background(command, self.log, self._own, ROOT)  # where prefect.toml is
        with _stopping_on_failure(self.stop):
            wait_until(self._is_healthy, "the Prefect server's health", START_SECONDS, self.log)

    def stop(self) -> None:
        if self._process is not None and self._process.is_running:
            self._process.stop()

    def kill(self) -> None:
        """The server's machine is gone."""
        self.process.kill()

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Calls to this server that leave the settings of the test's own process alone."""
        with SyncPrefectClient(self.api_url) as client:
            yield client

    def run(self, *command: str, folder: Path, expected: int = 0, environment: Mapping[str, str] | None = None) -> str:
        """Return what a command that talks to this server prints, standard error after standard output."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=self.environment | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, f"{command} returned {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def wait_for_run(
        self, run: UUID, reached: Callable[[State], bool], what: str, seconds: float = 60.0, log: Path | None = None
    ) -> FlowRun:
        """Return the flow run as soon as its state is one that is waited for.

        Args:
            run: its id.
            reached: says whether a state is the one.
            what: is waited for, said when it does not come.
            seconds: to wait at most.
            log: shown at its end when it does not come, a worker's for example.
        """

        def found() -> FlowRun | None:
            flow_run = client.read_flow_run(run)
            return flow_run if flow_run.state and reached(flow_run.state) else None

        with self.client() as client:
            flow_run = wait_until(found, what, seconds, log)
        assert flow_run is not None
        return flow_run

    def wait_for_end(self, run: UUID, seconds: float = 60.0, log: Path | None = None) -> FlowRun:
        return self.wait_for_run(run, State.is_final, "the end of the run", seconds, log)

    def _is_healthy(self) -> bool:
        assert self.process.is_running, f"the Prefect server ended\n{self.process.output[-4000:]}"
        try:
            return httpx.get(f"{self.api_url}/health", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


class Worker:
    """`prefect worker start` of a process pool, with a state folder of its own: another machine, as far as rnnflow knows."""

    def __init__(
        self,
        server: PrefectServer,
        pool: str,
        folder: Path,
        name: str = "",
        limit: int | None = None,
        settings: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Describe the worker; nothing is started yet.

        Args:
            server: that it asks for work.
            pool: its work pool.
            folder: for its home, its state and its log.
            name: unique in the pool; by default that of the folder.
            limit: how many flow runs it runs at once.
            settings: more environment, which the flow runs get as well.
            prefix: command that starts the worker's in another place, such as `ip netns exec NAME`.
        """
        self.server = server
        self.pool = pool
        self.folder = folder
        self.name = name or folder.name
        self.state = folder / "state"
        self.log = folder / "worker.log"
        self._limit = limit
        self._prefix = prefix
        self._environment = (
            server.environment
            | {"PREFECT_HOME": str(folder / "home"), "RNNFLOW_STATE": str(self.state)}
            | dict(settings or {})
        )
        self._process: Background | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> Background:
        assert self._process is not None, "the worker has not been started"
        return self._process

    def start(self) -> None:
        """Start the worker and wait until it asks for work."""
        self.state.mkdir(parents=True, exist_ok=True)
        before = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", self.pool, "--name", self.name]
        command += ["--type", "process"]
        if self._limit is not None:
            command += ["--limit", str(self._limit)]
        # In the folder where prefect.toml is.
        self._process = Background([*self._prefix, *command], self.log, self._environment, ROOT)

        def started() -> bool:
            assert self.process.is_running, f"the worker ended\n{self.process.output[-4000:]}"
            return b"started!" in self.log.read_bytes()[before:]

        with _stopping_on_failure(self.stop):
            wait_until(started, "the worker's start", START_SECONDS, self.log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None and self._process.is_running:
            self._process.stop(number)

    def kill(self) -> None:
        """End the worker alone; the flow runs that it started live on."""
        self.process.kill()

    def flow_run_processes(self) -> list[psutil.Process]:
        """Return the processes of the flows that run now, one each; their own children are not among them."""
        found = []
        for process in self.process.descendants():
            try:
                if "prefect.engine" in process.cmdline() or "prefect.flow_engine" in process.cmdline():
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found


class PostgreSQL:
    """A PostgreSQL server in a temporary folder. Debian's binaries are found wherever the version puts them."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/postgres"
        self._bin = _postgresql_binaries()
        self._user = _unprivileged_user()
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._environment = clean_environment() | {"HOME": str(self._folder), "LC_ALL": "C"}
        self._process: Background | None = None

    def __enter__(self) -> Self:
        if self._user:
            shutil.chown(self._folder, self._user)
        data = self._folder / "data"
        log = self._folder.with_name(f"{self._folder.name}.log")
        options = ["--no-sync", "--auth=trust", "--username=prefect", "--encoding=UTF8", "--no-locale"]
        initdb = [str(self._bin / "initdb"), *options, str(data)]
        created = Background(initdb, log, self._environment, self._folder, self._user)
        assert created.process.wait(START_SECONDS) == 0, created.output
        server = [str(self._bin / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(self.port)]
        server += ["-k", str(self._folder), "-c", "fsync=off"]
        self._process = Background(server, log, self._environment, self._folder, self._user)
        ready = [str(self._bin / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        with _stopping_on_failure(self.stop):
            wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL", START_SECONDS, log)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(signal.SIGINT)  # its "fast" shutdown, which does not wait for clients
            self._process.log.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def _stopping_on_failure(stop: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stop()
        raise


def clean_environment() -> dict[str, str]:
    """The tests' own environment without settings of Prefect and rnnflow, and with this Python's programs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RNNFLOW_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return kept | QUIET | {"PATH": path}


def _postgresql_binaries() -> Path:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(candidates[-1]) if candidates else shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed: no initdb on the path or in /usr/lib/postgresql/*/bin")
    return Path(initdb).parent


def _unprivileged_user() -> str:
    """PostgreSQL refuses to run as root; any other user is fine as it is."""
    return "nobody" if os.geteuid() == 0 else ""
