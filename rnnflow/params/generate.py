"""Section `generate`: where sequences come from, how they are split, and what new files are compared with."""

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from rnnflow.params.section import Count, Probability, Section, Seed, Share
from rnnflow.params.time_format import pattern

ArchiveName = Literal["japanese_vowels", "basic_motions", "italy_power_demand", "gun_point", "digits", "spoken_digits"]
SourceName = Literal["sum_sign", "adding", "files", ArchiveName]

MAX_SHARD_STEPS = 2**29
MAX_STEPS = 2**36
"""Of a synthetic data set: some hundred gigabytes."""
Character = Annotated[str, Field(min_length=1, max_length=1)]


class NumSequences(Section):
    """How many sequences a synthetic source makes for each split."""

    train: Count = 1000
    validation: Count = 1000
    test: Count = 10000


class ColumnNames(Section):
    """Source `files`: which column, or array, plays which part.

    Instead of a column, `path` is the file's path below `data/raw` without its ending, `path[-1]` its name, `path[-2]`
    the name of its folder and so on. `group`, `time` and `split` may be missing where they have their default names.
    """

    id: str = "id"
    """The sequence or recording. A CSV or Parquet file of one recording has `path`."""
    label: str = "label"
    sequence: str = "sequence"
    """Where a row is a sequence: all its values. A list column for each feature, or one row per time step, needs none."""
    group: str | None = "group"
    """Subject, device, machine. None: not read, even if there is such a column; so for `time` and `split`."""
    time: str | None = "time"
    """Of a time step, or the start of a sequence: a timestamp, or a number in `time_unit` since 1970."""
    split: str | None = "split"
    """The split that was given: train, validation or test."""
    step: str | None = "step"
    """With `layout: melted`: numbers the steps of a recording. None: their times do."""
    dimension: str = "dimension"
    """With `layout: melted`: which feature a row holds."""
    value: str = "value"
    """With `layout: melted`: its value."""


class LabelTable(Section):
    """A CSV file that says the class of each file, or of each id where column `id` is in the data."""

    path: Annotated[str, Field(min_length=1)]
    """Below `data/raw`."""
    key: str = "file"
    """Its column with the ids, or the files' names or paths, with or without their ending."""
    label: str = "label"
    """Its column with the classes."""


class ResampleParams(Section):
    """One step every so many seconds, counted from a recording's first step."""

    seconds: Annotated[float, Field(ge=1e-6, le=1e9)]
    method: Literal["mean", "nearest"] = "mean"
    """`mean` of the steps from one time to the next, a missing value where there is none; or the step `nearest` in time."""


class FilesParams(Section):
    """Source `files`: which files below `data/raw`, and how they are read."""

    ignored: ClassVar[Collection[str]] = ()
    """Parts that are not read and may be missing; no setting: a data set needs all, a prediction no labels."""

    paths: list[Annotated[str, Field(min_length=1)]] = Field(["."], min_length=1)
    """Files, folders and globs below `data/raw`."""
    columns: ColumnNames = ColumnNames()
    features: Annotated[list[str], Field(min_length=1)] | None = None
    """Their columns, in order; or the names of those in column `sequence`. None: all other columns of numbers."""
    layout: Literal["auto", "wide", "melted"] = "auto"
    """`melted`: a row for each feature of a step. `wide`: one row per sequence, one column per step, in one feature; or in those of `features`: `x_0`, `x_1` … are `x`."""
    axes: Literal["sequence-time-feature", "sequence-feature-time", "time-sequence-feature"] = "sequence-time-feature"
    """Their order in arrays of NumPy files and in lists of lists."""
    names: Annotated[list[str], Field(min_length=1)] | Literal["numbered"] | None = None
    """Of the columns, in CSV files without a line of names; `numbered` calls them `column_0`, `column_1` …"""
    delimiter: Character = ","
    """Of CSV files; those that end in .tsv have tabs. A blank stands for any number of blanks and tabs."""
    decimal: Literal[".", ","] = "."
    """Before the decimals of a number in CSV files."""
    thousands: Literal[",", ".", " ", "'"] | None = None
    """Between the thousands of a number in CSV files."""
    missing: list[str] = Field([])
    """Texts in CSV files that stand for a missing number, besides the empty one, `NA`, `nan` and `null`."""
    skip: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Lines at the top of CSV files."""
    comment: Character | None = None
    """Lines of CSV files that begin with it are left out."""
    labels: LabelTable | None = None
    """Where the classes are in a table of their own, which `columns.label` then does not name."""
    trim_labels: bool = False
    """Leaves out blanks around a label."""
    label_names: dict[str, Annotated[str, Field(min_length=1)]] = Field({})
    """What labels become, such as `{Walk: walk}`, after they are trimmed."""
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    """Of times that are numbers."""
    time_format: str | None = None
    """Of times that are neither numbers nor ISO 8601, as Python's `strptime` has it: `%d.%m.%Y %H:%M:%S`."""
    time_zone: str | None = None
    """Of times that say none, such as `Europe/Berlin`; else they are taken as UTC."""
    resample: ResampleParams | None = None
    """Brings recordings to one rate; it needs the time of each step."""
    time_since_last_step: bool = False
    """Adds a feature of that name, in seconds, for steps that do not come regularly."""
    max_length: Count = 10000
    """Time steps of the longest sequence that is taken; a recording that is cut into windows may be longer."""

    @model_validator(mode="after")
    def _features_have_unlike_names(self) -> "FilesParams":
        if self.features and len(set(self.features)) < len(self.features):
            raise ValueError("features: two have the same name")
        if isinstance(self.names, list) and len(set(self.names)) < len(self.names):
            raise ValueError("names: two are the same")
        return self

    @field_validator("time_format")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None:
            pattern(value)
        return value

    @model_validator(mode="after")
    def _rates_agree(self) -> "FilesParams":
        if self.resample and self.time_since_last_step:
            raise ValueError(
                "time_since_last_step says nothing once resample brings steps to one rate; use one of both"
            )
        return self

    @model_validator(mode="after")
    def _signs_are_unlike(self) -> "FilesParams":
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        if self.comment == self.delimiter:
            raise ValueError(f"comment and delimiter are both {self.comment!r}")
        return self


class WindowParams(Section):
    """How long recordings are cut; each window keeps its recording as its group, unless it has one."""

    length: Annotated[float, Field(gt=0, lt=2**31)]
    stride: Annotated[float, Field(gt=0, lt=2**31)]
    """From the start of one window to the start of the next."""
    unit: Literal["steps", "seconds"] = "steps"
    label: Literal["majority", "last"] = "majority"
    """Which of its steps' labels a window takes."""

    @model_validator(mode="after")
    def _steps_are_whole(self) -> "WindowParams":
        if self.unit == "steps" and not (self.length.is_integer() and self.stride.is_integer()):
            raise ValueError(f"length {self.length:g} and stride {self.stride:g} must be whole numbers of steps")
        return self


class SplitParams(Section):
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
    """Whether sequences with the same values may be in two splits."""

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


class DriftParams(Section):
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


class Recipe(Section):
    """How files become sequences: written into the data set by stage generate, carried on by the model.

    `rnnflow predict` follows it, so that a model reads files as it did when it was trained.
    """

    files: FilesParams = FilesParams()
    windows: WindowParams | None = None

    @classmethod
    def of(cls, params: "GenerateParams") -> "Recipe":
        """Return the recipe of a data set; where its sequences came from no files, the one that the defaults give."""
        return cls(files=params.files, windows=params.windows) if params.source == "files" else cls()

    def content(self) -> dict[str, Any]:
        """Return it as JSON keeps it: without paths, which belong to the data, and without defaults.

        So a new setting changes no data set that does not use it; whoever changes a default must keep the old one here.
        """
        return self.model_dump(mode="json", exclude={"files": {"paths"}}, exclude_defaults=True)


class GenerateParams(Section):
    """Section `generate`: where the sequences come from and how they are split and stored."""

    source: SourceName = "sum_sign"
    """A synthetic task, your files below `data/raw`, or a published data set."""
    seed: Seed = 0
    """Decides the synthetic sequences and which split a sequence falls into."""
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
        num_sequences = sum(self.num_sequences.model_dump().values())
        if self.source in ("sum_sign", "adding") and num_sequences * self.length > MAX_STEPS:
            raise ValueError(
                f"{num_sequences:,} sequences of {self.length:,} steps are more than {MAX_STEPS:,} steps in all"
            )
        if self.source in ("sum_sign", "adding") and self.shard_rows * self.length > MAX_SHARD_STEPS:
            raise ValueError(
                f"{self.shard_rows} sequences of {self.length} steps do not fit in one file, "
                f"lower shard_rows to {MAX_SHARD_STEPS // self.length} or less"
            )
        return self
