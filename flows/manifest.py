"""`prefect.yaml` as this project uses it, checked before anything is changed on a server."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.events import DeploymentTriggerTypes
from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.watches import TAG
from rnnflow.errors import InputError

FILE = "prefect.yaml"
SCHEDULES: dict[str, type[BaseModel]] = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
TRIGGER: TypeAdapter[DeploymentTriggerTypes] = TypeAdapter(DeploymentTriggerTypes)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")  # what else there may be is Prefect's business


class WorkPool(_Section):
    name: str | None = None


class Schedule(_Section):
    slug: str | None = None
    timezone: str | None = None


class Deployment(_Section):
    name: str
    entrypoint: str
    work_pool: WorkPool = WorkPool()
    tags: list[str] = []
    parameters: dict[str, Any] = {}
    schedules: list[Schedule] = []
    triggers: list[dict[str, Any]] = []
    flow_name: str = Field(default="", exclude=True)

    @property
    def full_name(self) -> str:
        return f"{self.flow_name}/{self.name}"

    @property
    def pool(self) -> str:
        assert self.work_pool.name is not None
        return self.work_pool.name

    @property
    def slugs(self) -> set[str]:
        return {schedule.slug for schedule in self.schedules if schedule.slug}


class _Manifest(_Section):
    deployments: list[Deployment]


def read(folder: Path, pools: set[str]) -> list[Deployment]:
    """Return the deployments of a folder's `prefect.yaml`.

    Args:
        folder: the top of the project, also the working directory.
        pools: names of the work pools there are.

    Raises:
        InputError: what Prefect would refuse halfway through, or take and then never run.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{FILE}: not in {folder}; run from the top of the project")
    try:
        manifest = _Manifest.model_validate(YAML(typ="safe").load(path.read_text()))
    except YAMLError as error:
        raise InputError(f"{FILE}: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise InputError(f"{FILE}: {_first(error)}") from None
    for deployment in manifest.deployments:
        for problem in _problems(deployment, pools):
            raise InputError(f"{_place(deployment)}: {problem}")
    flows = {deployment.entrypoint: _flow(deployment) for deployment in reversed(manifest.deployments)}
    deployments = [_of_flow(deployment, flows[deployment.entrypoint]) for deployment in manifest.deployments]
    names = [deployment.full_name for deployment in deployments]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{FILE}: {names.count(name)} deployments are called '{name}'; give each a name of its own"
            )
    return deployments


def _place(deployment: Deployment) -> str:
    return f"{FILE}: deployment '{deployment.name}'"


def _problems(deployment: Deployment, pools: set[str]) -> Iterator[str]:
    known = ", ".join(sorted(pools))
    if not deployment.work_pool.name:
        yield f"no work pool, so no worker would ever take its runs; work_pool: name: one of {known}"
    elif deployment.pool not in pools:
        yield f"there is no work pool '{deployment.pool}'; expected one of {known} (flows/pools.py)"
    if TAG not in deployment.tags:
        yield f"no tag '{TAG}', by which the server tells whose runs to watch for dead ones"
    for number, schedule in enumerate(deployment.schedules, start=1):
        problem = _problem_of_schedule(schedule)
        if problem:
            yield f"schedule {number}: {problem}"
    if len(deployment.slugs) < len(deployment.schedules):
        yield "each schedule needs a slug of its own, by which it is found again when it changes"
    for number, trigger in enumerate(deployment.triggers, start=1):
        try:
            TRIGGER.validate_python(trigger)
        except ValidationError as error:
            yield f"trigger {number}: {_first(error)}"


def _problem_of_schedule(schedule: Schedule) -> str | None:
    settings: Mapping[str, Any] = schedule.model_extra or {}
    kinds = [kind for kind in SCHEDULES if kind in settings]
    if len(kinds) != 1:
        return f"expected one of {', '.join(SCHEDULES)}, got {' and '.join(kinds) or 'none'}"
    (kind,) = kinds
    try:
        SCHEDULES[kind].model_validate({kind: settings[kind], "timezone": schedule.timezone})
    except (ValidationError, ValueError) as error:
        return _first(error) if isinstance(error, ValidationError) else str(error)
    return None


def _flow(deployment: Deployment) -> Flow[..., Any]:
    entrypoint = deployment.entrypoint
    place = f"{_place(deployment)}: entrypoint {entrypoint}"
    path, _, name = entrypoint.partition(":")
    if not name:
        raise InputError(f"{place}: expected FILE:FLOW, such as flows/retrain.py:retrain")
    if not Path(path).is_file():
        raise InputError(f"{place}: there is no file {path}")
    try:
        return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    except MissingFlowError:
        raise InputError(f"{place}: {path} has no flow called '{name}'") from None
    except ScriptError as error:
        raise InputError(f"{place}: {error.user_exc!r}") from None


def _of_flow(deployment: Deployment, flow: Flow[..., Any]) -> Deployment:
    known = flow.parameters.properties
    unknown = sorted(set(deployment.parameters) - set(known))
    if unknown:
        expected = ", ".join(known)
        raise InputError(f"{_place(deployment)}: the flow has no parameter '{unknown[0]}'; expected some of {expected}")
    return deployment.model_copy(update={"flow_name": flow.name})


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    location = ".".join(map(str, first["loc"]))
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{location}: {message}, got {first['input']!r}" if location else message
