"""Compiled code, kept on disk for every clone and version of the project that has the same source.

Numba itself keeps it beside the source or by the source's path, and would compile anew in each clone.
"""

import functools
import hashlib
import os
import sys
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
    if function.signatures:
        return function
    if _can_be_kept():
        before, numba.config.CACHE_LOCATOR_CLASSES = numba.config.CACHE_LOCATOR_CLASSES, f"{__name__}.ContentLocator"
        try:
            function.enable_caching()
        finally:
            numba.config.CACHE_LOCATOR_CLASSES = before
    function.compile(signature)
    return function


@functools.cache
def _can_be_kept() -> bool:
    """Make the folder; say where it cannot be, and that compiling takes its time where it is new."""
    locator = ContentLocator()
    try:
        locator.ensure_cache_path()
    except OSError as error:
        said = f"{error.strerror}; engine numba compiles for half a minute each time, set {FOLDER} to keep what it compiles"
        print(f"{folder()}: {said}", file=sys.stderr, flush=True)
        return False
    if not any(Path(locator.get_cache_path()).iterdir()):
        print("engine numba compiles, once for this machine; it takes half a minute", file=sys.stderr, flush=True)
    return True
