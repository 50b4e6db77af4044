"""Section `models`: what is trained, an entry for each classifier."""

import math
import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from rnnflow.params.section import Count, Probability, Section, Size, load
from rnnflow.runtime.errors import InputError

Cell = Literal["rnn", "lstm", "gru", "mingru"]
Pooling = Literal["last", "mean", "max", "mean_max"]
Scaling = Literal["none", "global", "compressed", "sequence"]
Missing = Literal["zero", "forward_fill", "mask", "refuse"]
MAX_WEIGHTS = 2**31
"""Of a model: eight gigabytes, and four times as much to train it."""
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,99}$"
"""Of a model: it names a folder and a stage, and stands in a command."""


class StemParams(Section):
    """Convolutions over time before the recurrent layers; they keep the number of steps."""

    kind: Literal["convolutions"] = "convolutions"
    channels: Size = 16
    kernel_size: Size = 5
    """Time steps, odd."""
    num_layers: Annotated[int, Field(ge=1, le=100)] = 1
    causal: bool = False
    """Whether a convolution sees its step and those before, and not as many on either side."""

    @model_validator(mode="after")
    def _kernel_has_a_centre(self) -> "StemParams":
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        return self

    @property
    def output_size(self) -> int:
        """Numbers that the first layer reads in a step."""
        return self.channels

    @property
    def skip_size(self) -> int:
        """Numbers that go past the layers to the head."""
        return 0

    @property
    def num_averaged(self) -> int:
        """Steps that become one."""
        return 1

    @property
    def has_norms(self) -> bool:
        """Whether it goes by the moments of a batch."""
        return False


class MultiScaleStemParams(Section):
    """Convolutions of several sizes side by side, two more, batch norm, and block means between them."""

    kind: Literal["multi_scale"]
    kernel_sizes: list[Size] = Field(default=[9, 19, 39], min_length=1, max_length=64)
    """Time steps, odd, of the convolutions that read the inputs."""
    channels: Size = 8
    """Of each of them."""
    output_size: Size = 32
    """Channels of the two other convolutions, of 9 and 5 steps."""
    block_sizes: list[Size] = Field(default=[2, 2, 2])
    """Steps whose mean becomes one step, after each of the three."""
    causal: bool = False
    """Whether the convolutions see their step and those before, and not as many on either side."""

    @model_validator(mode="after")
    def _has_three_stages_of_odd_kernels(self) -> "MultiScaleStemParams":
        if even := [size for size in self.kernel_sizes if size % 2 == 0]:
            raise ValueError(f"kernel_sizes must be odd, got {even[0]}")
        if len(self.block_sizes) != 3:
            raise ValueError(f"block_sizes: expected three, one after each stage, got {self.block_sizes}")
        return self

    @property
    def skip_size(self) -> int:
        """Numbers that go past the layers to the head."""
        return 2 * self.output_size

    @property
    def num_averaged(self) -> int:
        """Steps that become one."""
        return math.prod(self.block_sizes)

    @property
    def has_norms(self) -> bool:
        """Whether it goes by the moments of a batch."""
        return True


def _stem_tag(stem: object) -> str | None:
    kind = stem.get("kind", "convolutions") if isinstance(stem, dict) else getattr(stem, "kind", "convolutions")
    return f"[{kind}]" if kind in ("convolutions", "multi_scale") else None


AnyStemParams = Annotated[
    Annotated[StemParams, Tag("[convolutions]")] | Annotated[MultiScaleStemParams, Tag("[multi_scale]")],
    Discriminator(
        _stem_tag, custom_error_type="stem", custom_error_message="expected kind 'convolutions' or 'multi_scale'"
    ),
]


class ModelParams(Section):
    """An entry of `models`: the architecture of one classifier."""

    cell: Cell
    hidden_size: Size = 32
    num_layers: Annotated[int, Field(ge=1, le=100)] = 1
    bidirectional: bool = False
    dropout: Probability = 0.0
    """Between recurrent layers and before the head."""
    pooling: Pooling = "last"
    """How the steps become one vector: the final state of each direction, or the mean and maximum over valid steps."""
    scaling: Scaling | list[Scaling] = "global"
    """Standardisation of each feature: over the train split (`global`), the same after an inverse hyperbolic sine that keeps
    small values apart (`compressed`), over the steps of each sequence (`sequence`). Several are features side by side.
    """
    missing: Missing = "zero"
    """What a missing value (NaN) becomes: the mean, the last known value, the mean and an indicator feature, an error."""
    downsampling: Count = 1
    """Steps whose mean becomes one step."""
    differences: bool | list[Scaling] = False
    """Whether each feature's change since the last step is a feature too; or the kinds of scaling for which it is."""
    stem: AnyStemParams | None = None
    max_dependency: Annotated[int, Field(ge=3, lt=2**31)] | None = None
    """Chrono initialisation (Tallec and Ollivier, 2018) for dependencies up to so many steps; LSTM, GRU and minGRU."""
    streaming: Literal["auto", "required"] = "auto"
    """Whether the model has to be one that answers step by step."""
    members: Annotated[int, Field(ge=1, le=100)] = 1
    """Classifiers, trained from different seeds, whose probabilities are averaged; all in one file."""

    @property
    def scalings(self) -> tuple[Scaling, ...]:
        """The kinds of scaling, whose features stand side by side in this order."""
        return tuple(self.scaling) if isinstance(self.scaling, list) else (self.scaling,)

    def differentiates(self, kind: Scaling) -> bool:
        """Whether changes from step to step are features, scaled in this way."""
        return kind in self.differences if isinstance(self.differences, list) else self.differences

    @property
    def output_size(self) -> int:
        """Numbers that a layer gives for a step: the state of each direction."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def pooled_size(self) -> int:
        """Numbers that the head reads."""
        skip_size = self.stem.skip_size if self.stem else 0
        return self.output_size * (2 if self.pooling == "mean_max" else 1) + skip_size

    @property
    def streaming_obstacle(self) -> str | None:
        """Why the model cannot answer step by step, and what to change; none if it can."""
        if self.bidirectional:
            return "bidirectional: the backward direction begins at the end of a sequence; set it to false"
        if "sequence" in self.scalings:
            return "scaling: 'sequence' needs the whole sequence before its first step; use global or compressed"
        if self.stem is None or self.stem.causal:
            return None
        if isinstance(self.stem, MultiScaleStemParams):
            return "stem: multi_scale has centred convolutions, which see later steps; set its causal to true"
        if self.stem.kernel_size > 1:
            ahead = self.stem.num_layers * (self.stem.kernel_size // 2)
            steps = "1 step" if ahead == 1 else f"{ahead} steps"
            return f"stem: its centred convolutions see {steps} ahead; set its causal to true"
        return None

    @property
    def has_norms(self) -> bool:
        """Whether training goes by the moments of a batch."""
        return bool(self.stem and self.stem.has_norms)

    @property
    def num_averaged(self) -> int:
        """Steps of a sequence that become one step of the layers."""
        return self.downsampling * (self.stem.num_averaged if self.stem else 1)

    def num_layer_steps(self, num_prepared: int) -> int:
        """Return how many steps the layers read of so many prepared ones."""
        return -(-num_prepared // self.stem.num_averaged) if self.stem else num_prepared

    @field_validator("scaling", mode="before")
    @classmethod
    def _scalings_are_known(cls, scaling: object) -> object:
        known = get_args(Scaling)
        kinds = scaling if isinstance(scaling, list) else [scaling]
        if not kinds or any(kind not in known for kind in kinds):
            raise ValueError(f"expected {', '.join(known)}, or a list of them, got {scaling!r}")
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"each kind can be there once, got {scaling!r}")
        if len(kinds) > 1 and "none" in kinds:
            raise ValueError(f"'none' cannot be combined, got {scaling!r}")
        return scaling

    @field_validator("differences", mode="before")
    @classmethod
    def _differences_are_known(cls, differences: object) -> object:
        kinds = differences if isinstance(differences, list) else []
        if not isinstance(differences, bool) and (not kinds or any(kind not in get_args(Scaling) for kind in kinds)):
            raise ValueError(f"expected true, false, or a list of kinds of scaling, got {differences!r}")
        return differences

    @model_validator(mode="after")
    def _differences_are_scaled(self) -> "ModelParams":
        for kind in self.differences if isinstance(self.differences, list) else ():
            if kind not in self.scalings:
                raise ValueError(f"differences: {kind!r} is not among the kinds of scaling, {', '.join(self.scalings)}")
        return self

    @model_validator(mode="after")
    def _can_stream_if_required(self) -> "ModelParams":
        if self.streaming == "required" and self.streaming_obstacle:
            raise ValueError(f"streaming: required, but the model cannot: {self.streaming_obstacle}")
        return self

    @model_validator(mode="after")
    def _fits_a_machine(self) -> "ModelParams":
        num_layers = self.num_layers - (self.cell == "mingru")  # whose state meets no weights of its own
        if num_layers * self.output_size * self.hidden_size > MAX_WEIGHTS:
            raise ValueError(
                f"{self.num_layers} layers of hidden_size {self.hidden_size} have more than {MAX_WEIGHTS:,} weights"
            )
        return self

    @model_validator(mode="after")
    def _chrono_needs_gates(self) -> "ModelParams":
        if self.cell == "rnn" and self.max_dependency is not None:
            raise ValueError("max_dependency sets the biases of gates, which cell 'rnn' lacks; use another cell")
        return self


def load_model(path: Path, name: str) -> ModelParams:
    """Return the entry `name` of section `models`, and read nothing else.

    Raises:
        InputError: the file cannot be read, there is no such entry, or a value is not allowed.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InputError(f"{path}: models: {name!r} is no name of lower-case letters, digits, '-' and '_'")
    return load(path, ModelParams, "models", name)
