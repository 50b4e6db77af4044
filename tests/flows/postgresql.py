"""A real PostgreSQL, as a Prefect server in production has one."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import pytest

from tests.flows.services import START_SECONDS, Background, Service, clean_environment, free_port


class PostgreSQL(Service):
    """A PostgreSQL server in a temporary folder. Debian's binaries are found wherever the version puts them."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        super().__init__(self._folder.with_name(f"{self._folder.name}.log"))
        self.port = free_port()
        self.url = f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/postgres"
        self._bin = _binaries()
        self._user = _unprivileged_user()
        self._environment = clean_environment() | {"HOME": str(self._folder), "LC_ALL": "C"}
        self._data = self._folder / "data"

    def __str__(self) -> str:
        return "PostgreSQL"

    def __enter__(self) -> Self:
        if self._user:
            shutil.chown(self._folder, self._user)
        options = ["--no-sync", "--auth=trust", "--username=prefect", "--encoding=UTF8", "--no-locale"]
        with self._background("initdb", *options, str(self._data)) as initdb:
            assert initdb.process.wait(START_SECONDS) == 0, initdb.output
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGINT)  # its "fast" shutdown, which does not wait for clients
        self.log.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _background(self, program: str, *arguments: str) -> Background:
        return Background([str(self._bin / program), *arguments], self.log, self._environment, self._folder, self._user)

    def _launched(self) -> Background:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder), "-c", "fsync=off"]
        return self._background("postgres", "-D", str(self._data), *options)

    def _is_ready(self, output: str) -> bool:
        ready = [str(self._bin / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        return subprocess.run(ready, check=False).returncode == 0


def _binaries() -> Path:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(candidates[-1]) if candidates else shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed: no initdb on the path or in /usr/lib/postgresql/*/bin")
    return Path(initdb).parent


def _unprivileged_user() -> str:
    """PostgreSQL refuses to run as root; any other user is fine as it is."""
    return "nobody" if os.geteuid() == 0 else ""
