"""Several products from one repository: folders with a `dvc.yaml` of their own, which share the code above them."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from rnnflow.runtime.provenance import ROOT
from tests.flows.projects import Project
from tests.flows.servers import PrefectServer

STAGE = """\
import pathlib
numbers = sorted(pathlib.Path("data/raw").glob("*.txt"))
pathlib.Path("model.txt").write_text(f"{len(numbers)} files of {pathlib.Path.cwd().name}")
"""
PRODUCT = json.dumps(
    {"stages": {"train": {"cmd": "python -m count", "deps": ["../../count.py", "data/raw"], "outs": ["model.txt"]}}}
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with the flow's code and a stage's at its top, and two products below it."""
    project = Project(tmp_path_factory.mktemp("products") / "shop")
    shutil.copytree(ROOT / "flows", project.folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (project.folder / "count.py").write_text(STAGE)
    project.git("init", "--quiet", "--initial-branch=main")
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@example.com")
    for name, files in {"left": ["1"], "right": ["1", "2"]}.items():
        folder = project.folder / "products" / name
        (folder / "data/raw").mkdir(parents=True)
        for file in files:
            (folder / f"data/raw/{file}.txt").write_text(file)
        (folder / "dvc.yaml").write_text(PRODUCT)
        dvc = (sys.executable, "-m", "dvc", "--cd", str(folder))
        project.run(*dvc, "init", "--quiet", "--subdir")
        project.run(*dvc, "remote", "add", "--default", "store", str(project.store))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message=products")
    project.git("clone", "--quiet", "--bare", ".", str(project.origin))
    project.git("remote", "add", "origin", str(project.origin))
    return project


@pytest.mark.slow
def test_each_product_is_brought_up_to_date_and_published_by_itself(
    project: Project, server: PrefectServer, tmp_path: Path
) -> None:
    state = {"RNNFLOW_STATE": str(tmp_path / "state")}
    for name in ("left", "right"):
        command = (sys.executable, "-m", "flows", "--isolated", "--revision", "main", "--folder", f"products/{name}")
        printed = server.run(*command, "--publish", "--repository", "origin", folder=project.folder, environment=state)
        assert f"published as auto/products/{name}/main" in printed
    published = project.branches()
    assert sorted(published) == ["auto/products/left/main", "auto/products/right/main"]
    for name, files in {"left": 1, "right": 2}.items():
        project.git("fetch", "--quiet", "origin", f"auto/products/{name}/main")
        changed = project.git("diff", "--name-only", "main", "FETCH_HEAD").split()
        assert changed == [f"products/{name}/.gitignore", f"products/{name}/dvc.lock"] or changed == [
            f"products/{name}/dvc.lock"
        ]
        project.git("checkout", "--quiet", "FETCH_HEAD")
        product = project.folder / "products" / name
        project.run(sys.executable, "-m", "dvc", "--cd", str(product), "pull", "--quiet")
        assert (product / "model.txt").read_text() == f"{files} files of {name}"


def test_a_part_of_a_larger_repository_that_is_no_dvc_repository_is_told_how_to_become_one(
    project: Project, server: PrefectServer
) -> None:
    folder = project.folder / "products/new"
    folder.mkdir(parents=True)
    (folder / "dvc.yaml").write_text(PRODUCT)
    printed = server.run(sys.executable, "-m", "flows", "--folder", str(folder), folder=project.folder, expected=2)
    assert printed == (
        f"error: {folder}: not a DVC repository, and a part of {project.folder}; `dvc init --subdir` here, and commit\n"
    )
