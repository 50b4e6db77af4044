import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from rnnflow.params.models import ModelParams
from rnnflow.serving import describe
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.quantisation import Limits, quantise
from tests import toys
from tests.serving.conftest import commit


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.exported(tmp_path_factory.mktemp("gru"), toys.random_classifier(ModelParams(cell="gru", hidden_size=4)))


def text(table: Table) -> str:
    console = Console(file=StringIO(), width=200, markup=False)
    console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


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


def test_a_calibration_is_told_in_words(tmp_path: Path) -> None:
    rule = {"threshold": 0.9, "steps": [1, 4], "temperatures": [3.25, 2.5]}
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    path = toys.exported(tmp_path, model, calibration={"temperature": 1.5, "threshold": None, "early": rule})
    described = text(describe.description(path))
    assert "temperature 1.5 " in described
    assert "a live stream is decided at a probability of 0.9, looked at after 1, 4 steps" in described
    assert "threshold" not in described
    assert "3.25" not in described


def test_a_calibration_of_before_early_rules_is_told(tmp_path: Path) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    path = toys.exported(tmp_path, model, calibration={"temperature": 1.5, "threshold": None})
    assert "temperature 1.5 " in text(describe.description(path))


def test_the_cost_of_8_bits_is_told(tmp_path: Path) -> None:
    path = toys.exported(tmp_path, toys.random_classifier(ModelParams(cell="lstm", hidden_size=4)))
    toys.write_sequences(tmp_path / "validation/part-00000.parquet", toys.random_sequences([5, 9]), ["up", "down"])
    cost = quantise(path, tmp_path / "int8.onnx", tmp_path / "validation", Limits(1.0, 1.0))
    described = text(describe.description(tmp_path / "int8.onnx"))
    assert f"largest shift of a probability {cost.largest_shift:.4f}, on the validation split" in described
    assert "8 bits" not in text(describe.description(path))


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
