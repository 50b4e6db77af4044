"""Work pools, variables and automations on a Prefect server, each made what it should be."""

from enum import StrEnum
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from flows.server.pools import Pool, job_template
from flows.settings import WorkPools


class Change(StrEnum):
    """What has become of a thing."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    NOT_OURS = "unchanged: somebody made it of another type, so its settings are theirs"


def ensure_pool(client: SyncPrefectClient, pool: Pool, name: str, kind: WorkPools) -> Change:
    """Create or update a work pool and its environment; settings that are not the project's stay as they are."""
    try:
        existing = client.read_work_pool(name)
    except ObjectNotFound:
        template = job_template(pool, _default_template(client, kind.type), kind)
        client.create_work_pool(
            WorkPoolCreate(name=name, description=pool.description, type=kind.type, base_job_template=template)
        )
        return Change.CREATED
    if existing.type != kind.type:
        return Change.NOT_OURS
    # Empty for a pool that a worker made before it was deployed.
    template = existing.base_job_template or _default_template(client, kind.type)
    wanted = WorkPoolUpdate(description=pool.description, base_job_template=job_template(pool, template, kind))
    if (wanted.description, wanted.base_job_template) == (existing.description, existing.base_job_template):
        return Change.UNCHANGED
    client.update_work_pool(name, wanted)
    return Change.UPDATED


def _default_template(client: SyncPrefectClient, type_: str) -> dict[str, Any]:
    """Return the base job template that Prefect gives a pool of a type; the server knows those of all its packages."""
    types = {name: about for package in client.read_worker_metadata().values() for name, about in package.items()}
    template: dict[str, Any] = types[type_]["default_base_job_configuration"]
    return template


def ensure_variable(client: SyncPrefectClient, name: str, default: str, given: str | None) -> tuple[str, Change]:
    """Create or update a variable and return its value; what somebody set changes only for a value that is given."""
    existing = client.read_variable_by_name(name)
    if existing is None:
        client.create_variable(VariableCreate(name=name, value=given or default))
        return given or default, Change.CREATED
    if given is None or existing.value == given:
        return str(existing.value), Change.UNCHANGED
    client.update_variable(VariableUpdate(name=name, value=given))
    return given, Change.UPDATED


def ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> Change:
    """Create or update the one automation of this name; one that somebody paused stays paused."""
    existing = client.read_automations_by_name(wanted.name)
    if not existing:
        client.create_automation(wanted)
        return Change.CREATED
    first, *others = existing
    for other in others:
        client.delete_automation(other.id)
    wanted = wanted.model_copy(update={"enabled": first.enabled})
    fields = ("description", "trigger", "actions")
    if all(getattr(first, field) == getattr(wanted, field) for field in fields) and not others:
        return Change.UNCHANGED
    client.update_automation(first.id, wanted)
    return Change.UPDATED
