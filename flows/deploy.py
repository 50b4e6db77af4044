"""Brings a Prefect server in line with this project: work pools, variables, deployments, schedules, automations.

What is already as it should be is left alone, so it can be run any number of times.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rnnflow.runtime.errors import exit_on_input_error

REPOSITORY = "rnnflow_repository"
BRANCH = "rnnflow_branch"
DEFAULT_BRANCH = "main"


def main(argv: Sequence[str] | None = None) -> None:
    """Check everything, then change what is not as it should be, and print a line for each thing."""
    arguments = _parser().parse_args(argv)
    with exit_on_input_error():
        _deploy(Path.cwd(), arguments.repository, arguments.branch)


def _deploy(folder: Path, repository: str | None, branch: str | None) -> None:
    # Prefect takes a second to import, which --help and a mistyped option need not wait for.
    from flows.server import manifest, registration
    from flows.server.connection import connected
    from flows.server.dead_run_automations import automations
    from flows.server.pools import POOLS

    deployments = manifest.read(folder, {pool.name for pool in POOLS})
    own_repository = repository or _own_repository(folder)
    with connected() as client:
        for pool in POOLS:
            _say("work pool", pool.name, registration.ensure_pool(client, pool))
        for name, default, given in ((REPOSITORY, own_repository, repository), (BRANCH, DEFAULT_BRANCH, branch)):
            value, change = registration.ensure_variable(client, name, default, given)
            _say("variable", f"{name} = {value}", change)
        for deployment in registration.with_variables(deployments):
            change, triggers = registration.ensure_deployment(client, deployment)
            _say("deployment", deployment.full_name, change)
            for name, change in triggers.items():
                _say("automation", name, change)
        for automation in automations():
            _say("automation", automation.name, registration.ensure_automation(client, automation))
        for name in registration.left_over(client, deployments):
            _say(
                "deployment", name, f"not in {manifest.FILE} any more; if it is to go, prefect deployment delete {name}"
            )
        url = str(client.api_url)
    _say_what_next(sorted({deployment.pool for deployment in deployments}), deployments[0].full_name, url)


def _own_repository(folder: Path) -> str:
    """Return the URL of this clone's `origin`, or the clone itself where it has none."""
    from flows.repository.git import git
    from flows.repository.workspace import resolve

    return resolve(folder, "origin" if "origin" in git(folder, "remote").split() else ".")


def _say(kind: str, name: str, change: str) -> None:
    print(f"{kind} {name}: {change}")


def _say_what_next(pools: Sequence[str], deployment: str, api_url: str) -> None:
    print("\nStart workers, each in a shell of its own:")
    for pool in pools:
        print(f"  make worker POOL={pool}")
    print("Then start a run without waiting for the clock, and watch it:")
    print(f"  prefect deployment run {deployment}")
    print(f"  {api_url.rstrip('/').removesuffix('/api')}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.deploy",
        description="Bring the Prefect server at PREFECT_API_URL in line with prefect.yaml and flows/server/pools.py.",
    )
    parser.add_argument(
        "--repository",
        metavar="URL",
        help="Git repository that runs clone and publish to, as workers reach it; "
        "default: what is set on the server, or else this clone's origin",
    )
    parser.add_argument(
        "--branch",
        help=f"branch whose code runs and whose revision they retrain; default: what is set, or else {DEFAULT_BRANCH}",
    )
    return parser


if __name__ == "__main__":
    main()
