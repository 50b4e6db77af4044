"""What `params.yaml` may say, as frozen types; `load` reads and checks the whole file."""

import difflib
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rnnflow.errors import InputError

Cell = Literal["rnn", "lstm", "gru"]
Pooling = Literal["last", "mean", "max", "mean_max"]
Scaling = Literal["none", "global", "sequence"]
SourceName = Literal["sum_sign", "adding", "digits", "files"]

MAX_SHARD_STEPS = 2**29

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _know_every_name(cls, content: object) -> object:
        known = list(cls.model_fields)
        for name in content if isinstance(content, dict) else ():
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                advice = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
                raise PydanticCustomError("unknown", "unknown parameter; {advice}", {"name": name, "advice": advice})
        return content


class NumSequences(_Section):
    """How many sequences a synthetic source makes for each split."""

    train: Count = 1000
    validation: Count = 1000
    test: Count = 10000


class SplitShares(_Section):
    """Expected shares of the sequences (or groups) that are held out; the rest is the train split."""

    validation: Share = 0.15
    test: Share = 0.15

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "SplitShares":
        if self.validation + self.test >= 1:
            raise ValueError("the shares must leave some sequences for training, they sum to 1 or more")
        return self


class GenerateParams(_Section):
    """Section `generate`: where the sequences come from and how they are split and stored."""

    source: SourceName = "sum_sign"
    """Two synthetic tasks, scikit-learn's digits, or the Parquet files below `data/raw`."""
    seed: Seed = 0
    """Decides the synthetic sequences and which side of the split a sequence falls on."""
    length: Count = 10
    """Synthetic sources: time steps of the longest sequence."""
    min_length: Count | None = None
    """Synthetic sources: time steps of the shortest sequence; none gives every sequence `length` steps."""
    num_sequences: NumSequences = NumSequences()
    """Synthetic sources only."""
    split: SplitShares = SplitShares()
    """Sources `digits` and `files`."""
    features: Annotated[list[str], Field(min_length=1)] | None = None
    """Source `files`: names of the features, for Parquet files without the `rnnflow` metadata."""
    shard_rows: Count = 10000
    """Sequences in a Parquet file of the data set."""

    @model_validator(mode="after")
    def _lengths_fit_the_source(self) -> "GenerateParams":
        if self.min_length is not None and self.min_length > self.length:
            raise ValueError(f"min_length {self.min_length} is above length {self.length}")
        if self.source == "adding" and (self.min_length or self.length) < 2:
            raise ValueError("source 'adding' marks two steps, so every sequence needs at least 2")
        if self.source in ("sum_sign", "adding") and self.shard_rows * self.length > MAX_SHARD_STEPS:
            raise ValueError(
                f"{self.shard_rows} sequences of {self.length} steps do not fit in one file, "
                f"lower shard_rows to {MAX_SHARD_STEPS // self.length} or less"
            )
        return self


class StemParams(_Section):
    """Convolutions over time before the recurrent layers; they keep the number of steps."""

    channels: Count = 16
    kernel_size: Count = 5
    """Time steps, odd."""
    num_layers: Count = 1

    @model_validator(mode="after")
    def _kernel_has_a_centre(self) -> "StemParams":
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        return self


class ModelParams(_Section):
    """An entry of `models`: the architecture of one classifier."""

    cell: Cell
    hidden_size: Annotated[int, Field(ge=1, le=65536)] = 32
    num_layers: Count = 1
    bidirectional: bool = False
    dropout: Probability = 0.0
    """Between recurrent layers and before the head."""
    pooling: Pooling = "last"
    """How the steps become one vector: the final state of each direction, or the mean and maximum over valid steps."""
    scaling: Scaling = "global"
    """Standardisation of each feature over the train split; `sequence`: then over the steps of each sequence as well."""
    stem: StemParams | None = None
    max_dependency: Annotated[int, Field(ge=3)] | None = None
    """Chrono initialisation (Tallec and Ollivier, 2018) for dependencies up to so many steps; LSTM and GRU."""

    @model_validator(mode="after")
    def _chrono_needs_gates(self) -> "ModelParams":
        if self.cell == "rnn" and self.max_dependency is not None:
            raise ValueError("max_dependency sets the biases of gates, which cell 'rnn' lacks; use lstm or gru")
        return self


class TrainParams(_Section):
    """Section `train`: the recipe, the same for every model."""

    seed: Seed = 0
    """Decides initial weights, order of the sequences, dropout and jitter."""
    epochs: Count = 80
    batch_size: Count = 32
    learning_rate: Annotated[float, Field(gt=0)] = 0.005
    """Peak of the one-cycle schedule (Smith and Topin, 2018)."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.2
    """Decoupled, as in AdamW (Loshchilov and Hutter, 2019); it acts on biases as well."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    jitter: Annotated[float, Field(ge=0)] = 0.0
    """Deviation of the Gaussian noise added to scaled inputs."""
    label_smoothing: Probability = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    early_stopping_patience: Count | None = None
    """Epochs without a lower validation loss before training ends with the best weights; none trains every epoch."""
    num_threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """Tracked because it decides the bits of the weights."""


class EvaluateParams(_Section):
    """Section `evaluate`."""

    batch_size: Count = 256
    num_calibration_bins: Count = 10
    num_length_slices: Count = 4


class ExportParams(_Section):
    """Section `export`."""

    tolerance: Annotated[float, Field(gt=0)] = 1e-5
    """Largest difference between the probabilities of PyTorch and of onnxruntime."""
    batch_sizes: Annotated[list[Count], Field(min_length=1)] = [1, 2, 7, 32]
    lengths: Annotated[list[Count], Field(min_length=1)] = [1, 2, 10, 33]


class Params(_Section):
    """The whole of `params.yaml`."""

    generate: GenerateParams
    train: TrainParams
    models: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")], ModelParams], Field(min_length=1)]
    evaluate: EvaluateParams
    export: ExportParams

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
        problems = error.errors(include_url=False)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{place}: {_explanation(problems[0])}{more}") from None


_EXPECTED = {
    "dict_type": "expected names with values",
    "model_type": "expected names with values",
    "string_pattern_mismatch": "expected a name of lower-case letters, digits, '-' and '_' that begins with a letter or digit",
    "too_short": "expected at least one entry",
}


def _explanation(problem: Any) -> str:
    location = [part for part in problem["loc"] if part != "[key]"]
    message = problem["msg"][0].lower() + problem["msg"][1:]
    if problem["type"] == "unknown":
        location.append(problem["ctx"]["name"])
    elif problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
    elif problem["type"] == "missing":
        message = "missing"
    else:
        message = f"{_EXPECTED.get(problem['type'], message)}, got {reprlib.repr(problem['input'])}"
    return ": ".join([".".join(map(str, location)), message]) if location else message
