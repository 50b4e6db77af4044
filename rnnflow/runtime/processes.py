"""Starting a stage as several processes, by the launcher behind `torchrun`, and knowing which of them one is."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rnnflow.runtime import environment
from rnnflow.runtime.errors import EXIT_STATUS, TEMPORARY_STATUS, InputError

FAILED_STATUS = 1
SIGNALLED_STATUS = 128
POLL_SECONDS = 0.1
PARENT_SECONDS = 0.5
NUM_LINES = 20
"""Of what a failed process has said."""
LAUNCHER = "RNNFLOW_LAUNCHER"


def are_started() -> bool:
    """Return whether this is one of several processes, started by `torchrun` or by `start`."""
    return num_processes() > 1


def num_processes() -> int:
    """Return how many processes train together."""
    return _number("WORLD_SIZE", 1)


def is_first() -> bool:
    """Return whether this process is the one that reads and writes the state, keeps the log and prints."""
    return _number("RANK", 0) == 0


def local_rank() -> int:
    """Return the number of this process on its machine, from 0."""
    return _number("LOCAL_RANK", 0)


def check() -> None:
    """Refuse variables of `torchrun` that cannot be right, such as a rank that a job scheduler left behind.

    Raises:
        InputError: one is no number, or there is no process of that rank; nobody would write the result then.
    """
    rank, number = _number("RANK", 0), num_processes()
    if not 0 <= rank < number:
        raise InputError(
            f"environment variable RANK: expected 0 to {number - 1}, as WORLD_SIZE is {number}, got {rank}; "
            "unset it, or start the stage with torchrun"
        )


def _number(variable: str, default: int) -> int:
    return environment.number(variable, default, "a number that torchrun sets")


def end_with_the_launcher() -> None:
    """End this process when its launcher is killed: it would train on beside a retry."""
    launcher = int(os.environ.get(LAUNCHER, os.getppid()))

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(PARENT_SECONDS)
        os._exit(FAILED_STATUS)

    threading.Thread(target=watch, daemon=True).start()


def start(number: int, module: str, arguments: Sequence[str]) -> NoReturn:
    """Run a module as so many processes on this machine and end as they do.

    What the first one prints is shown. When one fails or is killed, all are ended, and what it said is shown.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logs = Path(tempfile.mkdtemp(prefix="rnnflow-"))
    os.environ[LAUNCHER] = str(os.getpid())
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id="rnnflow",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=POLL_SECONDS,
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=Std.ERR, local_ranks_filter={0}),
    )
    status = 0
    try:
        elastic_launch(config, sys.executable)("-m", module, *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        status = _status(failure.exitcode)
        lines = _said(logs, rank)
        if status in (EXIT_STATUS, TEMPORARY_STATUS):  # it has said why
            print(*lines[-1:], sep="\n", file=sys.stderr)
        else:
            how = f"signal {-failure.exitcode}" if failure.exitcode < 0 else f"status {failure.exitcode}"
            print(*lines, f"error: process {rank} of {number} ended with {how}", sep="\n", file=sys.stderr)
    except SignalException as ending:
        status = SIGNALLED_STATUS + int(ending.sigval)
        print(f"error: ended by {signal.Signals(ending.sigval).name}", file=sys.stderr)
    finally:
        shutil.rmtree(logs, ignore_errors=True)
    sys.exit(status)


def _status(status: int) -> int:
    """As a shell says it."""
    return SIGNALLED_STATUS - status if status < 0 else status


def _said(logs: Path, rank: int) -> list[str]:
    """The last lines of a process on standard error."""
    files = [*logs.rglob(f"{rank}/stderr.log")]
    return [line for file in files for line in file.read_text(errors="replace").splitlines()][-NUM_LINES:]
