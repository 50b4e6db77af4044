"""The server of a run's own, as `make run` starts it; `make faults` ends whole runs with theirs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rnnflow.runtime.provenance import ROOT
from tests.flows.services import clean_environment, is_alive, wait_for_deaths

RUN = """
from flows.server.temporary_server import TemporaryServer
server = TemporaryServer()
print(server._process.pid, flush=True)
if input() == "answer":
    with server.answering():
        from flows.server.connection import connected, has_lasting_server
        with connected() as client:
            print(client.hello().json(), has_lasting_server(), flush=True)
        input()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return clean_environment() | {"PREFECT_HOME": str(tmp_path)}


def started(environment: dict[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", RUN]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("when", ["", "answer"])
def test_the_server_ends_with_its_run_which_it_answers(
    how: signal.Signals, when: str, environment: dict[str, str]
) -> None:
    with started(environment) as run:
        assert run.stdin
        assert run.stdout
        server = psutil.Process(int(run.stdout.readline()))
        if when:
            print(when, file=run.stdin, flush=True)
            assert run.stdout.readline() == "👋 False\n"
        assert os.getsid(server.pid) != os.getsid(run.pid)  # Ctrl-C does not reach it
        assert is_alive(server)
        run.send_signal(how)
        wait_for_deaths([server])


def test_a_server_that_cannot_start_says_why(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prefect.db").write_text("no database")
    with started(environment) as run:
        _, errors = run.communicate("answer\n")
    assert run.returncode == 1
    assert "InputError: Prefect's temporary server does not answer: " in errors
    assert "file is not a database" in errors.splitlines()[-1]


def test_a_server_ends_at_once_where_a_profile_of_prefect_names_another(
    environment: dict[str, str], tmp_path: Path
) -> None:
    profiles = 'active = "far"\n[profiles.far]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    (tmp_path / "profiles.toml").write_text(profiles)
    with started(environment) as run:
        assert run.stdin
        assert run.stdout
        wait_for_deaths([psutil.Process(int(run.stdout.readline()))])
        print(file=run.stdin, flush=True)
    assert not (tmp_path / "prefect.db").exists()
