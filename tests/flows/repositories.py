"""A real Git and DVC repository whose stages cost nothing: the fixture `repository` is a copy that may be changed.

Tests that use it say `pytest_plugins = ["tests.flows.repositories"]`; as they import it as well, PYTEST_DONT_REWRITE.
"""

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows.repository.workspace import Workspace
from flows.supervision.dvc import Dvc
from tests.made_once import made_once

DVC_YAML = """\
stages:
  compare:                # runs last: the order of the file is not that of the run
    cmd: sh stages/compare.sh
    deps:
      - stages/compare.sh
      - models/a.txt
      - models/b.txt
    outs:
      - reports/comparison.txt

  collect:
    cmd: sh stages/collect.sh
    deps:
      - stages/collect.sh
      - data/raw
    outs:
      - data/numbers.txt

  train:
    foreach: ${models}
    do:
      cmd: sh stages/train.sh ${key} ${item.size}
      params:
        - train
        - models.${key}
      deps:
        - stages/train.sh
        - data/numbers.txt
      outs:
        - models/${key}.txt
      metrics:
        - reports/${key}/metrics.json
"""
PARAMS_YAML = """\
# What the stages do.

train:                    # one recipe for all models
  learning_rate: 0.005    # the peak
  epochs: 3

models:                   # each is trained
  b:
    size: 2               # of the model
    stem: null            # none
  a:
    size: 1
    stem: null

# Of the report alone.
report:
  lengths: [1, 2]
  title: "numbers: all"
"""
STAGES = {
    "collect": "cat data/raw/*.txt data/raw/*/*.txt 2>/dev/null | sort > data/numbers.txt\n",
    "train": "mkdir -p models reports/$1\n"
    'echo "training $1"\n'
    'echo "$1 of size $2 saw $(wc -l < data/numbers.txt) numbers" > models/$1.txt\n'
    'echo "{\\"accuracy\\": 0.$2, \\"size\\": $2, \\"name\\": \\"$1\\"}" > reports/$1/metrics.json\n',
    "compare": "cat models/a.txt models/b.txt > reports/comparison.txt\n",
}
"""By stage, the script it runs: change one to see a stage become stale, fail or take its time."""


@dataclass(frozen=True)
class Repository:
    """A Git work tree with a DVC repository in it, in which commands are run as a person would run them."""

    folder: Path

    def run(self, *command: str, expected: int = 0) -> str:
        """Return what a command prints, standard error after standard output."""
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == expected, f"{command} returned {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).strip()

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def replace(self, path: str, old: str, new: str) -> None:
        """Change a part of a file, which must be there."""
        text = self.read(path)
        assert old in text, f"{old!r} is not in {path}"
        self.write(path, text.replace(old, new))

    def commit(self, message: str = "change") -> str:
        """Commit all there is and return the hash."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    @property
    def origin(self) -> Path:
        """The bare Git repository of the remote `origin`."""
        return self.folder.with_name("origin.git")

    @property
    def store(self) -> Path:
        """The folder of DVC's default remote `store`."""
        return self.folder.with_name("store")


def is_finished(repository: Repository) -> bool:
    """Return whether DVC has nothing to run."""
    return "up to date" in repository.dvc("status")


@pytest.fixture(scope="session")
def repository_template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository as `dvc repro` left it, its lock committed, without remotes; read it, do not change it."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            set_environment(patch, tmp_path_factory.mktemp("dvc"))
            repository = Repository(folder)
            repository.git("init", "--quiet", "--initial-branch=main")
            repository.git("config", "user.name", "test")
            repository.git("config", "user.email", "test@example.com")
            repository.dvc("init", "--quiet")
            repository.write("dvc.yaml", DVC_YAML)
            repository.write("params.yaml", PARAMS_YAML)
            for name, script in STAGES.items():
                repository.write(f"stages/{name}.sh", f"set -e\n{script}")
            repository.write("data/raw/README.md", "Put text files here.\n")
            repository.write("data/raw/first.txt", "1\n2\n")
            repository.write(".gitignore", "/data/numbers.txt\n/models/\n/reports/\n")
            repository.dvc("add", "--quiet", "data/raw/first.txt")
            repository.commit("project")
            repository.dvc("repro", "--quiet")
            repository.commit("results")

    return Repository(made_once(tmp_path_factory, "repository", make))


@pytest.fixture
def repository(repository_template: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy in which every stage is up to date, with an `origin` that holds `main` and an empty DVC remote `store`."""
    # DVC 3.67 asks pygtrie 2.6 for something in the old way, in the process of whoever reads a repository.
    warnings.filterwarnings("ignore", "_NoneStep.value will soon", DeprecationWarning)
    set_environment(monkeypatch, tmp_path / "dvc")
    shutil.copytree(repository_template.folder, tmp_path / "repository", symlinks=True)
    repository = Repository(tmp_path / "repository")
    repository.write(".dvc/config", f"[core]\n    remote = store\n['remote \"store\"']\n    url = {repository.store}\n")
    repository.commit("remote")
    repository.git("clone", "--quiet", "--bare", ".", str(repository.origin))
    repository.git("remote", "add", "origin", str(repository.origin))
    repository.git("fetch", "--quiet", "origin")
    return repository


@pytest.fixture
def dvc(repository: Repository) -> Iterator[Dvc]:
    """DVC in the fixture `repository`."""
    with Dvc(repository.folder) as dvc:
        yield dvc


@pytest.fixture
def workspace(repository: Repository, dvc: Dvc) -> Workspace:
    """The fixture `repository` as a run works in it."""
    return Workspace(
        repository.folder,
        repository.git("rev-parse", "HEAD"),
        str(repository.origin),
        dvc,
        repository.folder / ".rnnflow",
        "rnnflow",
    )


def later(repository: Repository, workspace: Workspace) -> Workspace:
    """The workspace of a run that starts from what is committed now."""
    return replace(workspace, base=repository.git("rev-parse", "HEAD"))


def state_of(repository: Repository) -> tuple[str, ...]:
    """Return all that a person sees of the index, the branches and the files."""
    commands = ("status --porcelain=v2 --branch", "diff", "diff --cached", "branch --all -v", "reflog", "stash list")
    return tuple(repository.git("--no-optional-locks", *command.split()) for command in commands)


def set_environment(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let no settings of the person who runs the tests in, and leave nothing behind in the machine's own folders."""
    patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    patch.setenv("DVC_NO_ANALYTICS", "1")
    patch.setenv("DVC_GLOBAL_CONFIG_DIR", str(folder / "global"))
    patch.setenv("DVC_SYSTEM_CONFIG_DIR", str(folder / "system"))
    patch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site-cache"))
    patch.setenv("RNNFLOW_STATE", str(folder / "state"))
