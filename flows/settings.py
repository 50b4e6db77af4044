"""`flows/settings.yaml` as a frozen type: which workers, how long, how often."""

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rnnflow.errors import InputError

FILE = Path(__file__).with_name("settings.yaml")
DEFAULT = "default"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Retries(_Section):
    max: int = Field(ge=0)
    delay_seconds: PositiveFloat


class Settings(_Section):
    workers: dict[str, str]
    worker_wait_seconds: PositiveFloat
    timeout_seconds: dict[str, PositiveFloat]
    retries: Retries

    @model_validator(mode="after")
    def _have_defaults(self) -> "Settings":
        for name in ("workers", "timeout_seconds"):
            if DEFAULT not in getattr(self, name):
                raise PydanticCustomError("no_default", f"{name}: expected an entry '{DEFAULT}'")
        return self

    def pool(self, stage: str) -> str:
        """Return the name of the work pool that `stage` is sent to."""
        return self.workers.get(group(stage), self.workers[DEFAULT])

    def timeout(self, stage: str) -> float:
        """Return how many seconds one try of `stage` may take."""
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
    try:
        return Settings.model_validate(YAML(typ="safe").load(path.read_text()))
    except YAMLError as error:
        raise InputError(f"{path.name}: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: cannot be read: {error}") from None
    except ValidationError as error:
        raise InputError(f"{path.name}: {_explanation(error.errors()[0])}") from None


def _explanation(problem: ErrorDetails) -> str:
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}, got {problem['input']!r}" if place else problem["msg"]
