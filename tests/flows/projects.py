"""This project as a team would run it: a bare Git repository, a DVC remote, and its deployments on a real server."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId, LogFilterLevel
from prefect.client.schemas.objects import TaskRun
from prefect.client.schemas.sorting import TaskRunSort
from ruamel.yaml import YAML

from tests import work_tree
from tests.flows.servers import PROJECT, PrefectServer
from tests.flows.services import clean_environment

MODELS = ("rnn", "lstm", "gru")
LITTLE_DATA = {"train": 200, "validation": 100, "test": 100}
BRANCH = "main"
_PAGE = 200


@dataclass(frozen=True)
class Project:
    """A clone of the project on `main`, in which a person changes params and settings and pushes them.

    Attributes:
        folder: the clone; its `origin` is the bare repository that runs start from and publish to.
    """

    folder: Path

    @property
    def origin(self) -> Path:
        """The bare Git repository."""
        return self.folder.with_name("origin.git")

    @property
    def store(self) -> Path:
        """The folder of DVC's default remote."""
        return self.folder.with_name("store")

    def run(self, *command: str, expected: int = 0) -> str:
        """Return what a command prints in the clone, standard error after standard output."""
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == expected, f"{command} returned {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).strip()

    def change(self, file: str, values: Mapping[str, Any]) -> None:
        """Change a YAML file's entries, which are there, by their dotted names: `{"train.epochs": 3}`."""
        yaml = YAML()
        content = yaml.load(self.folder / file)
        for name, value in values.items():
            *sections, key = name.split(".")
            section = content
            for part in sections:
                section = section[part]
            assert key in section, f"{name} is not in {file}"
            section[key] = value
        yaml.dump(content, self.folder / file)

    def push(
        self,
        params: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        message: str = "change",
    ) -> str:
        """Change `params.yaml` and `flows/settings.yaml`, let `main` of the origin have it, and return the commit."""
        self.change("params.yaml", params or {})
        self.change("flows/settings.yaml", settings or {})
        self.git("commit", "--quiet", "--all", "--allow-empty", f"--message={message}")
        self.git("push", "--quiet", "origin", BRANCH)
        return self.git("rev-parse", "HEAD")

    @contextmanager
    def changed(
        self, params: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> Iterator[str]:
        """Push a change, give its commit, and take it back afterwards."""
        commit = self.push(params, settings)
        yield commit
        self.git("revert", "--no-edit", commit)
        self.git("push", "--quiet", "origin", BRANCH)

    def branches(self, prefix: str = "auto/") -> dict[str, str]:
        """Return the origin's branches whose names begin with `prefix`, and the commit of each."""
        listed = self.git("ls-remote", "--heads", "origin", f"refs/heads/{prefix}*")
        pairs = [line.split() for line in listed.splitlines()]
        return {name.removeprefix("refs/heads/"): commit for commit, name in pairs}

    def published_commit(self, run: UUID) -> str:
        """Return the commit that a run has published, or an empty string."""
        return self.git(f"--git-dir={self.origin}", "log", "--all", "-1", "--format=%H", f"--grep=Flow run {run}")

    def published(self, run: UUID, path: str = "dvc.lock") -> str:
        """Return a file of what a run has published."""
        return self.run("git", f"--git-dir={self.origin}", "show", f"{self.published_commit(run)}:{path}")

    def reproduced(self, revision: str, *stages: str, path: str = "dvc.lock") -> str:
        """Return a file as plain `dvc repro` of these stages makes it of a revision, in a new clone and undisturbed."""
        clone = Project(self.folder.with_name(f"reproduced-{revision}"))
        self.git("clone", "--quiet", "--branch", BRANCH, str(self.origin), str(clone.folder))
        clone.git("checkout", "--quiet", "--detach", revision)
        clone.run(sys.executable, "-m", "dvc", "repro", "--quiet", *stages)
        text = (clone.folder / path).read_text()
        shutil.rmtree(clone.folder)
        return text

    def _environment(self) -> dict[str, str]:
        state = str(self.folder.with_name("state"))
        return clean_environment() | {"RNNFLOW_STATE": state, "DVC_SITE_CACHE_DIR": f"{state}/site-cache"}


def make_project(
    folder: Path,
    models: Sequence[str] = MODELS,
    params: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Project:
    """Return the work tree as it stands as a project of its own in a new folder, with little data and no results.

    Args:
        folder: for the clone, the bare repository and the DVC remote.
        models: entries of `models:` that are kept.
        params: changes of `params.yaml`, by dotted names.
        settings: changes of `flows/settings.yaml`, by dotted names.
    """
    project = Project(folder / "rnnflow")
    work_tree.copy_to(project.folder)
    project.git("init", "--quiet", f"--initial-branch={BRANCH}")
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@example.com")
    yaml = YAML()
    content = yaml.load(project.folder / "params.yaml")
    for name in set(content["models"]) - set(models):
        del content["models"][name]
    content["generate"]["num_sequences"] = LITTLE_DATA
    yaml.dump(content, project.folder / "params.yaml")
    pipeline = yaml.load(project.folder / "dvc.yaml")
    del pipeline["stages"]["report"]  # one stage more, and seconds for each run of the flow
    yaml.dump(pipeline, project.folder / "dvc.yaml")
    project.run(sys.executable, "-m", "dvc", "remote", "add", "--default", "store", str(project.store))
    project.git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(project.origin))
    project.git("remote", "add", "origin", str(project.origin))
    project.git("add", "--all")
    project.push({"train.epochs": 3} | dict(params or {}), {"project": PROJECT} | dict(settings or {}), "project")
    return project


@dataclass(frozen=True)
class Deployed:
    """A project whose deployments are on a server; runs are started and watched through the API, as in the UI."""

    project: Project
    server: PrefectServer

    def start(self, deployment: str = "retrain/rnnflow-cpu", **parameters: Any) -> UUID:
        """Ask for a run, without waiting for a schedule, and return its id."""
        with self.server.client() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def task_runs(self, run: UUID) -> dict[str, TaskRun]:
        """Return the latest task run of each name."""
        with self.server.client() as client:
            chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
            found = client.read_task_runs(flow_run_filter=chosen, sort=TaskRunSort.EXPECTED_START_TIME_ASC, limit=_PAGE)
        return {task_run.name: task_run for task_run in found}

    def log(self, run: UUID, level: int = logging.NOTSET) -> list[str]:
        """Return the messages of a run's log from a level on, its tasks' included, in order."""
        messages: list[str] = []
        chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]), level=LogFilterLevel(ge_=level))
        with self.server.client() as client:
            while page := client.read_logs(chosen, limit=_PAGE, offset=len(messages)):
                messages += [entry.message for entry in page]
        return messages


def deploy(project: Project, server: PrefectServer) -> Deployed:
    """Bring a server in line with a project, as `make deploy` does; of several, the last one's code is what runs.

    No run of an earlier one is left.
    """
    server.forget_runs()
    command = [sys.executable, "-m", "flows.deploy", "--repository", str(project.origin), "--branch", BRANCH, "--move"]
    server.run(*command, folder=project.folder)
    return Deployed(project, server)


def processes(run: UUID) -> list[psutil.Process]:
    """Return every living process of a flow run on this machine, found by the variable that all of them inherit.

    The worker's own look for the flow's hooks, which it takes when the run has ended, is not one of them.
    """
    found = []
    for process in psutil.process_iter():
        try:
            is_its = process.environ().get("PREFECT__FLOW_RUN_ID") == str(run)
            if is_its and process.status() != psutil.STATUS_ZOMBIE and "hook" not in process.cmdline():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
