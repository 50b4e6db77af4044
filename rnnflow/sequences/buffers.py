"""Large arrays: in memory, or above a budget in a file on disk that is mapped into it."""

import math
import os
import tempfile

import numpy as np

from rnnflow.runtime import environment
from rnnflow.runtime.array_types import Float32
from rnnflow.runtime.errors import InputError

MIB = 2**20


def empty(shape: tuple[int, ...], memory_budget_mb: int | None) -> Float32[np.ndarray, "..."]:
    """Return an array of any content.

    Above so many MiB it is a file without a name below `RNNFLOW_STATE`, whose space is taken at once and given back when
    nothing refers to the array any more, however the process ends.

    Raises:
        InputError: there is no space.
    """
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    if memory_budget_mb is None or size <= memory_budget_mb * MIB:
        return np.empty(shape, np.float32)
    folder = environment.scratch_folder()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # elsewhere the space is taken as it is used
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
            return np.memmap(file, np.float32, "r+", shape=shape)
    except OSError as error:
        raise InputError(
            f"{folder}: {size / MIB:,.0f} MiB of scratch space, above memory_budget_mb: {error.strerror}; "
            f"free some, set {environment.STATE} to a folder with space, or raise the budget"
        ) from None
