"""The whole of `params.yaml`, for commands that check the whole file; a stage reads its own section."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from rnnflow.params.compare import CompareParams, check_name
from rnnflow.params.evaluate import EvaluateParams
from rnnflow.params.export import ExportParams
from rnnflow.params.generate import GenerateParams
from rnnflow.params.models import NAME_PATTERN, ModelParams
from rnnflow.params.report import ReportParams
from rnnflow.params.section import Section, in_one_line, read
from rnnflow.params.train import TrainParams
from rnnflow.runtime.errors import InputError


class Params(Section):
    """The whole of `params.yaml`."""

    generate: GenerateParams
    train: TrainParams
    models: Annotated[dict[Annotated[str, Field(pattern=NAME_PATTERN)], ModelParams], Field(min_length=1)]
    evaluate: EvaluateParams
    export: ExportParams
    compare: CompareParams
    report: ReportParams

    @field_validator("models")
    @classmethod
    def _names_are_free(cls, models: dict[str, ModelParams]) -> dict[str, ModelParams]:
        for name in models:
            check_name(name)
        return models

    def model(self, name: str) -> ModelParams:
        """Return the entry `name` of `models`.

        Raises:
            InputError: there is no such entry.
        """
        if name not in self.models:
            raise InputError(f"params.yaml: models: no entry {name!r}, there are {', '.join(self.models)}")
        return self.models[name]


def load(path: Path) -> Params:
    """Return the checked content of `params.yaml`.

    Raises:
        InputError: the file is missing, is not YAML, or has a name or value that is not allowed.
    """
    return parse(read(path), place=str(path))


def parse(content: object, place: str = "params.yaml") -> Params:
    """Return `content`, the parsed YAML, as typed params; `place` begins the message of an error."""
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{place}: {in_one_line(error)}") from None
