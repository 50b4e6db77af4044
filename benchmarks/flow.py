"""What the flow adds to a bare `dvc repro`: with nothing to do, and over a real run of the default pipeline with a server.

python -m benchmarks.flow       # some 8 minutes; writes its part of docs/performance.md
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks import performance_page
from benchmarks.measuring import Figure, Quartiles, alternated, command, table
from benchmarks.performance_page import Comparison

REPOSITORY = Path(__file__).resolve().parents[1]
NUM_ROUNDS_ALONE, NUM_IDLE_ROUNDS, NUM_REAL_ROUNDS = 3, 7, 3
ALONE = "nothing to do, no server"
"""The flow starts one that ends with it."""
IDLE = "nothing to do, a server"
REAL = "everything runs, a server"
TARGET_OWN_SECONDS = 1.5
TARGET_SHARE = 0.10
EMPTY_FLOW = """
from prefect import flow, task

@task
def stage(): ...

@flow
def empty():
    for _ in range({num_stages}):
        stage()

empty()
"""
DVC = [sys.executable, "-m", "dvc"]
RETRAIN = [sys.executable, "-m", "flows", "--allow-dirty"]


def call(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Return what a command prints, which must end well."""
    done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} returned {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def server(folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Start a Prefect server on this machine and yield the environment that leads to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT)
        try:
            while not is_healthy(url):
                assert process.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.2)
            yield {**environment, "PREFECT_API_URL": url}
        finally:
            process.terminate()
            process.wait()


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False


def calls(clone: Path, environment: Mapping[str, str]) -> dict[str, Callable[[], str]]:
    """Return what is compared: a bare `dvc repro`, an empty flow of as many tasks, and the flow."""
    num_stages = len(call([*DVC, "stage", "list"], clone, environment).splitlines())
    empty = [sys.executable, "-c", EMPTY_FLOW.format(num_stages=num_stages)]
    commands = {"dvc repro": [*DVC, "repro"], "empty flow": empty, "flow": RETRAIN}
    return {name: partial(call, command, clone, environment) for name, command in commands.items()}


def with_new_seeds(clone: Path, compared: Mapping[str, Callable[[], str]]) -> dict[str, Callable[[], str]]:
    """Let every stage run in each call, on data that no run has seen before."""
    params = clone / "params.yaml"
    template = params.read_text()
    seeds = iter(range(1000, 2000))

    def renewed(run: Callable[[], str]) -> Callable[[], str]:
        def whole() -> str:
            params.write_text(template.replace("seed: 0", f"seed: {next(seeds)}", 1))
            return run()

        return whole

    return {name: renewed(run) for name, run in compared.items()}


wall_seconds = partial(alternated, num_warm_up=1, clock=time.perf_counter)


def measure(out: Console, writes: bool = False) -> list[Figure]:
    """Print wall times of the flow beside its peers and return the figures with a target."""
    settings = {}
    with tempfile.TemporaryDirectory() as name:
        folder, clone = Path(name), Path(name) / "rnnflow"
        environment = {
            **{key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        call(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], folder, environment)
        call([*DVC, "config", "--local", "cache.dir", str(REPOSITORY / ".dvc/cache")], clone, environment)
        call([*DVC, "repro"], clone, environment)
        settings[ALONE] = wall_seconds(calls(clone, environment), NUM_ROUNDS_ALONE)
        with server(folder, environment) as with_server:
            compared = calls(clone, with_server)
            settings[IDLE] = wall_seconds(compared, NUM_IDLE_ROUNDS)
            call([*DVC, "config", "--local", "cache.dir", str(folder / "cache")], clone, environment)
            settings[REAL] = wall_seconds(with_new_seeds(clone, compared), NUM_REAL_ROUNDS, num_warm_up=0)
    found = {
        setting: {name: Quartiles.of(values) for name, values in of_setting.items()}
        for setting, of_setting in settings.items()
    }
    alone, idle, real = (found[setting] for setting in (ALONE, IDLE, REAL))
    times = table("Wall seconds: median (quartiles)", "run", *alone)
    for setting, of_setting in found.items():
        times.add_row(setting, *(quartiles.text(1) for quartiles in of_setting.values()))
    out.print(times)
    if writes:
        performance_page.keep("flow", [Comparison.of("flow", "A run of the pipeline", "s", "flow", settings)])
        performance_page.write()
    limit = 2 * alone["dvc repro"].median + alone["empty flow"].median
    own = idle["flow"].median - idle["empty flow"].median
    share = real["flow"].median / real["dvc repro"].median - 1
    return [
        Figure("flow, nothing to do: s, against 2 × dvc repro + Prefect", f"<= {limit:.1f}", f"{alone['flow'].median:.1f}", alone["flow"].median <= limit),
        Figure("flow, nothing to do: its own seconds", f"<= {TARGET_OWN_SECONDS}", f"{own:.2f}", own <= TARGET_OWN_SECONDS),
        Figure("flow with a server, everything runs: its share", f"<= {TARGET_SHARE:.0%}", f"{share:.1%}", share <= TARGET_SHARE),
    ]  # fmt: skip


if __name__ == "__main__":
    command(measure, writes=True)
