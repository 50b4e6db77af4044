"""Ten nights on real data that grows by deliveries, two of them poisoned: what gets into production, and what comes back."""

import json
import re
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from sklearn.datasets import load_digits

from flows.repository.production import PRODUCTION
from flows.retrain import retrain
from rnnflow.evaluation.comparison.challenge import MODEL
from tests.deliveries import deliver
from tests.flows.projects import MODELS, Project, make_project
from tests.flows.servers import PrefectServer

pytestmark = pytest.mark.endurance

FEATURES = [f"column {number}" for number in range(8)]
HELD_OUT = {"validation": 250, "test": 500}
FIRST, LATER = 120, 100
"""Sequences of the deliveries for training."""
NIGHTS = 10
FLIPPED, DEAD = 4, 7
"""Nights whose delivery is poisoned: all earlier ones once more, with shifted labels, or with three dead sensors."""
PARAMS = {
    "generate.source": "files",
    "generate.split.by": "given",
    "train.epochs": 30,
    "models.gru.hidden_size": 16,
    "compare.min_class_sequences": 500,
}


class Deliveries:
    """Handwritten digits, row by row, as they arrive night after night."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        self.images, self.labels = digits.images[order], digits.target[order]
        self.first = sum(HELD_OUT.values())
        splits = np.repeat(list(HELD_OUT), list(HELD_OUT.values()))
        self._write("held-out", np.arange(self.first), splits)

    def arrive(self, night: int) -> None:
        """Bring a night's delivery; what a poisoned one has brought is taken back the night after."""
        (self.folder / "poisoned.parquet").unlink(missing_ok=True)
        begins = self.first + (FIRST + (night - 2) * LATER if night > 1 else 0)
        self._write(f"night-{night:02}", np.arange(begins, begins + (LATER if night > 1 else FIRST)))
        again = np.arange(self.first, begins)
        if night == FLIPPED:
            self._write("poisoned", again, labels=(self.labels[again] + 1) % 10)
        elif night == DEAD:
            images = self.images[again].copy()
            images[:, :, :3] = 4095
            self._write("poisoned", again, images=images)

    def _write(
        self,
        name: str,
        rows: np.ndarray,
        splits: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        images: np.ndarray | None = None,
    ) -> None:
        content = {
            "id": [f"{name}-{row}" for row in rows],
            "sequence": [image.ravel().tolist() for image in (self.images[rows] if images is None else images)],
            "label": [str(label) for label in (self.labels[rows] if labels is None else labels)],
            "split": ["train"] * len(rows) if splits is None else splits.tolist(),
        }
        deliver(self.folder / f"{name}.parquet", content, FEATURES)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One model, whose raw data is imported from the folder `landing` beside it."""
    project = make_project(tmp_path_factory.mktemp("nights"), models=MODELS[2:], params=PARAMS)
    Deliveries(project.folder.with_name("landing"))
    project.run(sys.executable, "-m", "dvc", "import-url", str(project.folder.with_name("landing")), "data/raw/landing")
    project.git("add", "--all")
    project.push(message="import the deliveries")
    yield project
    shutil.rmtree(project.folder.parent)


def in_the_night(project: Project, server: PrefectServer, why: str) -> str:
    """Run the flow as a deployment with `publish: promote` does, and return its last line."""
    chosen = {"isolated": True, "update": True, "pull": True, "publish": "promote", "revision": "main"}
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        state = retrain(**chosen, repository=str(project.origin), why=why, return_state=True)
    assert state.is_completed(), state.message
    return str(state.message)


def children_time() -> float:
    """Return the CPU time of processes that have ended; without the server's, which goes on."""
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


def verdict(said: str) -> str:
    """Return what became of the night: promoted, held back, or nothing."""
    if found := re.search(r"gru is in production as (v\S+)", said):
        return f"promoted as {found[1]}"
    return "held back" if "held back" in said else "neither"


def test_production_never_gets_worse_and_poisoned_deliveries_do_not_reach_it(
    project: Project, server: PrefectServer, say: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings.filterwarnings("ignore", "_NoneStep.value will soon", DeprecationWarning)  # DVC with a new pygtrie
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("RNNFLOW_STATE", str(project.folder.with_name("state")))
    deliveries = Deliveries(project.folder.with_name("landing"))
    lowest, promoted = 0.0, dict[str, bytes]()
    for night in range(1, NIGHTS + 1):
        deliveries.arrive(night)
        began = time.process_time() + children_time()
        line = in_the_night(project, server, f"night {night}")
        became = verdict(line)
        say(f"night {night}: {time.process_time() + children_time() - began:.0f} s of CPU; {line}")
        project.git("pull", "--quiet", "--ff-only", "--tags", "origin", "main")
        if night in (FLIPPED, DEAD):
            assert became == "held back", line
        if became.startswith("promoted"):
            project.run("dvc", "pull", "--quiet", str(PRODUCTION / f"{MODEL}.dvc"))
            facts = json.loads((project.folder / PRODUCTION / "promotion.json").read_text())
            assert facts["accuracy"] >= lowest
            lowest = facts["accuracy_low"]
            promoted[became.removeprefix("promoted as ")] = (project.folder / PRODUCTION / MODEL).read_bytes()
    assert len(promoted) >= 2
    current, before_it = [*reversed(promoted)][:2]
    shown = project.run(sys.executable, "-m", "flows.promote", "show")
    say(shown)
    say(project.git("log", "--remotes", "--format=%h %s%n%w(0,4,4)%b"))
    assert all(version in shown for version in promoted)
    project.run(sys.executable, "-m", "flows.promote", "--rollback", "--why", "to see the bytes again")
    assert (project.folder / PRODUCTION / MODEL).read_bytes() == promoted[before_it]
    project.run(sys.executable, "-m", "flows.promote", "--rollback", current)
    assert (project.folder / PRODUCTION / MODEL).read_bytes() == promoted[current]
    project.git("fetch", "--quiet", "origin")  # what was held back since the last promotion waits on auto/main
    subjects = project.git(
        "log", "--format=%s", "main", *project.git("branch", "--remotes", "--list", "origin/auto/*").split()
    ).splitlines()
    assert [subject for subject in subjects if subject.startswith("Retrain")] == [
        f"Retrain: night {night}" for night in range(NIGHTS, 0, -1)
    ]
