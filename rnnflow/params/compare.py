"""Section `compare`: which of the models is the challenger, and what it must show against the model in production."""

import re
import reprlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rnnflow.params.models import NAME_PATTERN
from rnnflow.params.section import Count, Probability, Section, Seed, read
from rnnflow.runtime.errors import InputError

NonNegative = Annotated[float, Field(ge=0)]


Baseline = Literal["majority", "logistic", "minirocket"]


class CompareParams(Section):
    """Section `compare`."""

    choose_by: Literal["log_loss", "accuracy"] = "log_loss"
    """By which figure on the validation split the challenger is chosen among `models`."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    margin: Probability = 0.01
    """What a challenger that is `not worse` loses at most, of the accuracy."""
    class_margin: Probability = 0.03
    """What it loses at most of the recall of a class."""
    min_class_sequences: Count = 100
    """A class with fewer test sequences cannot prove that; it counts only if it is significantly worse."""
    log_loss_margin: NonNegative = 0.01
    minimum_accuracy: Probability | None = None
    """Accuracy that the low end of the challenger's interval must reach; none: the share of the most frequent class."""
    max_dead_share: Probability | None = 0.1
    """In how many more of the new recordings a feature may be constant or missing than in those that the production model
    was trained on; none: in any number."""
    max_onnx_bytes: Count | None = None
    max_multiply_adds: Count | None = None
    """Of one sequence of the train split's median length."""
    baselines: list[Baseline] = Field(["majority", "logistic"])
    """What a model has to beat: the most frequent class; logistic regression on the mean, deviation, extremes and ends of each
    feature; MiniRocket, if aeon is installed."""
    num_resamples: Annotated[int, Field(ge=100, le=10**6)] = 1000
    """Of the bootstrap."""
    seed: Seed = 0
    """Of the bootstrap."""


def check_name(name: str) -> None:
    """Make sure that a model's folder is not the one of the model in production.

    Raises:
        ValueError: it is.
    """
    if name == "production":
        raise ValueError("'production' is the folder of the model in production; choose another name")


def load_names(path: Path) -> list[str]:
    """Return the names of the entries of section `models`, the candidates, and check nothing else of them.

    Raises:
        InputError: the file cannot be read, or a name is not allowed.
    """
    content = read(path)
    entries = content.get("models") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise InputError(f"{path}: models: expected names with values, got {reprlib.repr(entries)}")
    for name in entries:
        if not re.fullmatch(NAME_PATTERN, str(name)):
            raise InputError(f"{path}: models: {name!r} is no name of lower-case letters, digits, '-' and '_'")
        try:
            check_name(name)
        except ValueError as error:
            raise InputError(f"{path}: models: {error}") from None
    return [str(name) for name in entries]
