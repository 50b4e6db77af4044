"""What scheduled runs leave on their machine and nobody needs any more: removed at the end of a run, and said."""

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from flows.repository.workspace import RUNS, runs_lock
from flows.settings import KeepDays

SECONDS_A_DAY = 24 * 3600.0
_CLONES = "tmp*prefect"
"""Where Prefect's workers put the code of a run; a worker that is killed leaves it."""


def remove_old(state: Path, own: str, keep: KeepDays) -> str:
    """Remove what was not used for as long as the settings say, and return a line about it, empty if there is nothing.

    What DVC's remote does not have is made again when it is needed: so this is for runs that have pushed.

    Args:
        state: the folder `RNNFLOW_STATE` of this machine.
        own: name of the run's own clone.
        keep: days.
    """
    found = {
        "DVC's cache": [] if _are_others_at_work(state, own) else _unused(state / "cache", keep.cache),
        "states of trainings": _unused(state / "resume", keep.resume),
        "clones of dead workers": _abandoned_clones(keep.clones),
    }
    freed = {}
    with FileLock(runs_lock(state)):  # whoever begins waits: what is there when it looks stays
        for what, paths in found.items():
            freed[what] = sum(map(_remove, paths))
    said = ", ".join(f"{size / 1e6:,.1f} MB of {what}" for what, size in freed.items() if size)
    return f"removed: {said}" if said else ""


def _are_others_at_work(state: Path, own: str) -> bool:
    """Return whether another run on this machine may be about to use what it has found in the cache."""
    for lock in (state / RUNS).glob("*.lock"):
        try:
            if lock.stem != own:
                with FileLock(lock, timeout=0):
                    pass
        except Timeout:
            return True
    return False


def _unused(folder: Path, days: float) -> Iterator[Path]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another run has removed it
            status = path.stat()
            if path.is_file() and _is_older(max(status.st_atime, status.st_mtime), days):
                yield path


def _abandoned_clones(days: float) -> Iterable[Path]:
    """Return the folders of workers in which no process works any more."""
    in_use = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            in_use.add(Path(process.cwd()))
    for folder in Path(tempfile.gettempdir()).glob(_CLONES):
        with suppress(OSError):  # another user's, or gone
            is_used = any(path.is_relative_to(folder) for path in in_use)
            if folder.is_dir() and not is_used and _is_older(folder.stat().st_mtime, days):
                yield folder


def _is_older(moment: float, days: float) -> bool:
    return time.time() - moment > days * SECONDS_A_DAY


def _remove(path: Path) -> int:
    """Remove a file or a folder and return the bytes that this has freed."""
    with suppress(OSError):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files if file.stat().st_nlink == 1)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return size
    return 0
