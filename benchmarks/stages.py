"""Where the seconds of a run of the default pipeline go: each process's CPU time, and how much of it is spent on imports.

python -m benchmarks.stages     # some ten minutes; writes its part of docs/performance.md
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from ruamel.yaml import YAML

from benchmarks import performance_page
from benchmarks.flow import DVC, REPOSITORY, call, with_new_seeds
from benchmarks.measuring import Figure, alternated, command, table

NUM_ROUNDS = 3
REPRO, FLOW = "dvc repro -f", "make run"
RUN = [sys.executable, "-m", "flows", "--allow-dirty", "--summary"]
"""What `make run` calls."""
IMPORT_ALL = """
import importlib, sys
from contextlib import suppress
for name in sys.argv[1:]:
    with suppress(Exception):
        importlib.import_module(name)
"""
TARGET_TRAIN, TARGET_REPRO, TARGET_UP_TO_DATE, TARGET_RATIO = 0.8, 12.0, 2.0, 1.3
"""Seconds on two quiet cores with AVX-512; the last: the flow's, against `dvc repro`."""


def measure(out: Console, writes: bool = False) -> list[Figure]:
    """Print the seconds of each process and return the figures with a target."""
    with tempfile.TemporaryDirectory() as name:
        folder, clone = Path(name), Path(name) / "rnnflow"
        environment = {
            **{key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(folder / "prefect"),
        }
        call(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], folder, environment)
        call([*DVC, "repro"], clone, environment)
        stages = YAML(typ="safe").load(clone / "dvc.lock")["stages"]
        commands = {name: [sys.executable, *stage["cmd"].split()[1:]] for name, stage in stages.items()}
        commands[FLOW] = RUN
        importing = {name: _importing(command, clone, environment) for name, command in commands.items()}
        commands[REPRO] = [*DVC, "repro", "-f"]
        cpu, imports = (_cpu_seconds(all_of, clone, environment) for all_of in (commands, importing))
        both: Mapping[str, Callable[[], str]] = {
            "dvc repro": partial(call, [*DVC, "repro"], clone, environment),
            FLOW: partial(call, RUN, clone, environment),
        }
        wall = alternated(with_new_seeds(clone, both), NUM_ROUNDS, 0, time.perf_counter)
    whole, of_stages = cpu[REPRO], sum(cpu[name] for name in stages)
    ratio = float(np.median(wall[FLOW] / wall["dvc repro"]))
    rows: list[tuple[str, float, float | None]] = [(name, cpu[name], imports[name]) for name in stages]
    rows += [("DVC itself", whole - of_stages, None), (REPRO, whole, None)]
    rows.append((f"{FLOW}, nothing to do", cpu[FLOW], imports[FLOW]))
    said = (
        f"All to do, wall: `{FLOW}` {np.median(wall[FLOW]):.1f} s, `dvc repro` {np.median(wall['dvc repro']):.1f} s, in turn on "
        f"data that no run has seen, {NUM_ROUNDS} pairs: {ratio:.2f} times as long."
    )
    printed = table("CPU seconds", "process", "all", "of it imports")
    for process, seconds, of_imports in rows:
        printed.add_row(process, f"{seconds:.2f}", "" if of_imports is None else f"{of_imports:.2f}")
    out.print(printed, said)
    if writes:
        performance_page.keep_seconds(rows, said)
        performance_page.write()
    return [
        Figure("stage train of the default RNN: CPU s", f"<= {TARGET_TRAIN}", f"{cpu['train@rnn']:.2f}", cpu["train@rnn"] <= TARGET_TRAIN),
        Figure("dvc repro -f: CPU s", f"<= {TARGET_REPRO}", f"{whole:.1f}", whole <= TARGET_REPRO),
        Figure("make run, up to date: CPU s", f"<= {TARGET_UP_TO_DATE}", f"{cpu[FLOW]:.2f}", cpu[FLOW] <= TARGET_UP_TO_DATE),
        Figure("make run, all to do: its wall time / dvc repro's", f"<= {TARGET_RATIO}", f"{ratio:.2f}", ratio <= TARGET_RATIO),
    ]  # fmt: skip


def _cpu_seconds(commands: Mapping[str, list[str]], folder: Path, environment: Mapping[str, str]) -> dict[str, float]:
    functions = {name: partial(call, command, folder, environment) for name, command in commands.items()}
    return {name: float(np.median(of)) for name, of in alternated(functions, NUM_ROUNDS, 0, _cpu_of_children).items()}


def _cpu_of_children() -> float:
    """Return the CPU seconds of all processes that have been waited for, theirs included."""
    times = os.times()
    return times.children_user + times.children_system


def _importing(command: list[str], folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Return the command of a process that imports the same modules and does nothing else."""
    timed = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(timed, cwd=folder, env=dict(environment), capture_output=True, text=True, check=True)
    modules = re.findall(r"^import time: .*\| +([\w.]+)$", done.stderr, re.MULTILINE)
    return [command[0], "-c", IMPORT_ALL, *modules]


if __name__ == "__main__":
    command(measure, writes=True)
