"""A checksum of a Parquet file's footer, kept in a gap before it.

Parquet's own checksums cover its pages, not the footer that says where they are and what they mean: one wrong bit there
gave other sequences, or ended the process inside of Arrow. Readers find the footer from the file's end, so a gap before it
is nothing to them, and who writes the table anew writes no gap, hence no checksum that would be wrong.
"""

import hashlib
from pathlib import Path

MAGIC = b"PAR1"
MARK = b"rnnflow: sha256 of the footer that follows: "
_GAP = len(MARK) + hashlib.sha256().digest_size


def add(path: Path) -> None:
    """Put the checksum into a complete Parquet file."""
    with path.open("r+b") as file:
        footer, start = _footer(path)
        file.seek(start)
        file.write(MARK + hashlib.sha256(footer).digest() + footer)


def is_wrong(path: Path) -> bool:
    """Whether the file carries a checksum that its footer does not have.

    Raises:
        ValueError: it does not end as a Parquet file does.
        OSError: it cannot be read.
    """
    footer, start = _footer(path)
    with path.open("rb") as file:
        file.seek(max(0, start - _GAP))
        gap = file.read(_GAP)
    return gap.startswith(MARK) and gap.removeprefix(MARK) != hashlib.sha256(footer).digest()


def read(path: Path) -> bytes:
    """Return the footer, without its length and what ends the file.

    Raises:
        ValueError: the file does not end as a Parquet file does.
        OSError: it cannot be read.
    """
    return _footer(path)[0][:-8]


def _footer(path: Path) -> tuple[bytes, int]:
    """Return everything from the footer to the end of the file, and where that begins."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        end = file.read(8)
        start = size - 8 - int.from_bytes(end[:4], "little")
        if len(end) < 8 or end[4:] != MAGIC or start < len(MAGIC):
            raise ValueError("its end is not that of a Parquet file")
        file.seek(start)
        return file.read(), start
