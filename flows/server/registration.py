"""Work pools, variables and automations on a Prefect server, each made what it should be."""

from enum import StrEnum

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from flows.server.pools import TYPE, Pool, job_template


class Change(StrEnum):
    """What has become of a thing."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    NOT_OURS = "unchanged: somebody made it of another type, so its settings are theirs"


def ensure_pool(client: SyncPrefectClient, pool: Pool, name: str) -> Change:
    """Create or update a work pool and its environment; settings that are not the project's stay as they are."""
    try:
        existing = client.read_work_pool(name)
    except ObjectNotFound:
        template = job_template(pool, ProcessWorker.get_default_base_job_template())
        client.create_work_pool(
            WorkPoolCreate(name=name, description=pool.description, type=TYPE, base_job_template=template)
        )
        return Change.CREATED
    if existing.type != TYPE:
        return Change.NOT_OURS
    # Empty for a pool that a worker made before it was deployed.
    template = existing.base_job_template or ProcessWorker.get_default_base_job_template()
    wanted = WorkPoolUpdate(description=pool.description, base_job_template=job_template(pool, template))
    if (wanted.description, wanted.base_job_template) == (existing.description, existing.base_job_template):
        return Change.UNCHANGED
    client.update_work_pool(name, wanted)
    return Change.UPDATED


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
