"""A project whose flows do next to nothing, with this project's own deployments: what is tried is how they get to run."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rnnflow.runtime.provenance import ROOT
from tests.flows.servers import PROJECT, PrefectServer

BRANCH = "main"
AT_WORK = "at work"
"""What a run prints once it is in touch with the server."""

RETRAIN = '''\
import json
import os
import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

import flows
from flows.server.heartbeat import alive
from flows.server.waiting_runs import settle_others


@flow(name="retrain", flow_run_name="retrain {revision} {why}")
def retrain(
    revision: str = "HEAD",
    overrides: dict[str, Any] | None = None,
    isolated: bool = False,
    coordinated: bool = False,
    update: bool = False,
    pull: bool = False,
    push: bool = False,
    publish: str | None = None,
    repository: str = ".",
    folder: str = ".",
    why: str = "by hand",
) -> State[None]:
    """Say where it runs and what it finds there; `sleep` in the overrides keeps it at work for so many seconds."""
    with alive():
        settle_others()
        print("at work", flush=True)
        time.sleep((overrides or {}).get("sleep", 0))
    found = {
        "folder": os.getcwd(),
        "modules": str(Path(flows.__path__[0]).parent),
        "heartbeats": os.environ.get("PREFECT_FLOWS_HEARTBEAT_FREQUENCY"),
        "device": os.environ.get("RNNFLOW_DEVICE"),
        "repository": repository,
        "revision": revision,
    }
    return Completed(message=json.dumps(found))
'''
STAGE = """\
from prefect import flow


@flow(name="stage")
def run_one_stage(stage: str, commit: str = "", ref: str = "", repository: str = "origin", folder: str = ".") -> str:
    return stage
"""


@dataclass(frozen=True)
class StandIn:
    """A Git repository with `prefect.yaml`, and flows for its entrypoints."""

    folder: Path

    def read(self) -> Any:
        return YAML(typ="safe").load(self.folder / "prefect.yaml")

    def write(self, manifest: Any) -> None:
        YAML().dump(manifest, self.folder / "prefect.yaml")

    @contextmanager
    def changed_manifest(self) -> Iterator[Any]:
        """Yield what `prefect.yaml` says, to be changed and written; afterwards the file is as it was."""
        original = (self.folder / "prefect.yaml").read_bytes()
        try:
            yield self.read()
        finally:
            (self.folder / "prefect.yaml").write_bytes(original)

    def deploy(self, server: PrefectServer, *options: str) -> str:
        """Return what `python -m flows.deploy` prints."""
        return server.run(sys.executable, "-m", "flows.deploy", *options, folder=self.folder)

    def deploy_own(self, server: PrefectServer) -> str:
        """Deploy it as what the server's runs clone, whatever was deployed before; no earlier run is left."""
        server.forget_runs()
        return self.deploy(server, "--repository", str(self.folder), "--branch", BRANCH, "--move")


def make_stand_in(folder: Path, project: str = PROJECT, start_seconds: float = 300) -> StandIn:
    shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("prefect.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "flows/retrain.py").write_text(RETRAIN)
    (folder / "flows/stage.py").write_text(STAGE)
    settings = folder / "flows/settings.yaml"
    text = settings.read_text().replace("project: null", f"project: {project}")
    settings.write_text(text.replace("start_seconds: 300", f"start_seconds: {start_seconds}"))
    _git(folder, "init", "--quiet", f"--initial-branch={BRANCH}")
    _git(folder, "add", "--all")
    _git(folder, "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message=stand-in")
    return StandIn(folder)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)
