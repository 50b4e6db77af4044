"""Section `evaluate`: how the metrics on the test split are computed."""

from rnnflow.params.section import Count, Section


class EvaluateParams(Section):
    """Section `evaluate`."""

    batch_size: Count = 256
    memory_budget_mb: Count = 1024
    """MiB of the split's values above which they are in a file on disk, mapped into memory."""
    num_calibration_bins: Count = 10
    num_length_slices: Count = 4
