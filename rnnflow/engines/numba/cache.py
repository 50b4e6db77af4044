"""Compiled code, kept on disk for every clone and version of the project that has the same source.

Numba itself keeps it beside the source or by the source's path, and would compile anew in each clone. What it keeps are
pickles of machine code: whoever can write them decides what runs here, and a damaged one would end the process without a
word. So the folder must be the user's own, and every file begins with a digest of the rest.
"""

import errno
import functools
import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import IndexDataCacheFile, NullCache, _CacheLocator
from numba.core.runtime.nrt import rtsys

from rnnflow.classifier.stems import multi_scale
from rnnflow.engines import interface
from rnnflow.engines.numba.simd import TARGET

FOLDER = "RNNFLOW_CACHE"
"""Environment variable: where compiled code is kept, by default below the user's cache folder."""
TRIED_WITH = "0.63."
"""The Numba whose parts are known to be enough for loading what is kept, see `_load`."""
DIGEST_SIZE = hashlib.sha256().digest_size


class ContentLocator(_CacheLocator):
    """Names the folder by the content of this package, not by its place, and by the CPU and the compiler's versions."""

    def __init__(self) -> None:
        self.key = _key()

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(folder() / self.key)

    def ensure_cache_path(self) -> None:
        """Make the folder, for this user alone.

        Raises:
            OSError: it cannot be written, or others could write to it.
        """
        path = Path(self.get_cache_path())
        path.mkdir(0o700, parents=True, exist_ok=True)
        if not _is_own(path):
            raise PermissionError(errno.EPERM, f"{path.name} in it belongs to another user, or others may write to it")
        super().ensure_cache_path()

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


class CheckedFiles(IndexDataCacheFile):
    """The files of a function; one that is damaged is said, removed, and counts as missing."""

    def _load_index(self) -> dict[Any, str]:
        try:
            index: dict[Any, str] = self._load_data(self._index_name)
        except FileNotFoundError:
            return {}
        return index

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._save_data(self._index_name, overloads)

    def _load_data(self, name: str) -> Any:
        path = Path(self._data_path(name))
        content = path.read_bytes()
        digest, payload = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
        if hashlib.sha256(payload).digest() != digest:
            print(f"{path}: the file is damaged; compiling anew", file=sys.stderr, flush=True)
            path.unlink(missing_ok=True)
            raise FileNotFoundError(path)
        return pickle.loads(payload)  # noqa: S301 - from a folder of this user

    def _save_data(self, name: str, data: Any) -> None:
        payload = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(payload).digest() + payload)


@functools.cache
def _key() -> str:
    """What the compiled code depends on."""
    files = [
        *sorted(Path(__file__).parent.rglob("*.py")),
        Path(multi_scale.__file__),  # figures of the norm
        Path(interface.__file__),  # and of the optimiser
    ]
    source = b"".join(path.read_bytes() for path in files)
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
    if is_kept() or can_be_kept():
        before, numba.config.CACHE_LOCATOR_CLASSES = numba.config.CACHE_LOCATOR_CLASSES, f"{__name__}.ContentLocator"
        try:
            function.enable_caching()
        finally:
            numba.config.CACHE_LOCATOR_CLASSES = before
        kept = function._cache
        kept._cache_file = CheckedFiles(kept.cache_path, kept._impl.filename_base, _key())
        if numba.__version__.startswith(TRIED_WITH):
            kept.load_overload = functools.partial(_load, kept)
    try:
        with _scipy_left_out():
            function.compile(signature)
    except OSError as error:  # a full disk, say
        print(f"{folder()}: {error}; compiling without it", file=sys.stderr, flush=True)
        function._cache = NullCache()
        function.compile(signature)
    return function


def _load(kept: Any, signature: Any, target: Any) -> Any:
    """Return a kept function, none if there is none.

    Numba's own method first imports and registers all that could be compiled, which takes longer than what needs to be done.
    What that is may differ in another version, and without it a process dies at the first call.
    """
    rtsys.initialize(target)  # the functions by which machine code refers to arrays
    with kept._guard_against_spurious_io_errors():
        return kept._load_overload(signature, target)


@contextmanager
def _scipy_left_out() -> Iterator[None]:
    """Numba looks for SciPy's linear algebra, which nothing here calls: importing it took a quarter of stage train."""
    if "scipy.linalg" in sys.modules:
        yield
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]  # an import of it fails then, as Numba expects it to
    try:
        yield
    finally:
        del sys.modules["scipy.linalg"]


def is_kept() -> bool:
    """Whether something was compiled before, for an image say, in a folder that need not be writable."""
    path = Path(ContentLocator().get_cache_path())
    return any(path.glob("*.nbi")) and _is_own(path)


def _is_own(path: Path) -> bool:
    """Whether nobody but this user or root can have written what is in a folder."""
    status = path.stat()
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


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
    if not is_kept():
        print("engine numba compiles, once for this machine; it takes half a minute", file=sys.stderr, flush=True)
    return True
