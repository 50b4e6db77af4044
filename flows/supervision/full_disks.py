"""What DVC says when a disk is full, in words that help: which folder, how much room there is, how much was needed."""

import errno
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_FULL = re.compile(rf"\[Errno (?:{errno.ENOSPC}|{errno.EDQUOT})\][^:]*(?:: '([^']+)'(?: -> '([^']+)')?)?")
_NO_LINK = "No possible cache link types"
"""DVC tries each kind of link with a file of its own, and on a full disk all fail."""
_LITTLE_BYTES = 1 << 20


def explained(message: str, folders: Iterable[Path]) -> str:
    """Return a message of DVC, in plain words where it is about a full disk.

    Args:
        message: of a command that failed.
        folders: that DVC writes to: which of them is full is looked up where the message does not say.
    """
    found = _FULL.search(message)
    if found and found[1]:
        source, target = Path(found[1]), Path(found[2] or found[1])
        needed = _size(source) if found[2] else 0
        return f"{_line(_existing(target))}{f', {_in_words(needed)} needed for {source.name}' if needed else ''}; free some"
    if found or _NO_LINK in message:
        folder = min(map(_existing, folders), key=_free)
        if found or _free(folder) < _LITTLE_BYTES:
            return f"{_line(folder)}; free some"
    return message


def _line(folder: Path) -> str:
    return f"[Errno {errno.ENOSPC}] no space left in {folder}: {_in_words(_free(folder))} free"


def _existing(path: Path) -> Path:
    return path if path.is_dir() else _existing(path.parent)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _in_words(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
