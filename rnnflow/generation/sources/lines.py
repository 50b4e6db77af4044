"""Lines of a text file without those that hold no row: the first ones, comments and empty ones."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rnnflow.runtime import expansion
from rnnflow.runtime.errors import InputError

BLANKS = " "
"""As `generate.files.delimiter`: any number of them, and tabs."""
BREAK, RETURN = 10, 13
MAX_LINE = 16 * 2**20
"""Characters; a block of that size has to hold at least one row."""
READ_BYTES = 2**20
_BLANKS = re.compile(rb"[ \t]+")
_MARKS = re.compile(rb"\A(?:\xef\xbb\xbf)+")
"""One after another where a program puts its own before that of another."""
_AROUND = re.compile(rb"^ | (?=\r?$)", re.MULTILINE)
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_COMPRESSED = "compressed; unpack it"
_NO_TEXT = {
    _GZIP: "compressed by gzip; let its name end in .gz",
    b"BZh": _COMPRESSED,
    b"\xfd7zXZ": _COMPRESSED,
    b"\x28\xb5\x2f\xfd": _COMPRESSED,
    b"PK\x03\x04": "a zip archive, as .xlsx and .npz files are; unpack it, or save the table as CSV",
    b"PAR1": "Parquet; let its name end in .parquet",
    b"\x89HDF": "HDF5; data/raw/README.md has lines that convert it",
    b"<!DOCTYPE": "a web page; did a download go wrong?",
    b"<html": "a web page; did a download go wrong?",
    b"version https://git-lfs": "a pointer of Git LFS; `git lfs pull` brings the file",
}
"""What is said of a file that begins so and is called like a text."""


def open_text(path: Path) -> pa.NativeFile:
    """Return the text of a file in UTF-8; decompressed if its name ends in `.gz`, converted if a mark says UTF-16.

    Raises:
        InputError: its first bytes are those of another format.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        first = file.read(512)
    is_compressed = path.suffix.lower() == ".gz"
    for sign, what in _NO_TEXT.items():
        if first.startswith(sign) and not (is_compressed and sign == _GZIP):
            raise InputError(f"{path}: {what}")
    stream = pa.input_stream(str(path), compression="gzip" if is_compressed else None)
    if first.startswith(_UTF16):
        return pa.transcoding_input_stream(stream, "utf-16", "utf-8")
    if 4 * first.count(0) > len(first) and not is_compressed:
        raise InputError(f"{path}: every other byte or so is zero, as in UTF-16 or in no text; save the file in UTF-8")
    return stream


def _too_long(path: Path, number: int) -> InputError:
    return InputError(f"{path}: line {number}: longer than {MAX_LINE:,} characters, expected rows with line ends")


class LineFilter(io.RawIOBase):
    """A file for Arrow to read that leaves lines out and knows where the others stand.

    Raises, while it is read, an `InputError` if a line is too long or the file expands out of proportion. Where it has blanks,
    however many of them stand between columns, they become one; an `ending` of lines is left out.
    """

    def __init__(
        self, path: Path, skip: int, comment: str | None = None, has_blanks: bool = False, ending: str = ""
    ) -> None:
        self._has_blanks = has_blanks
        self.ending = ending
        self._ending = re.compile(re.escape(ending.encode()) + rb"(?=\r?$)", re.MULTILINE) if ending else None
        self.num_kept = 0
        self._path = path
        self._skip = skip
        self._comment = comment.encode() if comment else b""
        self._stream: pa.NativeFile | None = None
        self._num_lines = self._num_bytes = 0
        self._rest = b""
        self._ready = b""
        self.look_at_comment: Callable[[str, int], None] | None = None
        """Is told of each comment below the first line that is kept, and its number."""
        self._gaps: list[np.ndarray] = []
        """For each line that is left out, how many kept ones stand above it."""

    def number(self, index: int) -> int:
        """Return the number of the kept line with this index; the first line of the file has 1."""
        gaps = np.concatenate(self._gaps) if self._gaps else np.empty(0, np.int64)
        return index + 1 + int(np.searchsorted(gaps, index, side="right"))

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._stream is None:
            self._stream = open_text(self._path)
        while not self._ready and self._fill(size if size >= 0 else None):
            pass
        stop = len(self._ready) if size < 0 else size
        content, self._ready = self._ready[:stop], self._ready[stop:]
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def texts(self, errors: str = "strict") -> io.TextIOWrapper:
        """Return the lines as text, one after another; `errors` is what becomes of bytes that are none."""
        return io.TextIOWrapper(io.BufferedReader(self, READ_BYTES), encoding="utf-8", errors=errors, newline="")

    def open_quote(self) -> int | None:
        """Return the number of the first line with a quotation mark that it does not close."""
        lines = enumerate(self.texts("replace"))
        return next((self.number(index) for index, line in lines if line.count('"') % 2), None)

    def head(self, size: int) -> bytes:
        """Return the first lines, whole ones, of about as many bytes."""
        content = self.read(size)
        if not (following := self.read(size)):
            return content
        cut = content.rfind(b"\n") + 1
        return content[:cut] if cut else content + following

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()

    def _fill(self, size: int | None) -> bool:
        """Filter whole lines of the next block; return whether there was one."""
        assert self._stream is not None
        content = self._stream.read(size)
        is_last = not content
        self._num_bytes += len(content)
        expansion.check(self._path, self._num_bytes)
        if not self._num_lines and not self._rest:
            content = _MARKS.sub(b"", content)
        block = self._rest + content
        cut = len(block) if is_last else block.rfind(b"\n") + 1
        if not is_last and not cut and b"\r" in block:  # the old Macintosh's line breaks; a pair is not cut in two
            cut = block.rfind(b"\r", 0, len(block) - 1) + 1
        self._rest = block[cut:]
        if len(self._rest) > MAX_LINE:
            raise _too_long(self._path, self._num_lines + block.count(b"\n", 0, cut) + 1)
        if (zero := block.find(b"\0", 0, cut)) >= 0:
            line = self._num_lines + block.count(b"\n", 0, zero) + 1
            raise InputError(
                f"{self._path}: line {line}: a zero byte, as a file that was not written to its end has; remove it"
            )
        if cut:
            lines = self._filtered(block[:cut])
            lines = self._ending.sub(b"", lines) if self._ending else lines
            self._ready = _AROUND.sub(b"", _BLANKS.sub(b" ", lines)) if self._has_blanks else lines
        return not is_last

    def _filtered(self, block: bytes) -> bytes:
        is_whole = not self._comment and self._num_lines >= self._skip and b"\n" in block
        if is_whole and block[0] not in (BREAK, RETURN) and b"\n\n" not in block and b"\n\r" not in block:
            num_lines = block.count(b"\n") + (not block.endswith(b"\n"))
            self._num_lines += num_lines
            self.num_kept += num_lines
            return block
        characters = np.frombuffer(block, np.uint8)
        sign = BREAK if BREAK in characters else RETURN
        ends = np.flatnonzero(characters == sign) + 1
        if not len(ends) or ends[-1] < len(block):
            ends = np.append(ends, len(block))
        starts = np.concatenate([[0], ends[:-1]])
        first = characters[starts]
        is_out = (first == BREAK) | ((first == RETURN) & (ends - starts <= 2))
        if self._comment:
            are_comments = np.fromiter((block.startswith(self._comment, start) for start in starts), bool, len(starts))
            is_out |= are_comments
        is_out[: max(0, self._skip - self._num_lines)] = True
        above = self.num_kept + np.cumsum(~is_out)
        if self._comment and self.look_at_comment is not None:
            for line in np.flatnonzero(are_comments & (above > 0)).tolist():
                text = block[starts[line] : ends[line]].decode(errors="replace").strip()
                self.look_at_comment(text, self._num_lines + line + 1)
        self._num_lines += len(starts)
        self.num_kept += int((~is_out).sum())
        if not is_out.any():
            return block
        self._gaps.append(above[is_out])
        return characters[np.repeat(~is_out, ends - starts)].tobytes()
