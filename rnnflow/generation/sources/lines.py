"""Lines of a text file without those that hold no row: the first ones, comments and empty ones."""

import re
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow.runtime import expansion
from rnnflow.runtime.errors import InputError

BOM = b"\xef\xbb\xbf"
BLANKS = " "
"""As `generate.files.delimiter`: any number of them, and tabs."""
BREAK, RETURN = 10, 13
MAX_LINE = 16 * 2**20
"""Characters; a block of that size has to hold at least one row."""
_BLANKS = re.compile(rb"[ \t]+")
_AROUND = re.compile(rb"^ | (?=\r?$)", re.MULTILINE)
_SEMICOLON = re.compile(rb";(?=\r?$)", re.MULTILINE)


def bounded(path: Path, file: TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a file that is open, of which none fills the memory.

    Raises:
        InputError: one is longer than any row can be.
    """
    number = 1
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise _too_long(path, number)
        yield line
        number += 1


def _too_long(path: Path, number: int) -> InputError:
    return InputError(f"{path}: line {number}: longer than {MAX_LINE:,} characters, expected rows with line ends")


def kept(lines: Iterable[str], skip: int, comment: str | None, has_blanks: bool) -> Iterator[str]:
    """Yield lines as a `LineFilter` does."""
    for index, line in enumerate(lines):
        if index >= skip and not (comment and line.startswith(comment)):
            yield " ".join(line.split()) if has_blanks else line


class LineFilter:
    """A file for Arrow to read that leaves lines out and knows where the others stand.

    Raises, while it is read, an `InputError` if a line is too long or the file expands out of proportion.

    Args:
        path: the file; what ends in `.gz` is decompressed.
        skip: lines to leave out at the top.
        comment: lines that begin with it are left out.
        has_blanks: blanks stand between columns, however many; they become one.
        has_semicolons: one stands at the end of each line, and is left out.
    """

    closed = False

    def __init__(
        self, path: Path, skip: int, comment: str | None, has_blanks: bool = False, has_semicolons: bool = False
    ) -> None:
        self._has_blanks = has_blanks
        self.has_semicolons = has_semicolons
        self.num_kept = 0
        self._path = path
        self._skip = skip
        self._comment = comment.encode() if comment else b""
        self._stream: pa.NativeFile | None = None
        self._num_lines = self._num_bytes = 0
        self._rest = b""
        self._ready = b""
        self._gaps: list[np.ndarray] = []
        """For each line that is left out, how many kept ones stand above it."""

    def number(self, index: int) -> int:
        """Return the number of the kept line with this index; the first line of the file has 1."""
        gaps = np.concatenate(self._gaps) if self._gaps else np.empty(0, np.int64)
        return index + 1 + int(np.searchsorted(gaps, index, side="right"))

    def read(self, size: int = -1) -> bytes:
        if self._stream is None:
            self._stream = pa.input_stream(str(self._path), compression="detect")
        while not self._ready and self._fill(size if size >= 0 else None):
            pass
        stop = len(self._ready) if size < 0 else size
        content, self._ready = self._ready[:stop], self._ready[stop:]
        return content

    def close(self) -> None:
        self.closed = True
        if self._stream is not None:
            self._stream.close()

    def _fill(self, size: int | None) -> bool:
        """Filter whole lines of the next block; return whether there was one."""
        assert self._stream is not None
        content = self._stream.read(size)
        is_last = not content
        self._num_bytes += len(content)
        expansion.check(self._path, self._num_bytes)
        if not self._num_lines and not self._rest:
            content = content.removeprefix(BOM)
        block = self._rest + content
        cut = len(block) if is_last else block.rfind(b"\n") + 1
        if not is_last and not cut and b"\r" in block:  # the old Macintosh's line breaks; a pair is not cut in two
            cut = block.rfind(b"\r", 0, len(block) - 1) + 1
        self._rest = block[cut:]
        if len(self._rest) > MAX_LINE:
            raise _too_long(self._path, self._num_lines + block.count(b"\n", 0, cut) + 1)
        if cut:
            lines = self._filtered(block[:cut])
            lines = _SEMICOLON.sub(b"", lines) if self.has_semicolons else lines
            self._ready = _AROUND.sub(b"", _BLANKS.sub(b" ", lines)) if self._has_blanks else lines
        return not is_last

    def _filtered(self, block: bytes) -> bytes:
        characters = np.frombuffer(block, np.uint8)
        sign = BREAK if BREAK in characters else RETURN
        ends = np.flatnonzero(characters == sign) + 1
        if not len(ends) or ends[-1] < len(block):
            ends = np.append(ends, len(block))
        starts = np.concatenate([[0], ends[:-1]])
        first = characters[starts]
        is_out = (first == BREAK) | ((first == RETURN) & (ends - starts <= 2))
        if self._comment:
            is_out |= np.fromiter((block.startswith(self._comment, start) for start in starts), bool, len(starts))
        is_out[: max(0, self._skip - self._num_lines)] = True
        self._num_lines += len(starts)
        above = self.num_kept + np.cumsum(~is_out)
        self.num_kept += int((~is_out).sum())
        if not is_out.any():
            return block
        self._gaps.append(above[is_out])
        return characters[np.repeat(~is_out, ends - starts)].tobytes()
