"""Somebody with a clone of the project and a Prefect server, who calls the flow from a shell.

Tests that use the fixtures say `pytest_plugins = ["tests.flows.people"]`; as they import it as well, PYTEST_DONT_REWRITE.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.projects import Project, make_project
from tests.flows.servers import PrefectServer
from tests.made_once import made_once

NOISE = ("md5: ", "cache files", "git add dvc.lock", "No file hash info", "autostage", "Updating lock file", "dvc push")
"""What DVC tells people at a terminal."""
COPY = "a copy"
"""Paths with a blank in them are as good as others."""


@dataclass(frozen=True)
class Person:
    """Somebody with a clone of the project and a server."""

    project: Project
    server: PrefectServer

    def retrain(self, *arguments: str, expected: int = 0, environment: Mapping[str, str] | None = None) -> str:
        """Return what the command prints; its state folder is beside the clone."""
        state = {"RNNFLOW_STATE": str(self.project.folder.with_name("state"))}
        command = (sys.executable, "-m", "flows", *arguments)
        return self.server.run(
            *command, folder=self.project.folder, expected=expected, environment=state | dict(environment or {})
        )

    @property
    def clones(self) -> list[Path]:
        return list((self.project.folder.with_name("state") / "runs").glob("*"))


@pytest.fixture(scope="package")
def trained(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A project with one model in which the flow has run in place and pushed; read it, do not change it."""

    def make(folder: Path) -> None:
        person = Person(make_project(folder, models=("rnn",)), server)
        printed = person.retrain("--push")
        assert "5 stages: 5 ran" in printed
        assert not [line for line in printed.splitlines() if any(noise in line for noise in NOISE)]
        person.project.git("add", "dvc.lock")
        person.project.push(message="trained")

    return copied(made_once(tmp_path_factory, "trained", make), tmp_path_factory.mktemp("trained") / COPY, server)


@pytest.fixture
def person(trained: Person, tmp_path: Path) -> Person:
    """A copy of the trained project, origin, remote and cache, to be changed."""
    return copied(trained.project.folder.parent, tmp_path / COPY, trained.server)


def copied(source: Path, folder: Path, server: PrefectServer) -> Person:
    shutil.copytree(source, folder, symlinks=True)
    project = Project(folder / "rnnflow")
    project.git("remote", "set-url", "origin", str(project.origin))
    project.run("dvc", "remote", "modify", "store", "url", str(project.store))
    project.git("commit", "--quiet", "--all", "--message=own remote")
    project.git("push", "--quiet", "origin", "main")
    return Person(project, server)
