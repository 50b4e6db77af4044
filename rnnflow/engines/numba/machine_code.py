"""The kernels as the engine calls them: compiled once, and kept on disk for every clone and version with the same source.

Kept code is loaded by LLVM, in some milliseconds and without Numba, which takes as long to load as a small training. Whoever
can write it decides what runs here, and a damaged file would end the process without a word. So the folder must be the
user's own, and every file begins with a digest of the rest.
"""

import contextlib
import ctypes
import errno
import functools
import hashlib
import importlib.util
import os
import stat
import sys
import tempfile
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from rnnflow.classifier.stems import multi_scale
from rnnflow.engines import interface
from rnnflow.engines.numba import target

FOLDER = "RNNFLOW_CACHE"
"""Environment variable: where compiled code is kept, by default below the user's cache folder."""
NAMES = ("run", "clipped_adamw", "stem_forward", "stem_backward")
"""Of the kernels, as in `object_code.KERNELS`; the first is all that a classifier without a stem takes."""
DIGEST_SIZE = hashlib.sha256().digest_size
_C_TYPES: dict[str, Any] = {"array": ctypes.py_object, "int64": ctypes.c_int64, "float64": ctypes.c_double}

if importlib.util.find_spec("numba") is None:  # it is loaded only to compile, when it would be late to say so
    raise ModuleNotFoundError("Numba is not installed", name="numba")


class Kernel:
    """A compiled function of NumPy arrays, whole numbers and float64 numbers, in machine code.

    Args:
        name: of the function in the object file.
        kinds: of its arguments: `array`, `int64` or `float64`.
        code: the object file.
    """

    def __init__(self, name: str, kinds: list[str], code: bytes) -> None:
        self.name = name
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.machine())  # owns the code's memory
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._arrays = [place for place, kind in enumerate(kinds) if kind == "array"]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, *[_C_TYPES[kind] for kind in kinds])
        self._function = prototype(self._engine.get_function_address(name))

    def __call__(self, *arguments: Any) -> None:
        """Run without Python's lock.

        Raises:
            TypeError: an argument is not what the code was compiled for; an array has to be contiguous and writeable.
        """
        for place in self._arrays:
            if not isinstance(arguments[place], np.ndarray):  # compiled code reads its fields
                raise TypeError(f"kernel {self.name}: argument {place + 1} is no array: {type(arguments[place])}")
        if wrong := self._function(*arguments):
            array = arguments[wrong - 1]
            what = f"{array.dtype} of shape {array.shape}, {str(array.flags).split()}"
            raise TypeError(f"kernel {self.name}: argument {wrong} is of another type, shape or order: {what}")


@functools.cache
def kernel(name: str) -> Kernel:
    """Return one of `NAMES`, loaded, or compiled if it was not before."""
    path = _code_folder() / f"{name}.o"
    kept = _read(path)
    if kept is None:
        is_to_be_kept = can_be_kept()
        if is_to_be_kept and name == NAMES[0]:
            print("engine numba compiles, once for this machine; it takes half a minute", file=sys.stderr, flush=True)
        kept = _compiled(name)
        if is_to_be_kept:
            _keep(path, kept)
    kinds, _, code = kept.partition(b"\n")
    return Kernel(name, kinds.decode().split(), code)


def is_kept() -> bool:
    """Whether what a training calls was compiled before, for an image say, in a folder that need not be writable."""
    path = _code_folder()
    return (path / f"{NAMES[0]}.o").exists() and _is_own(path)


@functools.cache
def can_be_kept() -> bool:
    """Make the folder; say where it cannot be."""
    path = _code_folder()
    try:
        path.mkdir(0o700, parents=True, exist_ok=True)
        if not _is_own(path):
            raise PermissionError(errno.EPERM, f"{path.name} in it belongs to another user, or others may write to it")
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        said = f"{error.strerror}; engine numba compiles for half a minute each time, set {FOLDER} to keep what it compiles"
        print(f"{folder()}: {said}", file=sys.stderr, flush=True)
        return False
    return True


def folder() -> Path:
    """Return where compiled code is kept."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "rnnflow"  # noqa: PTH111 - raises nothing


def _code_folder() -> Path:
    """Return the folder of this source, processor and compiler."""
    return folder() / _key()


@functools.cache
def _key() -> str:
    """What the compiled code depends on."""
    files = [
        *sorted(Path(__file__).parent.rglob("*.py")),
        Path(multi_scale.__file__),  # figures of the norm
        Path(interface.__file__),  # and of the optimiser
    ]
    source = b"".join(path.read_bytes() for path in files)
    python = sys.implementation.cache_tag, object.__basicsize__, np.__version__  # of whose objects it reads the fields
    machine = target.TRIPLE, target.PROCESSOR, target.FEATURES
    return hashlib.sha256(
        source + repr((version("numba"), llvmlite.__version__, python, machine)).encode()
    ).hexdigest()[:16]


def _is_own(path: Path) -> bool:
    """Whether nobody but this user or root can have written what is in a folder."""
    status = path.stat()
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _compiled(name: str) -> bytes:
    """Return the kinds of the arguments, in a line, and the object file."""
    os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")  # where it is installed, its exponentials have other bits
    from rnnflow.engines.numba import object_code

    kinds, code = object_code.emit(name)
    return " ".join(kinds).encode() + b"\n" + code


def _read(path: Path) -> bytes | None:
    """Return what is kept in a file; none where there is none, it may be somebody else's, or it is damaged, which is said."""
    try:
        if not _is_own(path.parent):
            return None
        content = path.read_bytes()
    except OSError:
        return None
    digest, kept = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
    if hashlib.sha256(kept).digest() == digest:
        return kept
    print(f"{path}: the file is damaged; compiling anew", file=sys.stderr, flush=True)
    return None


def _keep(path: Path, kept: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4()}")  # several processes may compile at the same time
    try:
        temporary.write_bytes(hashlib.sha256(kept).digest() + kept)
        temporary.replace(path)
    except OSError as error:  # a full disk, say
        print(f"{folder()}: {error}; what was compiled is not kept", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            temporary.unlink()
