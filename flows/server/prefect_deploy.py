"""`prefect deploy --all`, its refusals as one line, and what it leaves on the server that `prefect.yaml` does not name."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse

from flows.server.manifest import FILE, Deployment
from rnnflow.runtime.errors import InputError

_COMMAND = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file")
_WIDE = {"COLUMNS": "1000", "NO_COLOR": "1"}
"""So that no message is broken into lines."""
_FRAMES = "╭│╰"


def deploy_all(client: SyncPrefectClient, folder: Path, manifest: str) -> None:
    """Bring the deployments, schedules and triggers on the server in line with a manifest, names filled in.

    Raises:
        InputError: Prefect or the server refuses one of them; those before it are deployed.
    """
    environment = {**os.environ, **_WIDE, "PREFECT_API_URL": str(client.api_url)}
    with tempfile.NamedTemporaryFile("w", suffix=FILE) as file:
        file.write(manifest)
        file.flush()
        command = [*_COMMAND, file.name]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{FILE}: {_refusal(done.stdout + done.stderr)}")


def _refusal(printed: str) -> str:
    """Return what `prefect deploy` said of the deployment that was refused, the exception under a traceback."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    frames = [place for place, line in enumerate(lines) if line[0] in _FRAMES]
    place = f"deployment '{lines[frames[-2]].strip('│ ').removeprefix('Deploying ')}': " if frames else ""
    said = lines[frames[-1] + 1 :] if frames else lines
    if any(line.startswith("Traceback") for line in said):
        return place + said[-1].partition(" - For more information")[0]
    return place + " ".join(line for line in said[:3] if "https://" not in line)


def on_server(client: SyncPrefectClient, project: str) -> dict[str, DeploymentResponse]:
    """Return a project's deployments, those that have its name as a tag, by their full names; the newest last."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[project]))
    found = sorted(client.read_deployments(deployment_filter=tagged), key=attrgetter("created"))
    return {f"{client.read_flow(each.flow_id).name}/{each.name}": each for each in found}


def remove_unnamed(client: SyncPrefectClient, wanted: Deployment, deployed: DeploymentResponse) -> Iterator[str]:
    """Remove what the file no longer names, which Prefect keeps: schedules and the limit. Yield what was removed."""
    slugs = {schedule.get("slug") for schedule in wanted.schedules}
    for schedule in deployed.schedules:
        if schedule.slug not in slugs:
            client.delete_deployment_schedule(deployed.id, schedule.id)
            yield f"schedule {schedule.slug}"
    if wanted.concurrency_limit is None and deployed.global_concurrency_limit is not None:
        client.update_deployment(deployed.id, DeploymentUpdate(concurrency_limit=None))
        yield "concurrency limit"


def check_parameters(name: str, deployed: DeploymentResponse) -> None:
    """Make sure that the flow has the parameters: the server takes others, and then every run fails.

    Raises:
        InputError: it has not.
    """
    known = (deployed.parameter_openapi_schema or {}).get("properties", {})
    for parameters in (deployed.parameters, *(schedule.parameters for schedule in deployed.schedules)):
        for parameter in parameters.keys() - known.keys():
            raise InputError(
                f"{FILE}: deployment '{name}': its runs would fail: the flow has no parameter '{parameter}'; "
                f"expected some of {', '.join(known)}"
            )


@contextmanager
def keeping_paused(client: SyncPrefectClient) -> Iterator[None]:
    """Pause those automations again that were paused before: Prefect makes a deployment's triggers anew each time."""
    paused = {automation.name for automation in client.read_automations() if not automation.enabled}
    yield
    for automation in client.read_automations():
        if automation.enabled and automation.name in paused:
            client.pause_automation(automation.id)
