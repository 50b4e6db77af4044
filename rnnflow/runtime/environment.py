"""What the machine decides and no tracked param, through environment variables: the device, and where state is kept."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rnnflow.runtime.errors import InputError

DEVICE = "RNNFLOW_DEVICE"
STATE = "RNNFLOW_STATE"
MAX_STATE_AGE_SECONDS = 30 * 24 * 3600
LOCK_SECONDS = 0.2
"""Between two looks whether a lock is free."""


def wanted_device() -> str:
    """Return what `RNNFLOW_DEVICE` says: `auto`, the default, `cpu` or `cuda`.

    Raises:
        InputError: it says something else.
    """
    wanted = os.environ.get(DEVICE, "auto")
    if wanted not in ("auto", "cpu", "cuda"):
        raise InputError(f"environment variable {DEVICE}: expected auto, cpu or cuda, got {wanted!r}")
    return wanted


def resume_file(state_key: Mapping[str, str]) -> Path:
    """Return where a training keeps its state until it ends; `state_key` names all that decides its bytes.

    It is below the folder `RNNFLOW_STATE`, by default `.rnnflow`, outside DVC's outputs.
    """
    digest = hashlib.sha256(json.dumps(dict(state_key), sort_keys=True).encode()).hexdigest()[:32]
    return _state() / "resume" / f"{digest}.safetensors"


def scratch_folder() -> Path:
    """Return where what is too large for memory is kept while a stage runs: below the same folder."""
    folder = _state() / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tuning_folder() -> Path:
    """Return where `rnnflow tune` keeps what it has tried: below the same folder."""
    folder = _state() / "tuning"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def end_resume(file: Path) -> None:
    """Remove the state of a training that has ended, and those that no training has touched for a month."""
    file.unlink(missing_ok=True)
    for other in file.parent.glob("*"):
        with suppress(FileNotFoundError):  # another training has ended meanwhile
            if time.time() - other.stat().st_mtime > MAX_STATE_AGE_SECONDS:
                other.unlink()


@contextmanager
def held(file: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    """Hold a lock that belongs to `file`; a second process waits for it, after a call of `on_wait`.

    The system frees the lock of a process that dies.
    """
    from filelock import FileLock, Timeout  # brings asyncio, and every stage imports this module

    path = file.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, poll_interval=LOCK_SECONDS)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # waiting processes notice and create it again
        lock.release()


def _state() -> Path:
    return Path(os.environ.get(STATE, ".rnnflow"))
