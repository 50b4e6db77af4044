"""`flows/settings.yaml` as a frozen type: which workers, how long, how often."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, ValidationError, model_validator

from rnnflow.params.section import Section, in_one_line, parse
from rnnflow.runtime.errors import InputError, library

FILE = Path(__file__).with_name("settings.yaml")
DEFAULT = "default"
AUTO: Literal["auto"] = "auto"
TRANSFERS = ("pull", "push", "checkout")
"""Commands of DVC that have time limits of their own, like stages."""


def _number_or_auto(value: object) -> object:
    """Two kinds of value, of which pydantic would name but the first."""
    if value == AUTO or (type(value) is int and value >= 1):
        return value
    raise ValueError(f"expected auto or a whole number from 1 on, got {value!r}")


def _written(pattern: str, expected: str) -> AfterValidator:
    """Refuse text that is not written so; pydantic would show the pattern."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"expected {expected}, got {value!r}")
        return value

    return AfterValidator(check)


class Retries(Section):
    max: int = Field(ge=0)
    delay_seconds: PositiveFloat


class Notify(Section):
    """Whom a block of Prefect tells what."""

    block: Annotated[str, _written(r"[a-z0-9-]+/[a-z0-9-]+", "a block's type and name, such as slack-webhook/team")]
    """Type and name, as in Prefect: `slack-webhook/team`."""
    of: list[Literal["failed", "crashed", "worse", "promoted", "silent", "unchanged"]] = Field(min_length=1)

    @property
    def type(self) -> str:
        return self.block.partition("/")[0]

    @property
    def name(self) -> str:
        return self.block.partition("/")[2]


class NotifyHours(Section):
    """After how long people are told that something has not happened."""

    silent: PositiveFloat = 36
    """No run has succeeded."""
    unchanged: PositiveFloat = 168
    """No run has published anything new."""


AtLeast = Literal["better", "not-worse"]
ENOUGH: dict[AtLeast, tuple[str, ...]] = {"better": ("better",), "not-worse": ("better", "not worse")}
"""The verdicts that are at least this."""


class Promote(Section):
    """What a run with `publish: promote` asks for."""

    at_least: AtLeast = "better"

    @property
    def allowed(self) -> tuple[str, ...]:
        return ENOUGH[self.at_least]


class WorkPools(Section):
    """What a worker makes of a flow run: a process of its own machine, or a container."""

    type: Literal["process", "docker", "kubernetes"] = "process"
    image: str | None = None
    volume: str | None = None

    @model_validator(mode="after")
    def _have_image(self) -> "WorkPools":
        if (self.type == "process") != (self.image is None) or (self.volume and not self.image):
            raise ValueError(
                "image: expected the worker image for docker and kubernetes, and neither it nor volume for process"
            )
        return self


class KeepDays(Section):
    cache: PositiveFloat
    resume: PositiveFloat
    clones: PositiveFloat


class Settings(Section):
    project: (
        Annotated[str, _written("[a-z0-9]+(-[a-z0-9]+)*", "lower-case letters and digits, with single '-' between")]
        | None
    ) = None
    workers: dict[str, str]
    worker_wait_seconds: PositiveFloat
    start_seconds: float = Field(default=300, ge=10)
    """Between a worker's taking a run and the flow's first line: Python's start, the clone of the code, an image's download.

    Nothing gives a sign of life meanwhile, and a run that is called dead too early is lost. Prefect watches for no less.
    """
    parallel: Annotated[Literal["auto"] | int, BeforeValidator(_number_or_auto)] = AUTO
    """How many threads the stages of a run that are at work in one workspace may have between them."""
    timeout_seconds: dict[str, PositiveFloat]
    work_pools: WorkPools = WorkPools()
    retries: Retries
    keep_days: KeepDays
    promote: Promote = Field(default_factory=Promote)
    notify: list[Notify] = Field(default_factory=list)
    notify_hours: NotifyHours = NotifyHours()

    @model_validator(mode="after")
    def _have_defaults(self) -> "Settings":
        for name in ("workers", "timeout_seconds"):
            if DEFAULT not in getattr(self, name):
                raise ValueError(f"{name}: expected an entry '{DEFAULT}'")
        return self

    def pool(self, stage: str) -> str:
        """Return the name of the work pool that `stage` is sent to."""
        return self.workers.get(group(stage), self.workers[DEFAULT])

    def timeout(self, stage: str) -> float:
        """Return how many seconds one try of `stage`, or of a command of DVC, may take."""
        return self.timeout_seconds.get(group(stage), self.timeout_seconds[DEFAULT])


def group(stage: str) -> str:
    """Return the name before the `@` of a `foreach` stage: `train` for `train@rnn`."""
    return stage.partition("@")[0]


@cache
def load(path: Path = FILE) -> Settings:
    """Read the settings.

    Raises:
        InputError: an entry is missing, unknown or of the wrong type.
    """
    with library(path.name):
        text = path.read_text(encoding="utf-8")
    try:
        return Settings.model_validate(parse(text, path.name))
    except ValidationError as error:
        raise InputError(f"{path.name}: {in_one_line(error)}") from None
