"""Several runs of one commit on one machine, as a nightly run meets one by hand."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.flows.projects import make_project
from tests.flows.servers import PrefectServer
from tests.flows.services import Background, wait_until

NUM_RUNS = 3
SECONDS = 600.0


@pytest.mark.slow
def test_of_three_runs_of_one_commit_all_succeed_and_one_trains(server: PrefectServer, tmp_path: Path) -> None:
    project = make_project(tmp_path, models=("rnn",))
    command = [sys.executable, "-m", "flows", "--isolated", "--revision", "main", "--repository", "origin"]
    environment = server.environment | {"RNNFLOW_STATE": str(tmp_path / "state")}
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                Background(
                    [*command, "--push", "--why", f"run {number}", "train"],
                    tmp_path / f"run-{number}.log",
                    environment,
                    project.folder,
                )
            )
            for number in range(NUM_RUNS)
        ]
        wait_until(lambda: not any(run.is_running for run in runs), "the end of the runs", SECONDS, runs[0].log)
        outputs = [run.output for run in runs]
        assert [run.process.returncode for run in runs] == [0] * NUM_RUNS, outputs
    for stage in ("generate", "train@rnn"):
        assert sum(output.count(f"Running stage '{stage}'") for output in outputs) == 1, outputs
