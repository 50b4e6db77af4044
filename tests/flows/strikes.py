"""What the tests of deaths strike at, and how far a training is when they do."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psutil
from prefect.client.schemas.objects import State
from prefect.states import Cancelling

from tests.flows.projects import Deployed, processes
from tests.flows.services import wait_for_deaths, wait_until

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 300.0
"""Until a test is given up; no limit of the project."""
SERVER_POLL_SECONDS = 2.0


def _is_supervisor(process: psutil.Process) -> bool:
    """Return whether this is a supervisor, or DVC: a fork of one, in the session that the supervisor leads."""
    return "supervisor.py" in " ".join(process.cmdline()[:3])


ROLES: dict[str, Callable[[psutil.Process], bool]] = {
    "stage": lambda process: process.cmdline()[1:3] == ["-m", "stages.train"],
    "dvc": lambda process: _is_supervisor(process) and process.pid != os.getsid(process.pid),
    "supervisor": lambda process: _is_supervisor(process) and process.pid == os.getsid(process.pid),
}
"""Of the processes below a flow's own while it trains."""


def find(run: UUID, role: str) -> psutil.Process | None:
    """Return the process of a flow run that has this role; `flow` is the one that all others descend from."""
    found = processes(run)
    pids = {process.pid for process in found}
    for process in found:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has ended meanwhile
            if process.ppid() not in pids if role == "flow" else ROLES[role](process):
                return process
    return None


def find_training(run: UUID, log: Path | None = None) -> psutil.Process:
    """Return the process of a flow run that trains, as soon as there is one."""
    stage = wait_until(lambda: find(run, "stage"), "the training", PATIENCE_SECONDS, log)
    assert stage is not None
    return stage


def kill(run: UUID, role: str) -> None:
    """Kill a process of a flow run that is training, and wait until nothing of that training is left."""
    stage = find_training(run)
    process = wait_until(lambda: find(run, role), role)
    assert process is not None
    process.kill()
    wait_for_deaths([stage], PATIENCE_SECONDS)


class Training:
    """The training that the next run on a worker's machine does, as far as the state that it keeps there tells."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "resume"
        self.before = set(self.folder.glob("*.safetensors"))
        self.num_epochs = 0

    def epochs(self) -> int:
        """Return how many epochs are done and kept; it is a mistake of the project if that ever falls."""
        num_epochs = max(map(_num_epochs, set(self.folder.glob("*.safetensors")) - self.before), default=0)
        if num_epochs:
            assert num_epochs >= self.num_epochs, f"over again: epoch {num_epochs} after epoch {self.num_epochs}"
            self.num_epochs = num_epochs
        return num_epochs

    def wait_for(self, num_epochs: int, deployed: Deployed, run: UUID) -> int:
        """Return how many epochs are done as soon as the run has done so many more than ever before."""
        wanted = self.num_epochs + num_epochs
        with deployed.server.client() as client:
            while True:
                state = client.read_flow_run(run).state
                assert state is None or not state.is_final(), f"{state}\n" + "\n".join(deployed.log(run))
                look_again = time.monotonic() + SERVER_POLL_SECONDS
                while time.monotonic() < look_again:
                    if self.epochs() >= wanted:
                        return self.num_epochs
                    time.sleep(POLL_SECONDS)


def _num_epochs(file: Path) -> int:
    """Return the length of the history in the header of a safetensors file: its size, then JSON."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:  # the training has ended
        return 0
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return len(json.loads(header["__metadata__"]["rnnflow"])["description"]["history"])


def cancel(deployed: Deployed, run: UUID) -> None:
    """Do as the UI's button does."""
    with deployed.server.client() as client:
        client.set_flow_run_state(run, Cancelling())


def wait_for_no_processes(run: UUID, seconds: float) -> None:
    """Wait until none of a flow run's processes is left, and say which are if that takes longer."""
    deadline = time.monotonic() + seconds
    while left := processes(run):
        assert time.monotonic() < deadline, f"left after {seconds:.0f} s: {left}"
        time.sleep(POLL_SECONDS)


def seconds_until_gone(deployed: Deployed, run: UUID, reached: Callable[[State], bool], limit: float) -> float:
    """Return after how long the run's state is the one that is waited for and none of its processes is left."""
    began = time.monotonic()
    deployed.server.wait_for_run(run, reached, "the state", limit)
    wait_for_no_processes(run, limit)
    return time.monotonic() - began
