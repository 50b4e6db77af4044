"""Real clones with models to promote, at three points of their history: `compared`, `promoted`, `replaced`.

The fixture `project` is a copy at the first point, or at the one that a test names with `at`. Tests that use it say
`pytest_plugins = ["tests.flows.promotions"]`; as they import it as well, PYTEST_DONT_REWRITE.
"""

import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import onnx
import pytest

from flows import promote
from rnnflow.export import graph
from rnnflow.params.models import ModelParams
from rnnflow.runtime.provenance import ROOT, folder_md5
from rnnflow.serving.predictor import Predictor
from tests import toys
from tests.flows import repositories
from tests.flows.repositories import Repository
from tests.made_once import made_once

DVC_YAML = """\
stages:
  export:
    foreach: ${models}
    do:
      cmd: mkdir -p models/${key} && cp source/${key}.onnx models/${key}/model.onnx
      deps: ["source/${key}.onnx"]
      outs: ["models/${key}/model.onnx"]
  compare:
    cmd: >-
      python -m stages.compare --params params.yaml --models models
      --train data/sequences/train --validation data/sequences/validation
      --test data/sequences/test --output reports/comparison
    params: [compare, models]
    deps: [models, data/sequences]
    outs: [reports/comparison/verdict.json, reports/comparison/verdict.md]
artifacts:
  classifier: {path: models/production/model.onnx, type: model}
"""
SEQUENCES = toys.random_sequences([3, 1, 7, 5, 2, 9] * 60)
MODEL = "models/production/model.onnx"


def at(point: str) -> pytest.MarkDecorator:
    """Let a test begin at a point of the history."""
    return pytest.mark.parametrize("project", [point], indirect=True)


@pytest.fixture(scope="session")
def compared_template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Model `poor` has been compared with nothing, and all is committed and pushed; `good` is there to be named."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            prepare_environment(patch, tmp_path_factory.mktemp("dvc"))
            repository = Repository(folder / "project")
            (repository.folder / "source").mkdir(parents=True)
            for seed, name in ((1, "good"), (2, "poor")):
                classifier = toys.random_classifier(ModelParams(cell="gru", hidden_size=8), seed=seed)
                made = toys.exported(tmp_path_factory.mktemp(name), classifier)
                shutil.copy2(made, repository.folder / f"source/{name}.onnx")
            good = Predictor(repository.folder / "source/good.onnx").predict(SEQUENCES)
            labels = ["down" if index % 20 == 0 else label for index, label in enumerate(good)]
            for split, size in (("train", 30), ("validation", 300), ("test", 360)):
                path = repository.folder / f"data/sequences/{split}/part-00000.parquet"
                toys.write_sequences(path, SEQUENCES[:size], labels[:size])
            for name in ("good", "poor"):
                say_trained_on(repository.folder / f"source/{name}.onnx", repository.folder / "data/sequences/train")
            repository.git("init", "--quiet", "--initial-branch=main")
            repository.git("config", "user.name", "test")
            repository.git("config", "user.email", "test@example.com")
            repository.dvc("init", "--quiet")
            repository.write("dvc.yaml", DVC_YAML)
            shipped = (ROOT / ".gitignore").read_text().splitlines(keepends=True)
            repository.write(
                ".gitignore", "".join(line for line in shipped if "/models/" in line or "/reports/" in line)
            )
            repository.write("models/production/README.md", "Here comes the model in production.\n")
            set_models(repository, "poor")
            repository.commit("project")
            reproduce(repository)
            repository.git("clone", "--quiet", "--bare", ".", str(repository.origin))
            repository.git("remote", "add", "origin", str(repository.origin))
            repository.git("fetch", "--quiet", "origin")

    return Repository(made_once(tmp_path_factory, "compared", make) / "project")


@pytest.fixture(scope="session")
def promoted_template(compared_template: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Model `poor` is in production."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            copied(compared_template, folder, patch)
            promote.main([])

    return Repository(made_once(tmp_path_factory, "promoted", make) / "project")


@pytest.fixture(scope="session")
def replaced_template(promoted_template: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Model `good`, which is better, has replaced it."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            project = copied(promoted_template, folder, patch)
            set_models(project, "poor", "good")
            reproduce(project)
            promote.main([])

    return Repository(made_once(tmp_path_factory, "replaced", make) / "project")


def copied(template: Repository, folder: Path, patch: pytest.MonkeyPatch) -> Repository:
    """Copy a project with its remotes, and work in the copy."""
    # DVC 3.67 asks pygtrie 2.6 for something in the old way, in the process of whoever reads a repository.
    warnings.filterwarnings("ignore", "_NoneStep.value will soon", DeprecationWarning)
    shutil.copytree(template.folder.parent, folder, symlinks=True, dirs_exist_ok=True)
    project = Repository(folder / template.folder.name)
    prepare_environment(patch, folder / "dvc")
    patch.chdir(project.folder)
    project.write(".dvc/config", f"[core]\n    remote = store\n['remote \"store\"']\n    url = {project.store}\n")
    project.commit("remote")
    project.git("remote", "set-url", "origin", str(project.origin))
    project.git("push", "--quiet", "origin", "main")
    return project


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy with an `origin` and DVC's remote `store`, in which the test works."""
    point = getattr(request, "param", "compared")
    return copied(request.getfixturevalue(f"{point}_template"), tmp_path, monkeypatch)


def say_trained_on(model: Path, folder: Path) -> None:
    """Let the metadata of an ONNX file name the train split."""
    proto = onnx.load(model)
    (entry,) = [entry for entry in proto.metadata_props if entry.key == "md5"]
    entry.value = json.dumps(json.loads(entry.value) | {"train": folder_md5(folder)})
    model.write_bytes(graph.serialise(proto))  # with a new checksum


def prepare_environment(patch: pytest.MonkeyPatch, folder: Path) -> None:
    repositories.set_environment(patch, folder)
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def set_models(project: Repository, *names: str) -> None:
    compared = {"min_class_sequences": 500, "minimum_accuracy": 0.5}
    toys.write_params(project.folder, models={name: {"cell": "gru"} for name in names}, compare=compared)


def reproduce(project: Repository) -> None:
    project.dvc("repro", "--quiet")
    project.commit("results")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line with which it ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        promote.main(arguments)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


def hook(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
