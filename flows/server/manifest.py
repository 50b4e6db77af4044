"""`prefect.yaml` as this project uses it, checked before anything is changed on a server."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import SCHEDULE_TYPES, CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.events import DeploymentTriggerTypes
from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.schema_tools import ValidationError as SchemaError
from prefect.utilities.schema_tools import validate
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.server.dead_run_automations import TAG
from rnnflow.runtime.errors import InputError

FILE = "prefect.yaml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Schedule(_Section):
    """When runs start.

    Attributes:
        slug: by which the server knows it, and people.
        active: whether it starts runs.
        parameters: of its runs, over those of the deployment.
        timezone: such as Europe/Berlin.
        cron: one of these three.
        interval: in seconds.
        rrule: as in iCalendar.
    """

    slug: str
    active: bool = True
    parameters: dict[str, Any] = {}
    timezone: str | None = None
    cron: str | None = None
    interval: float | None = None
    rrule: str | None = None

    def on_server(self) -> DeploymentScheduleCreate:
        return DeploymentScheduleCreate(
            schedule=self._schedule(), active=self.active, slug=self.slug, parameters=self.parameters
        )

    @model_validator(mode="after")
    def _is_valid(self) -> "Schedule":
        try:
            self._schedule()
        except ValidationError as error:
            raise ValueError(_first(error)) from None
        return self

    def _schedule(self) -> SCHEDULE_TYPES:
        kinds = ("cron", "interval", "rrule")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(kinds)}, got {' and '.join(given) or 'none'}")
        if self.cron is not None:
            return CronSchedule(cron=self.cron, timezone=self.timezone)
        if self.interval is not None:
            return IntervalSchedule(interval=timedelta(seconds=self.interval), timezone=self.timezone)
        return RRuleSchedule(rrule=str(self.rrule), timezone=self.timezone)


class WorkPool(_Section):
    name: str | None = None
    job_variables: dict[str, Any] = {}


class Deployment(_Section):
    name: str
    entrypoint: str
    description: str
    tags: list[str]
    work_pool: WorkPool = WorkPool()
    parameters: dict[str, Any] = {}
    concurrency_limit: ConcurrencyLimitConfig | None = None
    schedules: list[Schedule] = []
    triggers: list[DeploymentTriggerTypes] = []
    pull: list[dict[str, Any]]
    flow: Flow[..., Any] | None = Field(default=None, exclude=True)

    @property
    def full_name(self) -> str:
        assert self.flow is not None
        return f"{self.flow.name}/{self.name}"

    @property
    def pool(self) -> str:
        assert self.work_pool.name is not None
        return self.work_pool.name


def read(folder: Path, pools: set[str]) -> list[Deployment]:
    """Return the deployments of a folder's `prefect.yaml`, with their flows.

    Args:
        folder: the top of the project, also the working directory.
        pools: names of the work pools there are.

    Raises:
        InputError: what Prefect would refuse halfway through, or take and then never run.
    """
    content = _load(folder)
    flows: dict[str, Flow[..., Any]] = {}
    deployments: list[Deployment] = []
    for number, entry in enumerate(content["deployments"], start=1):
        try:
            deployment = Deployment.model_validate({"pull": content.get("pull")} | entry)
            _check(deployment, pools)
            if deployment.entrypoint not in flows:
                flows[deployment.entrypoint] = _load_flow(deployment.entrypoint)
            deployment = deployment.model_copy(update={"flow": flows[deployment.entrypoint]})
            _check_parameters(deployment)
        except ValidationError as error:
            raise InputError(f"{FILE}: deployment '{entry.get('name', number)}': {_first(error)}") from None
        except ValueError as error:
            raise InputError(f"{FILE}: deployment '{deployment.name}': {error}") from None
        if any(deployment.full_name == other.full_name for other in deployments):
            raise InputError(
                f"{FILE}: two deployments are called '{deployment.full_name}'; give each a name of its own"
            )
        deployments.append(deployment)
    return deployments


def _load(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{FILE}: not in {folder}; run from the top of the project")
    try:
        content = YAML(typ="safe").load(path.read_text())
    except YAMLError as error:
        raise InputError(f"{FILE}: {' '.join(str(error).split())}") from None
    deployments = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(deployments, list) or not all(isinstance(entry, dict) for entry in deployments):
        raise InputError(f"{FILE}: expected a list of deployments under 'deployments'")
    return dict(content)


def _check(deployment: Deployment, pools: set[str]) -> None:
    known = ", ".join(sorted(pools))
    if not deployment.work_pool.name:
        raise ValueError(f"no work pool, so no worker would ever take its runs; work_pool: name: one of {known}")
    if deployment.pool not in pools:
        raise ValueError(f"there is no work pool '{deployment.pool}'; expected one of {known} (flows/server/pools.py)")
    if TAG not in deployment.tags:
        raise ValueError(f"no tag '{TAG}', by which the server tells whose runs to watch for dead ones")
    if len({schedule.slug for schedule in deployment.schedules}) < len(deployment.schedules):
        raise ValueError("two schedules have the same slug; give each one of its own")


def _load_flow(entrypoint: str) -> Flow[..., Any]:
    path, _, name = entrypoint.partition(":")
    if not name:
        raise ValueError(f"entrypoint {entrypoint}: expected FILE:FLOW, such as flows/retrain.py:retrain")
    if not Path(path).is_file():
        raise ValueError(f"entrypoint {entrypoint}: there is no file {path}")
    try:
        return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    except MissingFlowError:
        raise ValueError(f"entrypoint {entrypoint}: {path} has no flow called '{name}'") from None
    except ScriptError as error:
        raise ValueError(f"entrypoint {entrypoint}: {error.user_exc!r}") from None


def _check_parameters(deployment: Deployment) -> None:
    assert deployment.flow is not None
    schema = deployment.flow.parameters
    for parameters in (deployment.parameters, *(schedule.parameters for schedule in deployment.schedules)):
        unknown = sorted(set(parameters) - set(schema.properties))
        if unknown:
            known = ", ".join(schema.properties)
            raise ValueError(f"the flow has no parameter '{unknown[0]}'; expected some of {known}")
        try:
            validate(parameters, schema.model_dump_for_openapi(), raise_on_error=True, ignore_required=True)
        except SchemaError as error:
            raise ValueError(f"parameters: {error}") from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    location = ".".join(map(str, first["loc"]))
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    if first["type"] == "missing":
        return f"{location}: missing"
    if first["type"] == "value_error":  # says itself what came
        return f"{location}: {message}" if location else message
    return f"{location}: {message}, got {first['input']!r}"
