import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from rnnflow.classifier import cells
from rnnflow.params.models import Cell, ModelParams
from rnnflow.runtime import provenance
from rnnflow.serving.predictor import Predictor
from stages import export
from tests import toys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds all that stage export reads."""
    toys.write_params(tmp_path, export={"batch_sizes": [1, 3], "lengths": [1, 5]})
    toys.save_checkpoint(
        tmp_path / "checkpoint.safetensors", toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    )
    (tmp_path / "metrics.json").write_text(json.dumps(toys.METRICS))
    return tmp_path


def refusal(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that the stage ends with; it must leave everything as it is."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SystemExit) as exit_:
        export.main(toys.export_arguments(folder))
    assert exit_.value.code == 2
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("cell", toys.CELLS)
def test_the_file_alone_says_where_it_came_from(folder: Path, cell: Cell) -> None:
    model = toys.random_classifier(ModelParams(cell=cell, hidden_size=4, pooling="max"))
    description = toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    export.main(toys.export_arguments(folder))
    metadata = Predictor(folder / "model.onnx").metadata
    assert metadata["model"] == description.model.model_dump()
    assert metadata["features"] == ["x", "y"]
    assert metadata["classes"] == ["down", "level", "up"]
    assert metadata["metrics"] == toys.METRICS
    assert metadata["num_parameters"] == model.num_parameters
    assert metadata["md5"] == {
        **description.md5,
        "weights": provenance.file_md5(folder / "checkpoint.safetensors"),
    }


def test_the_version_of_the_file_is_that_of_its_weights(folder: Path) -> None:
    versions = set()
    for seed in range(2):
        model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4), seed=seed)
        toys.save_checkpoint(folder / "checkpoint.safetensors", model)
        export.main(toys.export_arguments(folder))
        version = onnx.load(folder / "model.onnx").model_version
        assert f"{version:015x}" == provenance.file_md5(folder / "checkpoint.safetensors")[:15]
        versions.add(version)
    assert len(versions) == 2


def test_it_writes_the_same_bytes_again(folder: Path) -> None:
    export.main(toys.export_arguments(folder))
    first = (folder / "model.onnx").read_bytes(), (folder / "export.json").read_bytes()
    export.main(toys.export_arguments(folder))
    assert ((folder / "model.onnx").read_bytes(), (folder / "export.json").read_bytes()) == first


def test_the_report_holds_the_size_of_the_file(folder: Path) -> None:
    export.main(toys.export_arguments(folder))
    report = json.loads((folder / "export.json").read_text())
    assert report["onnx_bytes"] == (folder / "model.onnx").stat().st_size


@pytest.mark.parametrize("is_first", [True, False])
def test_a_graph_with_a_wrong_weight_is_not_exported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_first: bool
) -> None:
    if not is_first:
        export.main(toys.export_arguments(folder))
    monkeypatch.setattr(cells.load("gru"), "onnx_gates", ("reset", "update", "candidate"))  # not ONNX's order
    assert "probabilities differ from PyTorch's by 0." in refusal(folder, capsys)


def test_weights_that_are_not_numbers_are_not_exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    torch.nn.init.constant_(model.head.bias, np.nan)
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    assert "probabilities differ from PyTorch's by inf" in refusal(folder, capsys)


def test_a_tolerance_below_the_rounding_of_float32_refuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toys.write_params(folder, export={"tolerance": 1e-12})
    assert "more than export.tolerance 1e-12; nothing was exported" in refusal(folder, capsys)


@pytest.mark.parametrize("content", [None, "", "[1, 2"])
def test_metrics_that_cannot_be_read_end_it(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = folder / "metrics.json"
    path.unlink() if content is None else path.write_text(content)
    assert refusal(folder, capsys).startswith(f"error: {path}: expected the metrics that stage evaluate wrote")
