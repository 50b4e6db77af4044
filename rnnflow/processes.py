"""Starting a stage as several processes, by the launcher behind `torchrun`."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from rnnflow.errors import EXIT_STATUS

FAILED_STATUS = 1
POLL_SECONDS = 0.1


def are_started() -> bool:
    """Return whether this is one of several processes, started by `torchrun` or by `start`."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Return whether this process is the one that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def start(num_processes: int, module: str, arguments: Sequence[str]) -> NoReturn:
    """Run a module as so many processes on this machine and end as they do.

    The first one's output is shown. When one fails or is killed, all are ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id="rnnflow",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=POLL_SECONDS,
        logs_specs=DefaultLogsSpecs(local_ranks_filter={0}),
    )
    try:
        elastic_launch(config, sys.executable)("-m", module, *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == EXIT_STATUS:  # it has said why
            sys.exit(EXIT_STATUS)
        print(f"error: process {rank} of {num_processes} ended with {_how(failure.exitcode)}", file=sys.stderr)
        sys.exit(FAILED_STATUS)
    sys.exit(0)


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
