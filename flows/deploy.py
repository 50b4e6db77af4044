"""Brings a Prefect server in line with this project: work pools, variables, deployments, schedules, automations.

The deployments are Prefect's own part, `prefect deploy --all`. Before and after it comes what that does not do: the
pools' environment, the automations that find dead runs, and what `prefect.yaml` does not name any more. It can be run any
number of times.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnnflow.runtime.errors import exit_on_input_error

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.server.manifest import Deployment

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
    from flows import settings
    from flows.repository.workspace import require_no_password
    from flows.server import manifest, notifications, registration
    from flows.server.connection import connected
    from flows.server.dead_run_automations import automations
    from flows.server.pools import POOLS

    deployments = manifest.read(folder)
    own_repository = repository or _own_repository(folder)
    require_no_password(own_repository)
    with connected() as client:
        told = notifications.automations(client, settings.load().notify)
        for pool in POOLS:
            _say("work pool", pool.name, registration.ensure_pool(client, pool))
        for name, default, given in ((REPOSITORY, own_repository, repository), (BRANCH, DEFAULT_BRANCH, branch)):
            value, change = registration.ensure_variable(client, name, default, given)
            require_no_password(value)  # it may have been set by hand, or by an older version
            _say("variable", f"{name} = {value}", change)
        names = _deploy_flows(client, folder, deployments)
        for automation in (*automations(), *told):
            _say("automation", automation.name, registration.ensure_automation(client, automation))
        for name in notifications.remove_others(client, told):
            _say("automation", name, "removed")
        url = str(client.api_url)
    _say_what_next([pool.name for pool in POOLS], names[0], url)


def _deploy_flows(client: "SyncPrefectClient", folder: Path, deployments: Sequence["Deployment"]) -> list[str]:
    """Let Prefect deploy the flows, remove what it leaves, and return the full names of the deployments."""
    from flows.server import manifest, prefect_deploy

    with prefect_deploy.keeping_paused(client):
        prefect_deploy.deploy_all(client, folder)
    on_server = prefect_deploy.on_server(client)
    names = {(each.entrypoint, each.name): name for name, each in on_server.items()}
    deployed = [names[deployment.identity] for deployment in deployments]
    for name, deployment in zip(deployed, deployments, strict=True):
        prefect_deploy.check_parameters(name, on_server[name])
        removed = prefect_deploy.remove_unnamed(client, deployment, on_server[name])
        _say("deployment", name, ", ".join(["deployed", *(f"{each} removed" for each in removed)]))
    for name in sorted(on_server.keys() - set(deployed)):  # their schedules go on
        _say("deployment", name, f"not in {manifest.FILE} any more; if it is to go, prefect deployment delete {name}")
    return deployed


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
