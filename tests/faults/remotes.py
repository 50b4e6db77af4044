"""A DVC remote that is away, breaks off, is slow, busy or refuses, in the middle of a push or a pull."""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from flows.supervision.dvc import Dvc, Failure, StageError
from tests.faults.fuzz.trials import Tally

NUM_FILES, NUM_BYTES = 8, 50_000
KINDS = {
    "is away": {Failure.TRANSIENT},
    "breaks off": {Failure.TRANSIENT},
    "is slow": set[Failure](),
    "is busy": {Failure.TRANSIENT},
    "refuses": {Failure.PERMANENT},
}
"""What a try may end with, if it does not succeed."""
STATUSES = {"is busy": 503, "refuses": 403}


@dataclass
class Fault:
    """What goes wrong, from which request on."""

    kind: str = ""
    first: int = 0
    num_requests: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    fault: Fault

    def do_HEAD(self) -> None:
        self._answer(is_head=True)

    def do_GET(self) -> None:
        self._answer(is_head=False)

    def do_POST(self) -> None:
        if self.fault.kind == "breaks off" and self._is_wrong():  # in the middle of a file
            return
        content = self._body()
        if self._is_wrong():
            return
        path = self._path()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{threading.get_ident()}")
        beside.write_bytes(content)
        beside.replace(path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _answer(self, *, is_head: bool) -> None:
        path = self._path()
        if self._is_wrong(path if not is_head else None):
            return
        content = path.read_bytes() if path.is_file() else b""
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not is_head:
            self.wfile.write(content)

    def _is_wrong(self, path: Path | None = None) -> bool:
        """Return whether this request is answered as a broken remote does, and has been."""
        fault = self.fault
        fault.num_requests += 1
        if not fault.kind or fault.num_requests <= fault.first:
            return False
        if fault.kind == "is slow":
            time.sleep(0.05)
            return False
        self.close_connection = True
        if fault.kind in STATUSES:
            self.send_error(STATUSES[fault.kind])
        elif path and path.is_file():  # in the middle of a file
            content = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
        return True

    def _path(self) -> Path:
        return self.folder / self.path.removeprefix("/store/")

    def log_message(self, *_: object) -> None:
        pass


def trials(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Push and pull `number` times from remotes that fail, then from the same when they are well, and compare each byte."""
    folder.mkdir()
    for index in range(number):
        kind, command = list(KINDS)[index % len(KINDS)], ("push", "pull")[index // len(KINDS) % 2]
        lost = _trial(folder / str(index), kind, command, random.Random(f"{seed} {index}"))
        shutil.rmtree(folder / str(index))
        yield Tally(f"{command}, and the remote {kind}", 1, losses=[(index, lost)] if lost else [])


def _trial(folder: Path, kind: str, command: str, rng: random.Random) -> str | None:
    folder.mkdir()
    fault = Fault()
    with _served(folder / "store", fault) as url:
        project, other = folder / "project", folder / "other"
        files = _make(project, url, rng)
        if command == "pull":
            _run(project, "dvc", "push", "--quiet")
        _run(folder, "git", "clone", "--quiet", str(project), str(other))
        at = project if command == "push" else other
        fault.kind, fault.first, fault.num_requests = kind, 0 if kind == "is away" else rng.randrange(2 * NUM_FILES), 0
        with Dvc(at) as dvc:
            try:
                dvc.run([command], lambda _: None)
            except StageError as error:
                if error.failure not in KINDS[kind] or "\n" in str(error):
                    return f"{error.failure}: {str(error)[:300]!r}"
            fault.kind = ""
            try:
                dvc.run([command], lambda _: None)
            except StageError as error:
                return f"once the remote is well: {error}"
        _run(other, "dvc", "pull", "--quiet")
        found = {path.name: path.read_bytes() for path in (other / "data").iterdir()}
    return (
        None
        if found == files
        else f"{len(found)} files, of which {sum(found.get(name) == files[name] for name in files)} are whole"
    )


def _make(project: Path, url: str, rng: random.Random) -> dict[str, bytes]:
    files = {f"{number}.bin": rng.randbytes(NUM_BYTES) for number in range(NUM_FILES)}
    (project / "data").mkdir(parents=True)
    for name, content in files.items():
        (project / "data" / name).write_bytes(content)
    _run(project, "git", "init", "--quiet")
    _run(project, "dvc", "init", "--quiet")
    (project / ".dvc/config").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {url}\n")
    _run(project, "dvc", "add", "--quiet", "data")
    _run(project, "git", "add", "--all")
    _run(project, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=data")
    return files


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, env=os.environ | {"DVC_NO_ANALYTICS": "1"}, check=True, capture_output=True)


@contextmanager
def _served(folder: Path, fault: Fault) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"folder": folder, "fault": fault})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/store"
        server.shutdown()
        thread.join()
