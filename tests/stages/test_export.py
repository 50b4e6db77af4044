import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from rnnflow.classifier import cells
from rnnflow.classifier.cells import builtin
from rnnflow.evaluation.scores.calibration import Calibration
from rnnflow.params.models import Cell, Missing, ModelParams
from rnnflow.runtime import provenance
from rnnflow.runtime.atomic_writes import rounded
from rnnflow.runtime.errors import InputError
from rnnflow.serving.early_rule import EarlyRule
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.streaming_model import StreamingModel
from stages import export
from tests import toys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds all that stage export reads."""
    toys.write_params(tmp_path, export={"batch_sizes": [1, 3], "lengths": [1, 5], "streaming": False})
    toys.save_checkpoint(
        tmp_path / "checkpoint.safetensors", toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    )
    toys.write_evaluation(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that the stage ends with; it must leave everything as it is."""
    before = contents(folder)
    with pytest.raises(SystemExit) as exit_:
        export.main(toys.export_arguments(folder))
    assert exit_.value.code == 2
    assert contents(folder) == before
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("cell", toys.CELLS)
def test_the_file_alone_says_where_it_came_from(folder: Path, cell: Cell) -> None:
    model = toys.random_classifier(ModelParams(cell=cell, hidden_size=4, pooling="max"))
    origin: dict[str, Any] = {"recipe": {"windows": {"length": 4.0, "stride": 2.0}}, "profile": {"sequences": 7}}
    description = toys.save_checkpoint(folder / "checkpoint.safetensors", model, **origin)
    export.main(toys.export_arguments(folder))
    metadata = Predictor(folder / "model.onnx").metadata
    assert metadata["model"] == description.model.model_dump()
    assert metadata["features"] == ["x", "y"]
    assert metadata["classes"] == ["down", "level", "up"]
    assert metadata["metrics"] == toys.METRICS
    assert {name: metadata[name] for name in origin} == origin
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


@pytest.mark.parametrize("missing", ["zero", "refuse"])
def test_the_temperature_is_in_the_graph(folder: Path, missing: Missing) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, missing=missing))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    sequences = toys.random_sequences([3, 5, 2], missing=0)
    logits = toys.alone(model, sequences).detach()
    toys.write_evaluation(folder, {"temperature": 2.5, "threshold": None})
    export.main(toys.export_arguments(folder))
    predictor = Predictor(folder / "model.onnx")
    np.testing.assert_allclose(predictor.probabilities(sequences), (logits / 2.5).softmax(1), atol=1e-6)
    assert predictor.metadata["calibration"]["temperature"] == 2.5


def test_the_file_carries_the_threshold_below_which_it_answers_unknown(folder: Path) -> None:
    sequences = toys.random_sequences([3, 5, 2, 4])
    export.main(toys.export_arguments(folder))
    before = Predictor(folder / "model.onnx")
    confidence = before.probabilities(sequences).max(1)
    threshold = float(np.median(confidence))
    toys.write_evaluation(folder, {"temperature": 1.0, "threshold": threshold})
    export.main(toys.export_arguments(folder))
    expected = [
        name if sure >= threshold else "unknown"
        for name, sure in zip(before.predict(sequences), confidence, strict=True)
    ]
    assert Predictor(folder / "model.onnx").predict(sequences) == expected
    assert expected.count("unknown") == 2


def test_the_file_carries_the_whole_calibration_that_stage_evaluate_seals(folder: Path) -> None:
    chosen = asdict(Calibration(temperature=1.5, threshold=0.4, early=EarlyRule(0.9, [2], [1.2])))
    toys.write_evaluation(folder, chosen)
    export.main(toys.export_arguments(folder))
    assert Predictor(folder / "model.onnx").metadata["calibration"] == chosen


def test_a_calibration_whose_checksum_has_a_wrong_letter_in_its_name_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "calibration.json"
    path.write_text(path.read_text().replace("sha256", "sha276"))
    assert "with its checksum" in refusal(folder, capsys)


def test_a_class_that_is_called_unknown_and_a_threshold_do_not_go_together(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model, ("down", "unknown", "up"))
    export.main(toys.export_arguments(folder))
    toys.write_evaluation(folder, {"temperature": 1.0, "threshold": 0.5})
    assert refusal(folder, capsys).startswith("error: evaluate.max_error_share: a class is called 'unknown'")


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


def test_no_tolerance_is_too_small_for_a_correct_export(folder: Path) -> None:
    toys.write_params(folder, export={"tolerance": 1e-12, "streaming": False})
    export.main(toys.export_arguments(folder))
    assert (folder / "model.onnx").is_file()


@pytest.mark.parametrize("name", ["metrics", "calibration"])
@pytest.mark.parametrize("content", [None, "", "[1, 2"])
def test_what_stage_evaluate_wrote_has_to_be_readable(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None
) -> None:
    path = folder / f"{name}.json"
    path.unlink() if content is None else path.write_text(content)
    assert refusal(folder, capsys).startswith(f"error: {path}: expected the {name} that stage evaluate wrote")


STREAMING = {"batch_sizes": [1, 3], "lengths": [1, 5], "streaming": True}


def test_a_model_that_can_stream_gets_a_streaming_file_with_the_same_properties(folder: Path) -> None:
    toys.write_params(folder, export=STREAMING)
    export.main(toys.export_arguments(folder))
    whole, streaming = Predictor(folder / "model.onnx"), StreamingModel(folder / "streaming/model.stream.onnx")
    assert streaming.metadata == whole.metadata
    layout = json.loads((folder / "streaming/state.json").read_text())
    assert layout == {"state": streaming.layout, "state_size": streaming.state_size}
    assert layout["state"] == {"layers.0.hidden": 4}


def test_it_says_why_a_model_cannot_stream_and_exports_it_for_whole_sequences(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.write_params(folder, export=STREAMING)
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, bidirectional=True))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    export.main(toys.export_arguments(folder))
    reason = "bidirectional: the backward direction begins at the end of a sequence; set it to false"
    assert capsys.readouterr().out.splitlines()[1] == f"toy: no streaming file: {reason}"
    assert [path.name for path in (folder / "streaming").iterdir()] == ["state.json"]
    assert json.loads((folder / "streaming/state.json").read_text()) == {"not_streaming": reason}
    assert Predictor(folder / "model.onnx").classes == toys.CLASSES


def test_a_model_that_has_to_stream_does_so_whatever_the_params_of_the_stage_say(folder: Path) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, streaming="required"))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    export.main(toys.export_arguments(folder))
    assert (folder / "streaming/model.stream.onnx").is_file()


def test_a_streaming_graph_that_differs_leaves_everything_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.write_params(folder, export=STREAMING)
    export.main(toys.export_arguments(folder))
    monkeypatch.setattr(builtin, "_after", lambda graph, states, before, lengths: before)  # forgets the steps
    line = refusal(folder, capsys)
    assert line.startswith(f"error: {folder}/streaming/model.stream.onnx: probabilities differ from those of whole")
    assert line.endswith("nothing was exported")


@pytest.mark.parametrize("is_streaming", [True, False])
def test_neither_kind_of_file_is_taken_for_the_other(folder: Path, is_streaming: bool) -> None:
    toys.write_params(folder, export=STREAMING)
    export.main(toys.export_arguments(folder))
    if is_streaming:
        with pytest.raises(
            InputError, match=r"a streaming model, expected one of whole sequences; use it with rnnflow"
        ):
            Predictor(folder / "streaming/model.stream.onnx")
    else:
        with pytest.raises(InputError, match="a model of whole sequences, expected a streaming one"):
            StreamingModel(folder / "model.onnx")


INT8 = {"batch_sizes": [1, 3], "lengths": [1, 5], "streaming": False, "quantize": "int8"}


@pytest.fixture
def with_lstm(folder: Path) -> Path:
    """Holds an LSTM and the validation split that its 8 bits are measured by."""
    model = toys.random_classifier(ModelParams(cell="lstm", hidden_size=16))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    sequences = toys.random_sequences([5, 9, 3, 7], missing=0)
    toys.write_sequences(folder / "validation/part-00000.parquet", sequences, ["up", "down", "up", "level"])
    return folder


def test_an_lstm_gets_a_file_of_8_bits_with_what_that_costs_on_the_validation_split(
    with_lstm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export.main(toys.export_arguments(with_lstm))
    without, off = contents(with_lstm / "int8"), json.loads((with_lstm / "export.json").read_text())
    assert list(without.values()) == [b'{\n  "not_quantised": "export.quantize is null"\n}\n']
    whole = (with_lstm / "model.onnx").read_bytes()
    capfd.readouterr()
    toys.write_params(with_lstm, export=INT8)
    export.main(toys.export_arguments(with_lstm))
    said, report = capfd.readouterr(), json.loads((with_lstm / "export.json").read_text())
    cost = Predictor(with_lstm / "int8/model.int8.onnx").metadata["quantisation"]
    assert "toy: weights of 8 bits: accuracy " in said.out
    assert said.err == ""
    assert report.pop("int8") == {"bytes": (with_lstm / "int8/model.int8.onnx").stat().st_size, **rounded(cost)}
    assert json.loads((with_lstm / "int8/cost.json").read_text()) == rounded(cost)
    assert report == off
    assert (with_lstm / "model.onnx").read_bytes() == whole


def test_8_bits_that_cost_too_much_leave_everything_as_it_was(
    with_lstm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.write_params(with_lstm, export=INT8 | {"int8_max_shift": 1e-9})
    line = refusal(with_lstm, capsys)
    assert line.startswith(f"error: {with_lstm}/model.onnx: weights of 8 bits cost too much: accuracy ")
    assert line.endswith("a shift of 1e-09 (export.int8_max_shift); nothing was written")


@pytest.mark.parametrize("cell", ["rnn", "gru", "mingru"])
def test_where_onnxruntime_has_no_8_bits_the_stage_says_unsupported_and_writes_no_such_file(
    folder: Path, capsys: pytest.CaptureFixture[str], cell: Cell
) -> None:
    toys.write_params(folder, export=INT8)
    toys.save_checkpoint(
        folder / "checkpoint.safetensors", toys.random_classifier(ModelParams(cell=cell, hidden_size=4))
    )
    export.main(toys.export_arguments(folder))
    reason = f"unsupported: onnxruntime has no operator with weights of 8 bits for cell {cell}, only for lstm"
    assert f"toy: no file of 8 bits: {reason}" in capsys.readouterr().out.splitlines()
    assert json.loads((folder / "export.json").read_text())["not_quantised"] == reason
    assert [path.name for path in (folder / "int8").iterdir()] == ["cost.json"]
