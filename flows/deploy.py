"""Brings a Prefect server in line with this project: work pools, variables, deployments, schedules, automations.

What is already as it should be is left alone, so it can be run any number of times.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnflow.errors import InputError, exit_on_input_error

if TYPE_CHECKING:  # importing Prefect takes a second, which --help and a mistyped option need not wait for
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore

    from flows.manifest import Deployment
    from flows.pools import Pool

REPOSITORY = "rnnflow_repository"
BRANCH = "rnnflow_branch"
DEFAULT_BRANCH = "main"
CREATED, UPDATED, UNCHANGED, REMOVED = "created", "updated", "unchanged", "removed"


def main(argv: Sequence[str] | None = None) -> None:
    """Check everything, then change what is not as it should be, and print a line for each thing."""
    arguments = _parser().parse_args(argv)
    with exit_on_input_error():
        from flows import manifest
        from flows.connection import connected
        from flows.pools import POOLS
        from flows.watches import automations

        folder = Path.cwd()
        deployments = manifest.read(folder, {pool.name for pool in POOLS})
        repository = arguments.repository or _own_repository(folder)
        with connected() as client:
            for pool in POOLS:
                _say("work pool", pool.name, _ensure_pool(client, pool))
            _say_variable(REPOSITORY, *_ensure_variable(client, REPOSITORY, repository, arguments.repository))
            _say_variable(BRANCH, *_ensure_variable(client, BRANCH, DEFAULT_BRANCH, arguments.branch))
            _ensure_deployments(client, folder, deployments)
            for automation in automations():
                _say("automation", automation.name, _ensure_automation(client, automation))
            _say_what_next(client, deployments)


def _ensure_pool(client: "SyncPrefectClient", pool: "Pool") -> str:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    from flows.pools import TYPE, job_template

    try:
        existing = client.read_work_pool(pool.name)
    except ObjectNotFound:
        template = job_template(pool, ProcessWorker.get_default_base_job_template())
        client.create_work_pool(
            WorkPoolCreate(name=pool.name, description=pool.description, type=TYPE, base_job_template=template)
        )
        return CREATED
    if existing.type != TYPE:
        return f"{UNCHANGED}: somebody made it of type {existing.type}, so its settings are theirs"
    template = existing.base_job_template or ProcessWorker.get_default_base_job_template()
    wanted = WorkPoolUpdate(description=pool.description, base_job_template=job_template(pool, template))
    if (wanted.description, wanted.base_job_template) == (existing.description, existing.base_job_template):
        return UNCHANGED
    client.update_work_pool(pool.name, wanted)
    return UPDATED


def _ensure_variable(client: "SyncPrefectClient", name: str, default: str, given: str | None) -> tuple[str, str]:
    """Give a variable its value and return that; what somebody set changes only for a value that is given."""
    from prefect.client.schemas.actions import VariableCreate, VariableUpdate

    existing = client.read_variable_by_name(name)
    if existing is None:
        client.create_variable(VariableCreate(name=name, value=given or default))
        return given or default, CREATED
    if given is None or existing.value == given:
        return str(existing.value), UNCHANGED
    client.update_variable(VariableUpdate(name=name, value=given))
    return given, UPDATED


def _ensure_deployments(client: "SyncPrefectClient", folder: Path, deployments: "list[Deployment]") -> None:
    before = {deployment.full_name: _read(client, deployment.full_name) for deployment in deployments}
    for deployment in deployments:
        _remove_schedules(client, before[deployment.full_name], deployment)
    _prefect_deploy(folder)
    for name, existing in before.items():
        now = _read(client, name)
        if existing is None:
            _say("deployment", name, CREATED)
        else:
            _say("deployment", name, UNCHANGED if _content(existing) == _content(now) else UPDATED)


def _remove_schedules(client: "SyncPrefectClient", existing: "DeploymentResponse | None", wanted: "Deployment") -> None:
    """Delete schedules that are not in `prefect.yaml`: `prefect deploy` leaves them, and they would go on."""
    for schedule in existing.schedules if existing else []:
        if existing and schedule.slug not in wanted.slugs and schedule.id:
            client.delete_deployment_schedule(existing.id, schedule.id)
            _say("schedule", f"{schedule.slug or schedule.id} of {wanted.full_name}", REMOVED)


def _prefect_deploy(folder: Path) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise InputError(f"prefect deploy --all: {said[-1].strip() if said else done.returncode}")


def _read(client: "SyncPrefectClient", name: str) -> "DeploymentResponse | None":
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _content(deployment: "DeploymentResponse | None") -> dict[str, Any]:
    """What a person decides of a deployment, without what the server counts and stamps."""
    assert deployment is not None
    stamped = {"created", "updated", "last_polled", "status", "version_id", "version_info", "created_by", "updated_by"}
    schedules = {"__all__": {"id", "created", "updated", "deployment_id"}}
    limits = {"created", "updated", "active_slots"}
    excluded: Any = dict.fromkeys(stamped, True) | {"schedules": schedules, "global_concurrency_limit": limits}
    return deployment.model_dump(exclude=excluded)


def _ensure_automation(client: "SyncPrefectClient", wanted: "AutomationCore") -> str:
    from prefect.events.schemas.automations import AutomationCore

    existing = client.read_automations_by_name(wanted.name)
    if not existing:
        client.create_automation(wanted)
        return CREATED
    first, *others = existing
    for other in others:
        client.delete_automation(other.id)
    wanted = wanted.model_copy(update={"enabled": first.enabled})  # who paused it had a reason
    if AutomationCore.model_validate(first.model_dump()) == wanted and not others:
        return UNCHANGED
    client.update_automation(first.id, wanted)
    return UPDATED


def _own_repository(folder: Path) -> str:
    """Return the URL of this clone's `origin`, or the clone itself where it has none."""
    from flows.git import git

    if "origin" not in git(folder, "remote").split():
        return git(folder, "rev-parse", "--show-toplevel")
    url = git(folder, "remote", "get-url", "origin")
    return str((folder / url).resolve()) if (folder / url).is_dir() else url


def _say(kind: str, name: str, outcome: str) -> None:
    print(f"{kind} {name}: {outcome}")


def _say_variable(name: str, value: str, outcome: str) -> None:
    _say("variable", f"{name} = {value}", outcome)


def _say_what_next(client: "SyncPrefectClient", deployments: "list[Deployment]") -> None:
    pools = sorted({deployment.pool for deployment in deployments})
    print("\nStart workers, each in a shell of its own:")
    for pool in pools:
        print(f"  make worker POOL={pool}")
    print("Then start a run without waiting for the clock, and watch it:")
    print(f"  prefect deployment run {deployments[0].full_name}")
    print(f"  {str(client.api_url).rstrip('/').removesuffix('/api')}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.deploy",
        description="Bring the Prefect server at PREFECT_API_URL in line with prefect.yaml and flows/pools.py.",
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
