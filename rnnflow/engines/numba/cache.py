"""Compiled code, kept on disk for every clone and version of the project that has the same source.

Numba itself keeps it beside the source or by the source's path, and would compile anew in each clone.
"""

import functools
import hashlib
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import NullCache, _CacheLocator

from rnnflow.engines.numba.simd import TARGET

FOLDER = "RNNFLOW_CACHE"
"""Environment variable: where compiled code is kept, by default below the user's cache folder."""


class ContentLocator(_CacheLocator):
    """Names the folder by the content of this package, not by its place, and by the CPU and the compiler's versions."""

    def __init__(self) -> None:
        self.key = _key()

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


@functools.cache
def _key() -> str:
    """What the compiled code depends on."""
    source = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    machine = repr((numba.__version__, llvmlite.__version__, TARGET))
    return hashlib.sha256(source + machine.encode()).hexdigest()[:16]


def folder() -> Path:
    """Return where compiled code is kept."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "rnnflow"  # noqa: PTH111 - raises nothing


def compiled(function: Any, signature: Any) -> Any:
    """Return a function that `numba.njit` has wrapped, compiled for `signature` or loaded from disk."""
    if function.signatures:
        return function
    if _is_kept() or can_be_kept():
        before, numba.config.CACHE_LOCATOR_CLASSES = numba.config.CACHE_LOCATOR_CLASSES, f"{__name__}.ContentLocator"
        try:
            function.enable_caching()
        finally:
            numba.config.CACHE_LOCATOR_CLASSES = before
    try:
        function.compile(signature)
    except (OSError, EOFError, pickle.UnpicklingError) as error:  # a full disk, a file that was cut short
        print(f"{folder()}: {error}; compiling without it", file=sys.stderr, flush=True)
        function._cache = NullCache()
        function.compile(signature)
    return function


def _is_kept() -> bool:
    """Whether something was compiled before, for an image say, in a folder that need not be writable."""
    path = Path(ContentLocator().get_cache_path())
    return any(path.glob("*.nbi"))


@functools.cache
def can_be_kept() -> bool:
    """Make the folder; say where it cannot be, and that compiling takes its time where it is new."""
    locator = ContentLocator()
    try:
        locator.ensure_cache_path()
    except OSError as error:
        said = f"{error.strerror}; engine numba compiles for half a minute each time, set {FOLDER} to keep what it compiles"
        print(f"{folder()}: {said}", file=sys.stderr, flush=True)
        return False
    if not _is_kept():
        print("engine numba compiles, once for this machine; it takes half a minute", file=sys.stderr, flush=True)
    return True
