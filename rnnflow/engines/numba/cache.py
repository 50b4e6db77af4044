"""Compiled code, kept on disk for every clone and version of the project that has the same source.

Numba itself keeps it beside the source or by the source's path, and would compile anew in each clone.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import _CacheLocator

FOLDER = "RNNFLOW_CACHE"
"""Environment variable: where compiled code is kept, by default below the user's cache folder."""
SOURCES = ("kernels.py", "lanes.py")


class ContentLocator(_CacheLocator):
    """Names the folder by the content of the source, not by its place; Numba adds the CPU and its own version."""

    def __init__(self) -> None:
        source = b"".join((Path(__file__).parent / name).read_bytes() for name in SOURCES)
        self.key = hashlib.sha256(source + numba.__version__.encode()).hexdigest()[:16]

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(folder() / self.key)

    def get_source_stamp(self) -> str:
        """Return what has to be the same for code to be used again."""
        return self.key

    def get_disambiguator(self) -> str:
        """Return nothing: functions differ by name."""
        return "0"

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "ContentLocator":  # noqa: ARG003 - as Numba calls it
        """Return the locator of a function."""
        return cls()


def folder() -> Path:
    """Return where compiled code is kept."""
    by_default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnflow"
    return Path(os.environ.get(FOLDER) or by_default)


def compiled(function: Any, signature: Any) -> Any:
    """Return a function that `numba.njit` has wrapped, compiled for `signature` or loaded from disk."""
    before, numba.config.CACHE_LOCATOR_CLASSES = numba.config.CACHE_LOCATOR_CLASSES, f"{__name__}.ContentLocator"
    try:
        function.enable_caching()
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before
    function.compile(signature)
    return function
