"""Which value is missing; apart from `dataset`, since a predictor needs it and should not load Parquet for it."""

import numpy as np

from rnnflow.runtime.array_types import Float32, Int64


def first_missing(
    values: Float32[np.ndarray, "steps feature"], offsets: Int64[np.ndarray, " sequence_plus_one"]
) -> tuple[int, int] | None:
    """Return sequence and feature of the first missing value, or none where every value is known."""
    if not values.size or not np.isnan(values.min()):  # no array of flags as large as a split
        return None
    step, feature = divmod(int(np.isnan(values).argmax()), values.shape[1])
    return int(np.searchsorted(offsets, step, side="right")) - 1, feature
