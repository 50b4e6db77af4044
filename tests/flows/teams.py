"""A team's project with stages that cost nothing, its coordinated runs, and what its workers get from them."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import UUID

from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from ruamel.yaml import YAML

from tests.flows.projects import Deployed, Project, processes
from tests.flows.servers import PROJECT, PrefectServer, Worker
from tests.flows.services import Background, wait_until

TRAIN = """\
# Where MEETING is set, as on the workers of the tests, `hold-NAME` there says which file the training waits for.
set -e
echo "training $1"
if [ "$MEETING" ]; then
    touch "$MEETING/began-$1"
    while [ -e "$MEETING/hold-$1" ] && [ ! -e "$MEETING/$(cat "$MEETING/hold-$1")" ]; do sleep 0.1; done
fi
if [ "$2" = wrong ]; then
    touch "$MEETING/failed-$1"
    echo "error: size: expected a number, got $2"
    exit 2
fi
mkdir -p models
echo "$1 of size $2 saw $(cat data/sequences/numbers.txt)" > "models/$1.txt"
[ -z "$MEETING" ] || touch "$MEETING/ended-$1"
"""
NEVER = "never"
SECONDS = 300.0
"""For a coordinated run, or a part of it; on a machine that is busy with other things."""


def dvc_yaml(**sizes: object) -> str:
    """Return a pipeline whose stages cost nothing: collect, train@NAME for each size, compare."""
    train = {
        "cmd": "sh train.sh ${key} ${item}",
        "deps": ["train.sh", "data/sequences/numbers.txt"],
        "outs": ["models/${key}.txt"],
    }
    stages = {
        "collect": {
            "cmd": "mkdir -p data/sequences && cat data/raw/*.txt > data/sequences/numbers.txt",
            "deps": ["data/raw"],
            "outs": ["data/sequences/numbers.txt"],
        },
        "train": {"foreach": sizes, "do": train},
        "compare": {
            "cmd": "mkdir -p reports && cat models/*.txt > reports/comparison.txt",
            "deps": [f"models/{name}.txt" for name in sizes],
            "outs": ["reports/comparison.txt"],
        },
    }
    return json.dumps({"stages": stages}, indent=2)


@dataclass(frozen=True)
class Team:
    """A deployed project with free stages, and what its workers and coordinators do.

    `with` ends the coordinated runs that were started here and that a test has left.

    Attributes:
        deployed: the project on a server.
        meeting: folder in which the trainings on workers see each other.
    """

    deployed: Deployed
    meeting: Path
    _begun: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._begun.close()

    @property
    def project(self) -> Project:
        return self.deployed.project

    @property
    def server(self) -> PrefectServer:
        return self.deployed.server

    def push(self, numbers: str, lock: str | None = None, **sizes: object) -> str:
        """Let `main` have these trainings on this data, and the `dvc.lock` or none; return the commit.

        What is left in the meeting is cleared.
        """
        for file in self.meeting.glob("*"):
            file.unlink()
        files = {"dvc.yaml": dvc_yaml(**sizes), "train.sh": TRAIN, "data/raw/first.txt": numbers}
        for name, text in (files | ({"dvc.lock": lock} if lock else {})).items():
            (self.project.folder / name).write_text(text)
        if lock is None:
            (self.project.folder / "dvc.lock").unlink(missing_ok=True)
        self.project.git("add", "--all")
        return self.project.push()

    def hold(self, name: str, until: str = NEVER) -> None:
        """Let a training wait, once it has begun, for a file of the meeting such as `ended-b`, or for ever."""
        (self.meeting / f"hold-{name}").write_text(until)

    def release(self, name: str) -> None:
        (self.meeting / f"hold-{name}").unlink()

    def begin(self, why: str, *options: str) -> Background:
        """Start a coordinated run here, as a person would, and return its process."""
        command = [sys.executable, "-m", "flows", "--coordinated", "--repository", "origin"]
        state = self.project.folder.with_name("coordinator")
        environment = self.server.environment | {"RNNFLOW_STATE": str(state)}
        state.mkdir(exist_ok=True)
        log = state / f"{why.replace(' ', '-')}.log"
        run = Background([*command, "--why", why, *options], log, environment, self.project.folder)
        return self._begun.enter_context(run)

    def end(self, process: Background, expected: int = 0, seconds: float = SECONDS) -> str:
        """Wait for a coordinated run and return the line that it printed last."""
        wait_until(lambda: not process.is_running, "the end of the coordinated run", seconds, process.log)
        assert process.process.returncode == expected, process.output
        return process.output.splitlines()[-1]

    def run_called(self, why: str) -> FlowRun:
        chosen = FlowRunFilter(name=FlowRunFilterName(any_=[f"retrain HEAD {why}"]))
        with self.server.client() as client:
            (run,) = wait_until(lambda: client.read_flow_runs(flow_run_filter=chosen), f"the run {why}")
        return run

    def sent(self, run: UUID) -> list[FlowRun]:
        """Return the flow runs that workers got from a run, in order."""
        chosen = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
        with self.server.client() as client:
            return client.read_flow_runs(flow_run_filter=chosen, sort=FlowRunSort.EXPECTED_START_TIME_ASC)

    def places(self, run: UUID) -> list[tuple[str, str]]:
        """Return the stages that were sent and their pools."""
        return [
            (sent.parameters["stage"], (sent.work_pool_name or "").removeprefix(f"{PROJECT}-"))
            for sent in self.sent(run)
        ]

    def states(self, run: UUID) -> list[str]:
        """Return how the flow runs that workers got have ended, in the order in which they were sent."""
        return [self.server.wait_for_end(sent.id).state_name or "" for sent in self.sent(run)]

    def ran(self, *runs: UUID) -> list[str]:
        """Return the name of a stage for each time that one began to run, in any of the flow runs.

        A process sends the last lines of its log after its run has ended.
        """
        wait_until(lambda: not any(map(processes, runs)), "the end of all processes", SECONDS)
        lines = [line for run in runs for line in self.deployed.log(run)]
        return sorted(line.split("'")[1] for line in lines if line.startswith("Running stage '"))

    def wait_for_training(self, name: str) -> None:
        wait_until((self.meeting / f"began-{name}").exists, f"the training of {name}", SECONDS)


def worker(team: Team, pool: str, limit: int | None = None) -> Worker:
    folder = team.project.folder.with_name(f"{pool}-worker")
    return Worker(team.server, pool, folder, limit=limit, settings={"MEETING": str(team.meeting)})


@contextmanager
def paused(team: Team, *pools: str) -> Iterator[None]:
    """Let the workers of some pools take nothing, as if there were none."""
    with team.server.client() as client:
        for pool in pools:
            client.update_work_pool(f"{PROJECT}-{pool}", WorkPoolUpdate(is_paused=True))
        try:
            yield
        finally:
            for pool in pools:
                client.update_work_pool(f"{PROJECT}-{pool}", WorkPoolUpdate(is_paused=False))


def stages_of(lock: str) -> list[str]:
    return list(YAML(typ="safe").load(lock)["stages"])
