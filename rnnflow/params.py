"""What `params.yaml` may say, as frozen types; `load` reads and checks the whole file."""

import difflib
import reprlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rnnflow.errors import InputError

Cell = Literal["rnn", "lstm", "gru"]
Pooling = Literal["last", "mean", "max", "mean_max"]
Scaling = Literal["none", "global", "sequence"]
Missing = Literal["zero", "forward_fill", "mask", "refuse"]
Sampling = Literal["shuffle", "balanced"]
ArchiveName = Literal["japanese_vowels", "basic_motions", "italy_power_demand", "gun_point", "digits", "spoken_digits"]
SourceName = Literal["sum_sign", "adding", "files", ArchiveName]

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


class ColumnNames(_Section):
    """Source `files`: which column, or array, plays which part.

    Instead of a column, `path` is the file's path below `data/raw` without its ending, `path[-1]` its name, `path[-2]`
    the name of its folder and so on. `group`, `time` and `split` may be missing where they have their default names.
    """

    id: str = "id"
    """The sequence or recording. A CSV or Parquet file of one recording has `path`."""
    label: str = "label"
    sequence: str = "sequence"
    """Where a row is a sequence: all its values. A list column for each feature, or a row a time step, needs none."""
    group: str = "group"
    """Subject, device, machine."""
    time: str = "time"
    """Of a time step, or the start of a sequence: a timestamp, or a number in `time_unit` since 1970."""
    split: str = "split"
    """The side that was given: train, validation or test."""


class FilesParams(_Section):
    """Source `files`: which files below `data/raw`, and how they are read."""

    paths: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] = ["."]
    """Files, folders and globs below `data/raw`."""
    columns: ColumnNames = ColumnNames()
    features: Annotated[list[str], Field(min_length=1)] | None = None
    """Their columns, in order; or the names of those in column `sequence`. None: all other columns of numbers."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Of CSV files; those that end in .tsv have tabs."""
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    """Of times that are numbers."""
    time_since_last_step: bool = False
    """Adds a feature of that name, in seconds, for steps that do not come regularly."""
    max_length: Count = 10000
    """Time steps of the longest sequence that is taken; a recording that is cut into windows may be longer."""

    @model_validator(mode="after")
    def _features_have_unlike_names(self) -> "FilesParams":
        if self.features and len(set(self.features)) < len(self.features):
            raise ValueError("features: two have the same name")
        return self


class WindowParams(_Section):
    """How long recordings are cut; each window keeps its recording as its group, unless it has one."""

    length: Annotated[float, Field(gt=0)]
    stride: Annotated[float, Field(gt=0)]
    """From the start of one window to the start of the next."""
    unit: Literal["steps", "seconds"] = "steps"
    label: Literal["majority", "last"] = "majority"
    """Which of its steps' labels a window takes."""

    @model_validator(mode="after")
    def _steps_are_whole(self) -> "WindowParams":
        if self.unit == "steps" and not (self.length.is_integer() and self.stride.is_integer()):
            raise ValueError(f"length {self.length:g} and stride {self.stride:g} must be whole numbers of steps")
        return self


class SplitParams(_Section):
    """Which sequences are held out; the rest is the train split. Synthetic sources make three splits of their own."""

    by: Literal["auto", "given", "group", "random", "stratified", "time"] = "auto"
    """`auto`: as the data says in a column `split`, else by group, else at random."""
    validation: Share = 0.15
    test: Share = 0.15
    """Expected shares of the sequences or groups. Given splits without a validation part get it from the train part."""
    validation_from: datetime | None = None
    test_from: datetime | None = None
    """Split by time: sequences that start at this time or later."""
    duplicates: Literal["fail", "allow"] = "fail"
    """Whether two sequences with the same values may be on two sides."""

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "SplitParams":
        if self.validation + self.test >= 1:
            raise ValueError("the shares must leave some sequences for training, they sum to 1 or more")
        return self

    @model_validator(mode="after")
    def _times_are_in_order(self) -> "SplitParams":
        if self.by != "time":
            return self
        if self.validation_from is None or self.test_from is None:
            raise ValueError("by time needs validation_from and test_from, such as 2026-05-01")
        if as_utc(self.validation_from) >= as_utc(self.test_from):
            raise ValueError("validation_from must come before test_from")
        return self

    @field_validator("validation_from", "test_from", mode="before")
    @classmethod
    def _read_time(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(f"expected a time such as 2026-05-01T12:00:00Z, got {value!r}") from None
        return datetime(value.year, value.month, value.day) if type(value) is date else value


def as_utc(time: datetime) -> datetime:
    """Return `time` in UTC; one without a zone is taken as UTC."""
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


class DriftParams(_Section):
    """How far new files may be from the reference profile, `data/reference.json`."""

    action: Literal["off", "warn", "fail"] = "warn"
    range: Annotated[float, Field(ge=0)] = 0.5
    """How far a value may lie outside a feature's known range, as a share of that range."""
    mean: Annotated[float, Field(ge=0)] = 1.0
    """How far a feature's mean may move, in its known deviations."""
    length: Annotated[float, Field(ge=1)] = 2.0
    """The longest may be so many times the longest known, the shortest the shortest known divided by it."""
    class_share: Probability = 0.2
    missing_share: Probability = 0.1
    """How far the share of a class, or of a feature's missing values, may move."""


class GenerateParams(_Section):
    """Section `generate`: where the sequences come from and how they are split and stored."""

    source: SourceName = "sum_sign"
    """A synthetic task, your files below `data/raw`, or a published data set."""
    seed: Seed = 0
    """Decides the synthetic sequences and which side of the split a sequence falls on."""
    length: Count = 10
    """Synthetic sources: time steps of the longest sequence."""
    min_length: Count | None = None
    """Synthetic sources: time steps of the shortest sequence; none gives every sequence `length` steps."""
    num_sequences: NumSequences = NumSequences()
    """Synthetic sources only."""
    files: FilesParams = FilesParams()
    """Source `files` only."""
    windows: WindowParams | None = None
    """Source `files`: cut recordings into windows."""
    split: SplitParams = SplitParams()
    """All but the synthetic sources."""
    drift: DriftParams = DriftParams()
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
    missing: Missing = "zero"
    """What a missing value (NaN) becomes: the mean, the last known value, the mean and a feature that says so, an error."""
    downsampling: Count = 1
    """Steps whose mean becomes one step."""
    differences: bool = False
    """Whether each feature's change since the last step is a feature too."""
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
    """Decides initial weights, order of the sequences, dropout and augmentation."""
    epochs: Count = 80
    batch_size: Count = 32
    learning_rate: Annotated[float, Field(gt=0)] = 0.005
    """Peak of the one-cycle schedule (Smith and Topin, 2018)."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.2
    """Decoupled, as in AdamW (Loshchilov and Hutter, 2019); it acts on biases as well."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    jitter: Annotated[float, Field(ge=0)] = 0.0
    """Deviation of the Gaussian noise added to scaled inputs."""
    random_scale: Annotated[float, Field(ge=0)] = 0.0
    """Deviation of the factor around 1 for each scaled feature of each sequence."""
    time_mask: Probability = 0.0
    """Largest share of a sequence's steps that are set to zero, in one stretch."""
    random_crop: Probability = 0.0
    """Largest share of a sequence's steps that are cut off its two ends; at least one step stays."""
    sampling: Sampling = "shuffle"
    """An epoch has each sequence once, or, with `balanced`, as many sequences and every class equally often."""
    label_smoothing: Probability = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    early_stopping_patience: Count | None = None
    """Epochs without a lower validation loss before training ends with the best weights; none trains every epoch."""
    final_fit: bool = False
    """Whether train and validation together train the model that is kept, for as many epochs as validation chose."""
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
