"""Each kind of file that people have in the place of the right one."""

import gzip
import os
import socket
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

NUL = b"\0" * 4096
FILES: Mapping[str, bytes] = {
    "empty": b"",
    "zeros": NUL,
    "text": b"Dear colleagues,\n\nattached you find the measurements.\n",
    "a web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
    "gzip": gzip.compress(b"x,y\n1,2\n"),
    "cut gzip": gzip.compress(os.urandom(4096))[:2000],
    "a program": b"\x7fELF" + b"\x02\x01\x01" + NUL,
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.",
    "JSON": b'{"a": [1, 2, {"b": null}]}',
    "deep JSON": b"[" * 100_000,
    "YAML that runs code": b"!!python/object/apply:os.system ['touch pwned']\n",
    "bytes that are no text": b"\xff\xfe\xfa" * 100,
    "a huge number": b"9" * 5000,
}


def _link_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name has to be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escape.txt", "x")


OTHERS: Mapping[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": _socket,
    "a broken link": lambda path: path.symlink_to("gone"),
    "a link in a circle": _link_in_a_circle,
    "a zip archive": _zip,
}


KINDS: Mapping[str, Callable[[Path], object]] = {
    **OTHERS,
    **{name: partial(Path.write_bytes, data=content) for name, content in FILES.items()},
}
