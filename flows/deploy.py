"""Brings a Prefect server in line with this project: work pools, variables, deployments, schedules, automations.

The deployments are Prefect's own part, `prefect deploy --all`. Before and after it comes what that does not do: the
pools' environment, the automations that find dead runs, and what `prefect.yaml` does not name any more. It can be run any
number of times.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnnflow.runtime.errors import InputError, exit_on_input_error

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.server.manifest import Deployment

DEFAULT_BRANCH = "main"


def main(argv: Sequence[str] | None = None) -> None:
    """Check everything, then change what is not as it should be, and print a line for each thing."""
    arguments = _parser().parse_args(argv)
    with exit_on_input_error():
        _deploy(Path.cwd(), arguments)


def _deploy(folder: Path, arguments: argparse.Namespace) -> None:
    # Prefect takes a second to import, which --help and a mistyped option need not wait for.
    from flows import settings
    from flows.redaction import redacted
    from flows.repository.project import project_name
    from flows.repository.workspace import own_repository, require_no_password, resolve
    from flows.server import manifest, notifications, registration
    from flows.server.connection import connected
    from flows.server.dead_run_automations import automations
    from flows.server.pools import POOLS

    repository = arguments.repository or own_repository(folder)
    require_no_password(repository)
    if (top := Path(resolve(folder, "."))) != folder.resolve():
        raise InputError(
            f"{folder}: expected the top of a Git repository, where runs look for flows/, not a part of {top}; "
            "give the project a repository of its own (git subtree split does)"
        )
    project = project_name(repository, arguments.folder)
    text = manifest.filled_in(folder, project, arguments.folder)
    deployments = manifest.read(text, project)
    with connected() as client:
        _require_own(client, project, repository, arguments.move)
        read = settings.load()
        told = notifications.automations(client, project, read.notify, read.notify_hours)
        for name, value, given in _variables(project, repository, arguments):
            value, change = registration.ensure_variable(client, name, value, given)
            require_no_password(value)  # it may have been set by hand, or by an older version
            _say("variable", f"{name} = {value}", change)
        for pool in POOLS:
            full_name = pool.full_name(project)
            _say("work pool", full_name, registration.ensure_pool(client, pool, full_name, read.work_pools))
        names = _deploy_flows(client, folder, project, text, deployments)
        for automation in (*automations(project, read.start_seconds), *told):
            _say("automation", automation.name, registration.ensure_automation(client, automation))
        for name in notifications.remove_others(client, project, told):
            _say("automation", name, "removed")
        url = redacted(str(client.api_url))
    if not told:
        print("nobody is told of runs that fail or do not come; `notify` in flows/settings.yaml names whom to tell")
    _say_what_next([pool.name for pool in POOLS], names[0], url)


def _variables(project: str, repository: str, arguments: argparse.Namespace) -> Iterator[tuple[str, str, str | None]]:
    """Yield of each variable its name, its first value, and the value that it is to have from now on, if any."""
    yield f"{project}_repository", repository, repository if arguments.move else arguments.repository
    yield f"{project}_branch", DEFAULT_BRANCH, arguments.branch


def _require_own(client: "SyncPrefectClient", project: str, repository: str, is_moved: bool) -> None:
    """Make sure that the project on the server is this one and no other of the same name.

    Raises:
        InputError: its runs clone another repository.
    """
    from flows.repository.project import is_same_repository

    known = client.read_variable_by_name(f"{project}_repository")
    if known and not is_moved and not is_same_repository(str(known.value), repository):
        raise InputError(
            f"project '{project}' on this server is {known.value}, and this is {repository}: give this one another name "
            "(`project:` in flows/settings.yaml), or say --move if it has only moved"
        )


def _deploy_flows(
    client: "SyncPrefectClient", folder: Path, project: str, text: str, deployments: Sequence["Deployment"]
) -> list[str]:
    """Let Prefect deploy the flows, remove what it leaves, and return the full names of the deployments."""
    from flows.server import manifest, prefect_deploy

    with prefect_deploy.keeping_paused(client):
        prefect_deploy.deploy_all(client, folder, text)
    on_server = prefect_deploy.on_server(client, project)
    names = {(each.entrypoint, each.name): name for name, each in on_server.items()}
    deployed = [names[deployment.identity] for deployment in deployments]
    for name, deployment in zip(deployed, deployments, strict=True):
        prefect_deploy.check_parameters(name, on_server[name])
        removed = prefect_deploy.remove_unnamed(client, deployment, on_server[name])
        _say("deployment", name, ", ".join(["deployed", *(f"{each} removed" for each in removed)]))
    for name in sorted(on_server.keys() - set(deployed)):  # their schedules go on
        _say("deployment", name, f"not in {manifest.FILE} any more; if it is to go, prefect deployment delete {name}")
    return deployed


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
    parser.add_argument(
        "--folder", default=".", help="the one with dvc.yaml, for one of several products; default: this one"
    )
    parser.add_argument("--move", action="store_true", help="accept that the project's repository has a new address")
    return parser


if __name__ == "__main__":
    main()
