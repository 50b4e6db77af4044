"""A real Prefect server and real workers, with the settings that the project ships."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled

from rnnflow.runtime.provenance import ROOT
from tests.flows.services import Background, Service, clean_environment, free_port, wait_until

PROJECT = "rnnflow"
"""The name of the tests' projects on a server."""


class PrefectServer(Service):
    """`prefect server start` with a database of its own, which a restart finds again.

    Attributes:
        api_url: stays the same over restarts.
        environment: of processes that are to talk to this server.
    """

    def __init__(self, folder: Path, database_url: str | None = None, settings: Mapping[str, str] | None = None):
        super().__init__(folder / "server.log")
        self.folder = folder
        self.port = free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        self.environment = clean_environment() | {
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_API_URL": self.api_url,
        }
        self._own = self.environment | {"PREFECT_LOGGING_SERVER_LEVEL": "WARNING"} | dict(settings or {})
        if database_url:
            self._own["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url

    def __str__(self) -> str:
        return "the Prefect server"

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

    def forget_runs(self) -> None:
        """Delete all runs: one that crashed in a test would be repeated a minute later, in the midst of the next test."""
        with self.client() as client:
            while runs := client.read_flow_runs():
                for run in runs:
                    if run.state and not run.state.is_final():
                        client.set_flow_run_state(run.id, Cancelled(), force=True)  # frees the deployment's place
                    client.delete_flow_run(run.id)

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

    def _launched(self) -> Background:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "flows.server", "--host", "127.0.0.1", "--port", str(self.port)]
        return Background(command, self.log, self._own, ROOT)  # where prefect.toml is

    def _is_ready(self, output: str) -> bool:
        try:
            return httpx.get(f"{self.api_url}/health", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


class Worker(Service):
    """A worker of a process pool, with a state folder of its own: another machine, as far as rnnflow knows."""

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
            pool: its work pool, without the project's name.
            folder: for its home, its state and its log.
            name: unique in the pool; by default that of the folder.
            limit: how many flow runs it runs at once.
            settings: more environment, which the flow runs get as well.
            prefix: command that starts the worker's in another place, such as `ip netns exec NAME`.
        """
        super().__init__(folder / "worker.log")
        self.server = server
        self.pool = pool
        self.folder = folder
        self.name = name or folder.name
        self.state = folder / "state"
        self._limit = limit
        self._prefix = prefix
        self._environment = (
            server.environment
            | {"PREFECT_HOME": str(folder / "home"), "RNNFLOW_STATE": str(self.state)}
            | dict(settings or {})
        )

    def __str__(self) -> str:
        return f"the worker {self.name}"

    def flow_run_processes(self) -> list[psutil.Process]:
        """Return the processes of the flows that run now, one each; their own children are not among them.

        For a moment a child has its parent's command line.
        """
        found: dict[int, psutil.Process] = {}
        for process in self.process.descendants():
            with suppress(psutil.NoSuchProcess):
                if {"prefect.engine", "prefect.flow_engine"} & {*process.cmdline()}:
                    found[process.pid] = process
        return [process for process in found.values() if process.ppid() not in found]

    def _launched(self) -> Background:
        self.state.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "flows.process_worker",
            "--pool",
            f"{PROJECT}-{self.pool}",
            "--name",
            self.name,
        ]
        if self._limit is not None:
            command += ["--limit", str(self._limit)]
        # In the folder where prefect.toml is.
        return Background([*self._prefix, *command], self.log, self._environment, ROOT)

    def _is_ready(self, output: str) -> bool:
        return "started!" in output
