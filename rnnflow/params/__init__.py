"""What `params.yaml` may say, as frozen types; `load` reads and checks the whole file."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rnnflow.params.compare import CompareParams
from rnnflow.params.generate import (
    MAX_SHARD_STEPS,
    ArchiveName,
    ColumnNames,
    DriftParams,
    FilesParams,
    GenerateParams,
    NumSequences,
    SourceName,
    SplitParams,
    WindowParams,
    as_utc,
)
from rnnflow.params.section import Count, Section, in_one_line
from rnnflow.params.train import (
    Cell,
    Engine,
    Missing,
    ModelParams,
    Pooling,
    Precision,
    Sampling,
    Scaling,
    StemParams,
    TrainParams,
)
from rnnflow.runtime.errors import InputError

__all__ = [
    "MAX_SHARD_STEPS",
    "ArchiveName",
    "Cell",
    "ColumnNames",
    "CompareParams",
    "DriftParams",
    "Engine",
    "EvaluateParams",
    "ExportParams",
    "FilesParams",
    "GenerateParams",
    "Missing",
    "ModelParams",
    "NumSequences",
    "Params",
    "Pooling",
    "Precision",
    "Sampling",
    "Scaling",
    "SourceName",
    "SplitParams",
    "StemParams",
    "TrainParams",
    "WindowParams",
    "as_utc",
    "load",
    "parse",
]


class EvaluateParams(Section):
    """Section `evaluate`."""

    batch_size: Count = 256
    memory_budget_mb: Count = 1024
    """MiB of the split's values above which they are in a file on disk, mapped into memory."""
    num_calibration_bins: Count = 10
    num_length_slices: Count = 4


class ExportParams(Section):
    """Section `export`."""

    tolerance: Annotated[float, Field(gt=0)] = 1e-5
    """Largest difference between the probabilities of PyTorch and of onnxruntime."""
    batch_sizes: list[Count] = Field([1, 2, 7, 32], min_length=1)
    lengths: list[Count] = Field([1, 2, 10, 33], min_length=1)


class Params(Section):
    """The whole of `params.yaml`."""

    generate: GenerateParams
    train: TrainParams
    models: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")], ModelParams], Field(min_length=1)]
    evaluate: EvaluateParams
    export: ExportParams
    compare: CompareParams

    @field_validator("models")
    @classmethod
    def _production_is_no_candidate(cls, models: dict[str, ModelParams]) -> dict[str, ModelParams]:
        if "production" in models:
            raise ValueError("'production' is the folder of the model in production; choose another name")
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
        InputError: the file is missing, is not YAML, or says something that is not known or not allowed.
    """
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}, expected a YAML file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, {error.reason} at byte {error.start}") from None
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise InputError(f"{path}:{line} not valid YAML: {error.problem}") from None
    except (YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return parse(content, place=str(path))


def parse(content: object, place: str = "params.yaml") -> Params:
    """Return `content`, the parsed YAML, as typed params; `place` begins the message of an error."""
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{place}: {in_one_line(error)}") from None
