import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from rnnflow.params.models import ModelParams
from rnnflow.serving import describe
from rnnflow.serving.predictor import Predictor
from tests import toys


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.exported(tmp_path_factory.mktemp("gru"), toys.random_classifier(ModelParams(cell="gru", hidden_size=4)))


def text(table: Table) -> str:
    console = Console(file=StringIO(), width=200, markup=False)
    console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def git(folder: Path, *arguments: str) -> None:
    person = ("-c", "user.name=Toy", "-c", "user.email=toy@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, subject: str, lock: str) -> None:
    (folder / "dvc.lock").write_text(lock)
    git(folder, "add", "dvc.lock")
    git(folder, "commit", "-m", subject)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git(tmp_path, "init", "--initial-branch=main")
    commit(tmp_path, "First data", "md5: 000\n")
    return tmp_path


def test_the_revision_is_the_first_whose_lock_names_the_md5(repository: Path) -> None:
    commit(repository, "Train it", "md5: abc\n")
    commit(repository, "Train another", "md5: abc\nmd5: def\n")
    commit(repository, "Train it no more", "md5: def\n")
    found = describe.find_revision("abc", repository)
    assert found is not None
    short, _, subject = found.split(" ", 2)
    assert subject == "Train it"
    git(repository, "diff", "--exit-code", short, "HEAD~2")


def test_the_revision_is_found_on_a_branch_and_from_a_folder_below(repository: Path) -> None:
    git(repository, "checkout", "-b", "auto/run")
    commit(repository, "Retrain", "md5: abc\n")
    git(repository, "checkout", "main")
    (repository / "models").mkdir()
    assert str(describe.find_revision("abc", repository / "models")).endswith("Retrain")


def test_there_is_no_revision_without_the_md5_or_outside_a_repository(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert describe.find_revision("abc", repository) is None
    assert describe.find_revision("000", tmp_path_factory.mktemp("no_repository")) is None


def test_describe_says_what_a_model_is_and_which_revision_made_it(path: Path, repository: Path) -> None:
    weights = Predictor(path).metadata["md5"]["weights"]
    path = Path(shutil.copy(path, repository / "model.onnx"))
    assert "in no dvc.lock" in text(describe.description(path))
    commit(repository, "Train it", f"md5: {weights}\n")
    described = text(describe.description(path))
    for part in ("cell gru", "hidden_size 4", "x, y", "down, level, up", "1 to 9 steps, median 5", "accuracy 0.75"):
        assert part in described
    for md5 in Predictor(path).metadata["md5"].values():
        assert md5 in described
    assert "Train it" in described


def test_a_comparison_has_a_line_for_each_model_in_the_order_given(path: Path, tmp_path: Path) -> None:
    other = toys.exported(tmp_path / "rnn", toys.random_classifier(ModelParams(cell="rnn", hidden_size=9)))
    lines = [line for line in text(describe.comparison([other, path])).splitlines() if "toy" in line]
    assert [
        str(Predictor(file).metadata["num_parameters"]) in line for file, line in zip([other, path], lines, strict=True)
    ]
    for line in lines:
        assert "0.7500 │ 0.7000 – 0.8000 │   0.5000 │   0.2500" in line


def test_latency_is_measured(path: Path) -> None:
    assert describe.latency_microseconds(Predictor(path)) > 0
