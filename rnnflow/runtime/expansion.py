"""How large a file may become in memory: a few bytes can say that they are gigabytes of zeros."""

from pathlib import Path

from rnnflow.runtime import environment
from rnnflow.runtime.errors import InputError

MEMORY = "RNNFLOW_MEMORY_MB"
DEFAULT_MEMORY_MB = 1024
MAX_RATIO = 100
"""Of a file's content to its bytes. Measured numbers are rarely compressed below a tenth, random bits to a 64th."""


def check(path: Path, num_bytes: int) -> None:
    """Refuse a file that would become `num_bytes`, before it does.

    What is read or compressed as numbers are is not bounded: only what is large and out of proportion as well.

    Raises:
        InputError: it exceeds `RNNFLOW_MEMORY_MB`, and the file's own size a hundred times.
    """
    allowed = memory_mb()
    if num_bytes > allowed * 2**20 and num_bytes > MAX_RATIO * path.stat().st_size:
        raise InputError(
            f"{path}: {path.stat().st_size:,} bytes would become {num_bytes / 2**20:,.0f} MiB, which looks like damage or "
            f"ill will; if it is meant so, set the environment variable {MEMORY}, which is {allowed:,}"
        )


def memory_mb() -> int:
    """Return what `RNNFLOW_MEMORY_MB` says: MiB that a file may always become.

    Raises:
        InputError: the variable is no such number.
    """
    return environment.number(MEMORY, DEFAULT_MEMORY_MB, "a number of MiB", least=1)
