"""Section `models`: what is trained, an entry for each classifier."""

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from rnnflow.params.section import Count, Probability, Section, load
from rnnflow.runtime.errors import InputError

Cell = Literal["rnn", "lstm", "gru"]
Pooling = Literal["last", "mean", "max", "mean_max"]
Scaling = Literal["none", "global", "compressed", "sequence"]
Missing = Literal["zero", "forward_fill", "mask", "refuse"]
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"
"""Of a model: it names a folder and a stage, and stands in a command."""


class StemParams(Section):
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


class ModelParams(Section):
    """An entry of `models`: the architecture of one classifier."""

    cell: Cell
    hidden_size: Annotated[int, Field(ge=1, le=65536)] = 32
    num_layers: Count = 1
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
    differences: bool = False
    """Whether each feature's change since the last step is a feature too."""
    stem: StemParams | None = None
    max_dependency: Annotated[int, Field(ge=3)] | None = None
    """Chrono initialisation (Tallec and Ollivier, 2018) for dependencies up to so many steps; LSTM and GRU."""

    @property
    def scalings(self) -> tuple[Scaling, ...]:
        """The kinds of scaling, whose features stand side by side in this order."""
        return tuple(self.scaling) if isinstance(self.scaling, list) else (self.scaling,)

    @property
    def output_size(self) -> int:
        """Numbers that a layer gives for a step: the state of each direction."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def pooled_size(self) -> int:
        """Numbers that the head reads."""
        return self.output_size * (2 if self.pooling == "mean_max" else 1)

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

    @model_validator(mode="after")
    def _chrono_needs_gates(self) -> "ModelParams":
        if self.cell == "rnn" and self.max_dependency is not None:
            raise ValueError("max_dependency sets the biases of gates, which cell 'rnn' lacks; use lstm or gru")
        return self


def load_model(path: Path, name: str) -> ModelParams:
    """Return the entry `name` of section `models`, and read nothing else.

    Raises:
        InputError: the file cannot be read, there is no such entry, or a value is not allowed.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InputError(f"{path}: models: {name!r} is no name of lower-case letters, digits, '-' and '_'")
    return load(path, ModelParams, "models", name)
