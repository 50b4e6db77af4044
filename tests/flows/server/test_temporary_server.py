"""`make faults` ends real runs with Prefect's real server; here a process stands for it that is started as Prefect does."""

import signal
import subprocess
import sys

import psutil
import pytest

from tests.flows.services import is_alive, wait_for_deaths

RUN = """
import os, subprocess
from flows.server import temporary_server
with temporary_server.ending_with_this_process():
    server = subprocess.Popen(["sleep", "600"], env=os.environ | {"PREFECT__SERVER_EPHEMERAL": "1"})
    other = subprocess.Popen(["sleep", "600"])
    print(server.pid, other.pid, flush=True)
    input()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_temporary_server_ends_with_its_run_and_nothing_else_does(how: signal.Signals) -> None:
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        server, other = map(psutil.Process, map(int, run.stdout.readline().split()))
        try:
            run.send_signal(how)
            wait_for_deaths([server])
            assert is_alive(other)
        finally:
            other.kill()
