"""Work pools, variables, deployments and automations on a Prefect server, each made what it should be."""

import asyncio
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.utilities.templating import resolve_variables
from prefect.workers.process import ProcessWorker

from flows.server.dead_run_automations import TAG
from flows.server.manifest import Deployment
from flows.server.pools import TYPE, Pool, job_template


class Change(StrEnum):
    """What has become of a thing."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    NOT_OURS = "unchanged: somebody made it of another type, so its settings are theirs"


def ensure_pool(client: SyncPrefectClient, pool: Pool) -> Change:
    """Have a work pool with its environment; settings of it that are not the project's stay as they are."""
    try:
        existing = client.read_work_pool(pool.name)
    except ObjectNotFound:
        template = job_template(pool, ProcessWorker.get_default_base_job_template())
        client.create_work_pool(
            WorkPoolCreate(name=pool.name, description=pool.description, type=TYPE, base_job_template=template)
        )
        return Change.CREATED
    if existing.type != TYPE:
        return Change.NOT_OURS
    # Empty for a pool that a worker made before it was deployed.
    template = existing.base_job_template or ProcessWorker.get_default_base_job_template()
    wanted = WorkPoolUpdate(description=pool.description, base_job_template=job_template(pool, template))
    if (wanted.description, wanted.base_job_template) == (existing.description, existing.base_job_template):
        return Change.UNCHANGED
    client.update_work_pool(pool.name, wanted)
    return Change.UPDATED


def ensure_variable(client: SyncPrefectClient, name: str, default: str, given: str | None) -> tuple[str, Change]:
    """Have a variable and return its value; what somebody set changes only for a value that is given."""
    existing = client.read_variable_by_name(name)
    if existing is None:
        client.create_variable(VariableCreate(name=name, value=given or default))
        return given or default, Change.CREATED
    if given is None or existing.value == given:
        return str(existing.value), Change.UNCHANGED
    client.update_variable(VariableUpdate(name=name, value=given))
    return given, Change.UPDATED


def with_variables(deployments: Sequence[Deployment]) -> list[Deployment]:
    """Put the server's values where parameters say `{{ prefect.variables.NAME }}`, as `prefect deploy` does."""
    parameters: list[dict[str, Any]] = asyncio.run(resolve_variables([each.parameters for each in deployments]))
    return [
        deployment.model_copy(update={"parameters": values})
        for deployment, values in zip(deployments, parameters, strict=True)
    ]


def ensure_deployment(client: SyncPrefectClient, wanted: Deployment) -> tuple[Change, dict[str, Change]]:
    """Have a deployment as `prefect.yaml` says, and return what became of it and, by name, of its triggers.

    Unlike `prefect deploy`, it leaves no schedule or limit on the server that the file does not name any more.
    """
    assert wanted.flow is not None
    limit = wanted.concurrency_limit
    before = _read(client, wanted.full_name)
    deployment = client.create_deployment(
        client.create_flow_from_name(wanted.flow.name),
        wanted.name,
        version=wanted.flow.version,
        description=wanted.description,
        tags=wanted.tags,
        entrypoint=wanted.entrypoint,
        pull_steps=wanted.pull,
        parameters=wanted.parameters,
        parameter_openapi_schema=wanted.flow.parameters.model_dump_for_openapi(),
        enforce_parameter_schema=True,
        work_pool_name=wanted.pool,
        job_variables=wanted.work_pool.job_variables,
        schedules=[schedule.on_server() for schedule in wanted.schedules],
        concurrency_limit=limit.limit if limit else None,
        concurrency_options=ConcurrencyOptions.model_validate(limit.model_dump(exclude={"limit"})) if limit else None,
    )
    for trigger in wanted.triggers:
        trigger.set_deployment_id(deployment)
    automations = [trigger.as_automation() for trigger in wanted.triggers]
    triggers = _ensure_owned(client, f"prefect.deployment.{deployment}", automations)
    if before is None:
        return Change.CREATED, triggers
    is_same = _content(before) == _content(_read(client, wanted.full_name))
    return (Change.UNCHANGED if is_same else Change.UPDATED), triggers


def left_over(client: SyncPrefectClient, deployments: Sequence[Deployment]) -> list[str]:
    """Return the names of the server's other deployments with the project's tag; their schedules go on."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    names = {
        f"{client.read_flow(each.flow_id).name}/{each.name}"
        for each in client.read_deployments(deployment_filter=tagged)
    }
    return sorted(names - {deployment.full_name for deployment in deployments})


def ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> Change:
    """Have one automation of this name; one that somebody paused stays paused."""
    existing = client.read_automations_by_name(wanted.name)
    if not existing:
        client.create_automation(wanted)
        return Change.CREATED
    first, *others = existing
    for other in others:
        client.delete_automation(other.id)
    wanted = _paused_like(first, wanted)
    if _is_same(first, wanted) and not others:
        return Change.UNCHANGED
    client.update_automation(first.id, wanted)
    return Change.UPDATED


def _ensure_owned(client: SyncPrefectClient, owner: str, automations: Iterable[AutomationCore]) -> dict[str, Change]:
    """Have these automations of a deployment and no others.

    The server does not tell which belong to it, only which have to do with it, and somebody's own may be among those.
    It deletes the ones that belong to it, though.
    """
    before = {automation.name: automation for automation in client.read_resource_related_automations(owner)}
    wanted = [_paused_like(before.get(automation.name), automation) for automation in automations]
    same = {each.name for each in wanted if each.name in before and _is_same(before[each.name], each)}
    if same != before.keys() | {each.name for each in wanted}:
        client.delete_resource_owned_automations(owner)
        for automation in wanted:
            client.create_automation(automation)
    after = {automation.name for automation in client.read_resource_related_automations(owner)}
    changes = dict.fromkeys(before.keys() - after, Change.REMOVED)
    for automation in wanted:
        change = Change.UPDATED if automation.name in before else Change.CREATED
        changes[automation.name] = Change.UNCHANGED if automation.name in same else change
    return changes


def _paused_like(existing: AutomationCore | None, wanted: AutomationCore) -> AutomationCore:
    return wanted.model_copy(update={"enabled": existing.enabled}) if existing else wanted


def _is_same(existing: AutomationCore, wanted: AutomationCore) -> bool:
    fields = ("description", "enabled", "trigger", "actions")
    return all(getattr(existing, field) == getattr(wanted, field) for field in fields)


def _read(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _content(deployment: DeploymentResponse | None) -> dict[str, Any]:
    """What a person decides of a deployment, without what the server counts and stamps."""
    assert deployment is not None
    stamped = {"created", "updated", "last_polled", "status", "version_id", "version_info", "created_by", "updated_by"}
    schedules = {"__all__": {"id", "created", "updated", "deployment_id"}}
    limits = {"created", "updated", "active_slots"}
    excluded: Any = dict.fromkeys(stamped, True) | {"schedules": schedules, "global_concurrency_limit": limits}
    return deployment.model_dump(exclude=excluded)
