"""Section `compare`: which of the models is the challenger, and what it must show against the model in production."""

from typing import Annotated, Literal

from pydantic import Field

from rnnflow.params.section import Count, Probability, Section, Seed

NonNegative = Annotated[float, Field(ge=0)]


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
    max_onnx_bytes: Count | None = None
    max_multiply_adds: Count | None = None
    """Of one sequence of the train split's median length."""
    num_resamples: Annotated[int, Field(ge=100)] = 1000
    """Of the bootstrap."""
    seed: Seed = 0
    """Of the bootstrap."""
