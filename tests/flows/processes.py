"""Stages of any kind for the fixture `repository`, and the processes that are at work on them."""

import json
import os
from contextlib import suppress
from pathlib import Path

import psutil

from tests.flows.repositories import Repository
from tests.flows.services import is_alive

WAITS = "python waits.py {out}"
"""A stage's command that says `began` and ends when there is a file `go`."""
SCRIPT = """\
import pathlib, sys, time
print("began", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.01)
pathlib.Path(sys.argv[1]).touch()
"""
LIMIT_SECONDS = 60.0
"""Until a test is given up; `make endurance` holds the limit of 10 s that the project sets itself for an ending."""


def with_stages(repository: Repository, **commands: str) -> Path:
    """Give the repository these stages instead of its own, each with one output of its name, and return its folder."""
    stages = {
        name: {"cmd": command.replace("{out}", f"{name}.txt"), "deps": ["params.yaml"], "outs": [f"{name}.txt"]}
        for name, command in commands.items()
    }
    repository.write("waits.py", SCRIPT)
    repository.write("dvc.yaml", json.dumps({"stages": stages}))
    (repository.folder / "dvc.lock").unlink()
    repository.commit("other stages")
    return repository.folder


def supervisor_of(folder: Path) -> psutil.Process:
    """Return the supervisor that this process has started in a workspace."""
    for child in filter(is_alive, psutil.Process().children()):
        if "supervisor.py" in " ".join(child.cmdline()) and child.cwd() == str(folder):
            return child
    raise LookupError(f"no supervisor in {folder}")


def dvc_of(supervisor: psutil.Process) -> psutil.Process:
    """Return the command that a supervisor runs now."""
    (command,) = filter(is_alive, supervisor.children())
    return command


def at_work_in(folder: Path) -> list[str]:
    """Return the command lines of the living processes whose working directory this is; an idle supervisor is not.

    A process that has ended is not at work, whether or not its parent has reaped it. That parent may be an idle
    supervisor, which reports a command's status first and reaps what the command had left behind afterwards.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):  # it has ended meanwhile
            if is_alive(process) and process.cwd() == str(folder) and not _is_idle_supervisor(process):
                found += [" ".join(line)] if (line := process.cmdline()) else []  # none: it is just ending
    return found


def _is_idle_supervisor(process: psutil.Process) -> bool:
    """Return whether this is a supervisor, and not the fork of one that became a command, with no command to run."""
    is_supervisor = "supervisor.py" in " ".join(process.cmdline()) and process.pid == os.getsid(process.pid)
    return is_supervisor and not any(map(is_alive, process.children()))
