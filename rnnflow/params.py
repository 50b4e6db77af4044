"""What `params.yaml` may say, as frozen types; `load` reads and checks the whole file."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rnnflow.errors import InputError

Cell = Literal["rnn", "lstm", "gru"]
Pooling = Literal["last", "mean", "max", "mean_max"]
Scaling = Literal["none", "global", "sequence"]
SourceName = Literal["sum_sign", "adding", "digits", "files"]

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


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
    def _leave_some_for_training(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("the shares must leave some sequences for training, they sum to 1 or more")
        return self


class GenerateParams(_Section):
    """Section `generate`: where the sequences come from and how they are split and stored."""

    source: SourceName = "sum_sign"
    """Two synthetic tasks, scikit-learn's digits, or the Parquet files below `data/raw`."""
    seed: Annotated[int, Field(ge=0)] = 0
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
    def _lengths_fit_the_source(self) -> Self:
        if self.min_length is not None and self.min_length > self.length:
            raise ValueError(f"min_length {self.min_length} is above length {self.length}")
        if self.source == "adding" and (self.min_length or self.length) < 2:
            raise ValueError("source 'adding' marks two steps, so every sequence needs at least 2")
        return self


class StemParams(_Section):
    """Convolutions over time before the recurrent layers; they keep the number of steps."""

    channels: Count = 16
    kernel_size: Count = 5
    """Time steps, odd."""
    num_layers: Count = 1

    @model_validator(mode="after")
    def _kernel_has_a_centre(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        return self


class ModelParams(_Section):
    """An entry of `models`: the architecture of one classifier."""

    cell: Cell
    hidden_size: Count = 32
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
    def _chrono_needs_gates(self) -> Self:
        if self.cell == "rnn" and self.max_dependency is not None:
            raise ValueError("max_dependency sets the biases of gates, which cell 'rnn' lacks; use lstm or gru")
        return self


class TrainParams(_Section):
    """Section `train`: the recipe, the same for every model."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Decides initial weights, order of the sequences, dropout and jitter."""
    epochs: Count = 60
    batch_size: Count = 32
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Peak of the one-cycle schedule (Smith and Topin, 2018)."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled, as in AdamW (Loshchilov and Hutter, 2019)."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    jitter: Annotated[float, Field(ge=0)] = 0.0
    """Deviation of the Gaussian noise added to scaled inputs."""
    label_smoothing: Probability = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    early_stopping_patience: Count | None = None
    """Epochs without a lower validation loss before training ends with the best weights; none trains every epoch."""
    num_threads: Count = 1
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
    models: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")], ModelParams], Field(min_length=1)]
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
        content = YAML(typ="safe").load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, {error.reason} at byte {error.start}") from None
    except YAMLError as error:
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


def _explanation(problem: Any) -> str:
    location = ".".join(str(part) for part in problem["loc"] if part != "[key]") or "the file"
    if problem["type"] == "extra_forbidden":
        known = _known_names(problem["loc"][:-1])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        advice = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
        return f"{location}: unknown parameter; {advice}"
    if problem["type"] == "missing":
        return f"{location}: missing"
    if problem["type"] == "value_error":
        return f"{location}: {problem['ctx']['error']}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{location}: {message}, got {problem['input']!r}"


def _known_names(location: tuple[str | int, ...]) -> list[str]:
    section: type[BaseModel] = Params
    for part in location:
        if part not in section.model_fields:
            continue  # the name of a model
        annotation = section.model_fields[str(part)].annotation
        candidates = (
            annotation,
            *(argument for outer in get_args(annotation) for argument in (outer, *get_args(outer))),
        )
        section = next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(section.model_fields)
