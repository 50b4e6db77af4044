"""Runs that end between being taken by a worker and their first line."""

import logging
import signal
import subprocess
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun, State

from flows.process_worker import ForPeople
from tests.flows.projects import Deployed, Project, processes
from tests.flows.servers import PrefectServer, Worker
from tests.flows.services import wait_until
from tests.flows.stand_ins import make_stand_in
from tests.flows.strikes import wait_for_no_processes

ENDED = "Its process ended before it began."
SECONDS = 60.0
"""Of patience; as long as a worker waits before a second try."""


def said_of(run: FlowRun) -> str:
    assert run.state
    assert run.state.is_scheduled(), run.state
    return run.state.message or ""


@pytest.mark.slow
def test_a_run_that_ends_before_it_has_begun_waits_for_a_worker_again(server: PrefectServer, tmp_path: Path) -> None:
    stand_in = make_stand_in(tmp_path / "project")
    stand_in.deploy_own(server)
    with Worker(server, "cpu-pool", tmp_path / "worker") as worker, server.client() as client:
        deployment = client.read_deployment_by_name("retrain/rnnflow-cpu")
        run = client.create_flow_run_from_deployment(deployment.id).id
        wait_until(lambda: processes(run), "its process", SECONDS, worker.log)
        worker.process.send(signal.SIGTERM)
        wait_until(lambda: not worker.process.is_running, "the end of the worker", SECONDS, worker.log)
        wait_for_no_processes(run, SECONDS)
        assert said_of(client.read_flow_run(run)) == "Its worker was stopped before it began."
        worker.start()
        for process in wait_until(lambda: processes(run), "its process", SECONDS, worker.log):
            process.kill()
        put_back = server.wait_for_run(run, State.is_scheduled, "its return", SECONDS, worker.log)
        assert said_of(put_back) == ENDED
        ended = server.wait_for_end(run, 3 * SECONDS, worker.log)
    assert ended.state
    assert ended.state.is_completed(), ended.state
    assert ended.run_count == 1


@pytest.mark.slow
def test_a_run_whose_code_cannot_be_cloned_says_why_in_one_line(server: PrefectServer, tmp_path: Path) -> None:
    stand_in = make_stand_in(tmp_path / "project")
    stand_in.deploy_own(server)
    subprocess.run(["git", "branch", "--quiet", "--move", "main", "other"], cwd=stand_in.folder, check=True)
    with Worker(server, "cpu-pool", tmp_path / "worker") as worker, server.client() as client:
        deployment = client.read_deployment_by_name("retrain/rnnflow-cpu")
        run = client.create_flow_run_from_deployment(deployment.id).id
        server.wait_for_run(run, lambda state: state.message == ENDED, "its return", SECONDS, worker.log)
        crashed = [state.message for state in client.read_flow_run_states(run) if state.is_crashed()]
    line = f"The code could not be cloned from {stand_in.folder}: no branch 'main' there"
    assert crashed == [line]
    log = Deployed(Project(stand_in.folder), server).log(run)
    assert line in log
    assert "Traceback" not in "\n".join(log)


def test_the_log_of_a_run_that_waits_for_another_says_once_which_worker_is_to_take_it() -> None:
    submitting = "Worker 'w' submitting flow run '1'"
    waiting = "Aborted submission of flow run '1': Server returned a non-pending state 'SCHEDULED'"
    said = [*[submitting, waiting] * 3, "Flow run 'x' submitted to infrastructure"]
    for_people = ForPeople()
    kept = [line for line in said if for_people.filter(logging.makeLogRecord({"msg": line}))]
    assert kept == [submitting, "Flow run 'x' submitted to infrastructure"]
