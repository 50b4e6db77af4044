"""Section `evaluate`: how the metrics are computed."""

from typing import Annotated

from pydantic import Field

from rnnflow.params.section import Count, Probability, Section


class EvaluateParams(Section):
    """Section `evaluate`."""

    batch_size: Count = 256
    memory_budget_mb: Count = 1024
    """MiB of the split's values above which they are in a file on disk, mapped into memory."""
    temperature: bool = True
    """Whether logits are divided by a temperature fitted on the validation split, where that lowers the log loss."""
    max_error_share: Probability | None = None
    """Of the answers: below the threshold that keeps it on the validation split, the model answers `unknown`."""
    max_early_loss: Annotated[float, Field(gt=0, lt=1)] | None = 0.01
    """Of accuracy, by deciding live streams before their end, as the validation split shows; none: they are decided at their end."""
    num_calibration_bins: Count = 10
    num_length_slices: Count = 4
    """By length, and by time where the sequences have one."""
    num_resamples: Annotated[int, Field(ge=100, le=10**6)] = 1000
    """Of the bootstrap that the intervals come from; fewer where there are very many sequences."""
