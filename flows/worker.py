"""Starts a worker of one of the project's pools, by the pool's full name on the server."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from flows import settings
from flows.repository.project import project_name
from flows.repository.workspace import own_repository
from flows.server.pools import POOLS
from rnnflow.runtime.errors import exit_on_input_error


def main(argv: Sequence[str] | None = None) -> None:
    """Become the worker."""
    parser = argparse.ArgumentParser(prog="python -m flows.worker", description=__doc__)
    parser.add_argument("pool", choices=[pool.name for pool in POOLS])
    parser.add_argument("--folder", default=".", help="with dvc.yaml, as for `python -m flows.deploy`")
    arguments, options = parser.parse_known_args(argv)  # the others are Prefect's
    with exit_on_input_error():
        type_ = settings.load().work_pools.type
        name = f"{project_name(own_repository(Path.cwd()), arguments.folder)}-{arguments.pool}"
    prefects_own = ["-m", "prefect", "worker", "start", "--type", type_]
    start = ["-m", "flows.process_worker"] if type_ == "process" else prefects_own
    command = [sys.executable, *start, "--pool", name, *options]
    os.execv(sys.executable, command)  # noqa: S606 the signals of an init system are for the worker itself


if __name__ == "__main__":
    main()
