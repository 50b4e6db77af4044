"""Linux tells of each write to a file, so that a strike can hit in the middle of one."""

import ctypes
import os
import select
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

IN_MODIFY = 0x2
HEADER = struct.Struct("iIII")
POLL_SECONDS = 0.1


def writes(folder: Path, name: str, while_running: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Yield at each write to a file, or cut of it to nothing, until the process has ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    watching = libc.inotify_init()
    if watching < 0 or libc.inotify_add_watch(watching, os.fsencode(folder), IN_MODIFY) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    try:
        while select.select([watching], [], [], POLL_SECONDS)[0] or while_running.poll() is None:
            yield from (None for found in _names(watching) if found == os.fsencode(name))
    finally:
        os.close(watching)


def _names(watching: int) -> Iterator[bytes]:
    if not select.select([watching], [], [], 0)[0]:
        return
    content, place = os.read(watching, 65536), 0
    while place < len(content):
        *_, size = HEADER.unpack_from(content, place)
        place += HEADER.size + size
        yield content[place - size : place].rstrip(b"\0")
