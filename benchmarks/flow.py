"""What the flow adds to a bare `dvc repro`: with nothing to do, and over a real run of the default pipeline with a server."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks.measuring import Figure, Quartiles, alternated, console, table

REPOSITORY = Path(__file__).resolve().parents[1]
NUM_IDLE_ROUNDS, NUM_REAL_ROUNDS = 5, 2
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
RETRAIN = [sys.executable, "-m", "flows.retrain", "--allow-dirty"]


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


def num_stages(clone: Path, environment: Mapping[str, str]) -> int:
    return len(call([*DVC, "stage", "list"], clone, environment).splitlines())


def timed_with_new_seeds(clone: Path, environment: Mapping[str, str]) -> dict[str, Quartiles]:
    """Return the seconds of whole runs in which every stage has to run, each on data that no run has seen before."""
    params = clone / "params.yaml"
    template = params.read_text()
    seeds = iter(range(1000, 2000))

    def run(command: list[str]) -> Callable[[], str]:
        def whole() -> str:
            params.write_text(template.replace("seed: 0", f"seed: {next(seeds)}", 1))
            return call(command, clone, environment)

        return whole

    empty = [sys.executable, "-c", EMPTY_FLOW.format(num_stages=num_stages(clone, environment))]
    commands = {
        "dvc repro": run([*DVC, "repro"]),
        "empty flow": lambda: call(empty, clone, environment),
        "flow": run(RETRAIN),
    }
    seconds = alternated(commands, NUM_REAL_ROUNDS, num_warm_up=0, clock=time.perf_counter)
    return {name: Quartiles.of(values) for name, values in seconds.items()}


def timed_without_work(clone: Path, environment: Mapping[str, str]) -> dict[str, Quartiles]:
    """Return the seconds of a bare `dvc repro`, of an empty flow of as many tasks, and of the flow: all up to date."""
    empty = [sys.executable, "-c", EMPTY_FLOW.format(num_stages=num_stages(clone, environment))]
    commands = {"dvc repro": [*DVC, "repro"], "empty flow": empty, "flow": RETRAIN}
    calls = {name: lambda command=command: call(command, clone, environment) for name, command in commands.items()}
    seconds = alternated(calls, NUM_IDLE_ROUNDS, num_warm_up=1, clock=time.perf_counter)
    return {name: Quartiles.of(values) for name, values in seconds.items()}


def measure(out: Console) -> list[Figure]:
    """Print wall times of the flow beside its peers and return the figures with a target."""
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
        idle = timed_without_work(clone, environment)
        call([*DVC, "config", "--local", "cache.dir", str(folder / "cache")], clone, environment)
        with server(folder, environment) as with_server:
            real = timed_with_new_seeds(clone, with_server)
    times = table("Wall seconds", "run", "median (quartiles)")
    for what, seconds in {
        **idle,
        **{f"with a server, everything runs: {name}": value for name, value in real.items()},
    }.items():
        times.add_row(what, seconds.text(2))
    out.print(times)
    own = idle["flow"].median - idle["empty flow"].median
    limit = 2 * idle["dvc repro"].median + idle["empty flow"].median
    share = real["flow"].median / real["dvc repro"].median - 1
    own_share = share - real["empty flow"].median / real["dvc repro"].median
    return [
        Figure("flow, nothing to do: its own seconds", f"<= {TARGET_OWN_SECONDS}", f"{own:.2f}", own <= TARGET_OWN_SECONDS),
        Figure("flow, nothing to do: s, against 2 × dvc repro + Prefect", f"<= {limit:.1f}", f"{idle['flow'].median:.1f}", idle["flow"].median <= limit),
        Figure("flow with a server, everything runs: its share", f"<= {TARGET_SHARE:.0%}", f"{share:.1%}", share <= TARGET_SHARE),
        Figure("flow with a server, everything runs: without Prefect's start", f"<= {TARGET_SHARE:.0%}", f"{own_share:.1%}", own_share <= TARGET_SHARE),
    ]  # fmt: skip


if __name__ == "__main__":
    measure(console())
