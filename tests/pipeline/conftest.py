"""Real clones of this project, with its own pipeline on less data."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests import work_tree

SMALL: dict[str, dict[str, Any]] = {
    "generate": {"num_sequences": {"train": 200, "validation": 100, "test": 300}},
    "train": {"epochs": 3},
}
MODELS = ("lstm", "gru")
"""Of the entries of `models:`; each costs its stages."""


@dataclass(frozen=True)
class Clone:
    """A Git clone in which commands are run as a person would run them."""

    folder: Path

    def run(self, *command: str, expected: int = 0) -> str:
        """Return what a command prints, standard error after standard output."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RNNFLOW_STATE": str(self.folder / ".rnnflow"),
            "DVC_NO_ANALYTICS": "1",
            "COLUMNS": "200",
        }
        # `python -m stages.…` finds the clone's own modules first: they lie in the working directory.
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == expected, f"{command} returned {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def change_params(self, section: str, **values: Any) -> None:
        with self.changed_params() as params:
            params[section].update(values)

    @contextmanager
    def changed_params(self) -> Iterator[Any]:
        """Yield what `params.yaml` holds, and write it as the block leaves it."""
        yaml = YAML()
        content = yaml.load(self.folder / "params.yaml")
        yield content
        yaml.dump(content, self.folder / "params.yaml")

    def copy(self, folder: Path) -> "Clone":
        """Copy it with its cache and outputs."""
        return Clone(Path(shutil.copytree(self.folder, folder, symlinks=True)))

    def clone(self, folder: Path) -> "Clone":
        self.run("git", "clone", "--quiet", ".", str(folder))
        return Clone(folder)


def small_project(folder: Path, models: Sequence[str]) -> Clone:
    """Return the project as it stands in the work tree, committed, without what DVC keeps, with less data and fewer models."""
    work_tree.copy_to(folder)
    origin = Clone(folder)
    for section, values in SMALL.items():
        origin.change_params(section, **values)
    with origin.changed_params() as params:
        params["models"] = {name: params["models"][name] for name in models}
    origin.run("git", "init", "--quiet", "--initial-branch=main")
    origin.run("git", "config", "user.name", "test")
    origin.run("git", "config", "user.email", "test@example.com")
    origin.run("git", "add", "--all")
    origin.run("git", "commit", "--quiet", "--message=project")
    return origin


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return small_project(tmp_path_factory.mktemp("origin"), MODELS)


@pytest.fixture(scope="session")
def fresh_clone(origin: Clone, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Clone]:
    def make() -> Clone:
        clone = origin.clone(tmp_path_factory.mktemp("clone") / "rnnflow")
        clone.run("git", "config", "user.name", "test")
        clone.run("git", "config", "user.email", "test@example.com")
        return clone

    return make


@pytest.fixture(scope="session")
def finished(fresh_clone: Callable[[], Clone]) -> Clone:
    """A clone in which the pipeline has run and its lock is committed; read it, or clone it, do not change it.

    What was printed lies beside it, with the imports of every process.
    """
    clone = fresh_clone()
    clone.folder.with_name("printed.txt").write_text(clone.run("env", "PYTHONPROFILEIMPORTTIME=1", "dvc", "repro"))
    clone.run("git", "add", "dvc.lock")
    clone.run("git", "commit", "--quiet", "--message=run")
    return clone


@pytest.fixture
def copy_of_finished(finished: Clone, tmp_path: Path) -> Clone:
    """The finished clone with its cache and outputs, to be changed."""
    return finished.copy(tmp_path / "rnnflow")
