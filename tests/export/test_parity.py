import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from rnnflow.classifier.model import Classifier
from rnnflow.classifier.preparation import SEQUENCE_VARIANCE_FLOOR
from rnnflow.export import graph as onnx_graph
from rnnflow.export.graph import build, serialise
from rnnflow.export.parity import largest_difference
from rnnflow.params.models import Cell, Missing, ModelParams, Pooling, Scaling, StemParams
from rnnflow.serving.predictor import Predictor
from tests import toys

SAID: dict[str, object] = {
    "rnnflow": 1,
    "name": "toy",
    "model": None,
    "features": toys.FEATURES,
    "classes": toys.CLASSES,
    "lengths": [1, 3, 9],
    "num_parameters": 1,
    "md5": {},
    "metrics": {},
}
PROPERTIES = {name: json.dumps(value) for name, value in SAID.items()}
BATCH_SIZES = (1, 3)
LENGTHS = (6,)


def predictor(model: Classifier, folder: Path) -> Predictor:
    path = folder / "model.onnx"
    path.write_bytes(serialise(build(model, PROPERTIES)))
    return Predictor(path)


@pytest.mark.parametrize("scaling", toys.SCALINGS)
@pytest.mark.parametrize("pooling", toys.POOLINGS)
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", toys.CELLS)
def test_onnx_answers_as_pytorch_does(
    tmp_path: Path, cell: Cell, bidirectional: bool, num_layers: int, pooling: Pooling, scaling: Scaling
) -> None:
    params = ModelParams(
        cell=cell,
        hidden_size=5,
        num_layers=num_layers,
        bidirectional=bidirectional,
        pooling=pooling,
        scaling=scaling,
    )
    model = toys.random_classifier(params)
    assert largest_difference(model, predictor(model, tmp_path), BATCH_SIZES, LENGTHS) <= 1e-5


@pytest.mark.parametrize(
    ("missing", "scaling", "downsampling", "differences"),
    [
        *product(toys.MISSING, [*toys.SCALINGS, toys.SCALING_LISTS[1]], [3], [True]),
        *product(toys.MISSING, [["compressed", "sequence"]], [1], [["compressed"], ["sequence"]]),
    ],
)
def test_onnx_prepares_as_pytorch_does(
    tmp_path: Path,
    missing: Missing,
    scaling: Scaling | list[Scaling],
    downsampling: int,
    differences: bool | list[Scaling],
) -> None:
    params = ModelParams(
        cell="gru",
        hidden_size=5,
        bidirectional=True,
        pooling="mean_max",
        stem=StemParams(channels=3, kernel_size=3),
        missing=missing,
        scaling=scaling,
        downsampling=downsampling,
        differences=differences,
    )
    model = toys.random_classifier(params)
    assert largest_difference(model, predictor(model, tmp_path), (1, 5), (1, 2, 7)) <= 1e-5


@settings(deadline=None, max_examples=25)
@given(params=toys.architectures(), seed=st.integers(0, 99))
def test_onnx_answers_as_pytorch_does_for_any_architecture(
    tmp_path_factory: pytest.TempPathFactory, params: ModelParams, seed: int
) -> None:
    model = toys.random_classifier(params, seed=seed)
    folder = tmp_path_factory.getbasetemp()
    assert largest_difference(model, predictor(model, folder), BATCH_SIZES, LENGTHS) <= 1e-5


@pytest.mark.parametrize("cell", toys.CELLS)
def test_any_constant_that_is_changed_shows(tmp_path: Path, cell: Cell) -> None:
    model = toys.random_classifier(ModelParams(cell=cell, hidden_size=5, bidirectional=True, pooling="mean_max"))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # so that gates in a wrong order show as well
            parameter.normal_(std=0.5)  # larger ones saturate the softmax
    original = build(model, PROPERTIES)
    num_changed = 0
    for index, constant in enumerate(original.graph.initializer):
        array = numpy_helper.to_array(constant)
        if array.dtype != np.float32 or not np.isfinite(array).all() or array.size < 2:
            continue
        proto = onnx.ModelProto()
        proto.CopyFrom(original)
        proto.graph.initializer[index].CopyFrom(numpy_helper.from_array(np.flip(array).copy(), constant.name))
        (tmp_path / "model.onnx").write_bytes(serialise(proto))
        difference = largest_difference(model, Predictor(tmp_path / "model.onnx"), BATCH_SIZES, LENGTHS)
        assert difference > 1e-4, constant.name
        num_changed += 1
    assert num_changed >= 2 + 3 + 2  # scaling, cells, head


def test_a_model_that_answers_nan_is_infinitely_far(tmp_path: Path) -> None:
    model = toys.random_classifier(ModelParams(cell="rnn", hidden_size=2))
    broken = toys.random_classifier(ModelParams(cell="rnn", hidden_size=2))
    torch.nn.init.constant_(broken.head.bias, torch.nan)
    assert largest_difference(model, predictor(broken, tmp_path), [1], [1]) == np.inf


def test_a_backward_direction_that_starts_in_the_padding_shows(tmp_path: Path) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=5, bidirectional=True))
    proto = build(model, PROPERTIES)
    (node,) = (node for node in proto.graph.node if node.op_type == "GRU")
    node.input[4] = ""  # its lengths
    (tmp_path / "model.onnx").write_bytes(serialise(proto))
    broken = Predictor(tmp_path / "model.onnx")
    assert largest_difference(model, broken, [1], [5]) <= 1e-5  # one sequence has no padding
    assert largest_difference(model, broken, [7], [5]) > 1e-3


@pytest.mark.parametrize("is_deaf", ["onnx", "pytorch", "both"])
@pytest.mark.parametrize("cell", toys.CELLS)
def test_a_model_that_should_refuse_and_answers_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: Cell, is_deaf: str
) -> None:
    model = toys.random_classifier(ModelParams(cell=cell, hidden_size=4, scaling="none", missing="refuse"))
    file = predictor(model, tmp_path)
    assert largest_difference(model, file, [3], [5]) <= 1e-5
    plain = toys.random_classifier(ModelParams(cell=cell, hidden_size=4, scaling="none"))
    if is_deaf in ("onnx", "both"):
        file = predictor(plain, tmp_path)
    if is_deaf in ("pytorch", "both"):
        monkeypatch.setattr(model, "forward", plain.forward)
    assert largest_difference(model, file, [3], [5]) == np.inf


@pytest.mark.parametrize("scaling", ["sequence", ["global", "sequence"], ["compressed", "sequence"]])
def test_an_onnx_file_that_hides_small_sequences_shows(tmp_path: Path, scaling: Any) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, scaling=scaling))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    proto = onnx_graph.build(model, PROPERTIES)
    (node,) = (node for node in proto.graph.node if node.op_type == "Greater")  # a range that is none counts as 1
    for constant in proto.graph.initializer:
        if constant.name == node.input[1]:
            constant.CopyFrom(numpy_helper.from_array(np.array(np.inf, np.float32), constant.name))
        elif np.array_equal(numpy_helper.to_array(constant), np.float32(SEQUENCE_VARIANCE_FLOOR)):
            constant.CopyFrom(numpy_helper.from_array(np.array(1e-4, np.float32), constant.name))
    (tmp_path / "model.onnx").write_bytes(onnx_graph.serialise(proto))
    assert largest_difference(model, Predictor(tmp_path / "model.onnx"), [7], [6]) > 1e-3


@pytest.mark.parametrize("missing", ["forward_fill", "mask"])
def test_an_onnx_file_of_another_policy_shows(tmp_path: Path, missing: Missing) -> None:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, missing=missing))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    proto = build(model, PROPERTIES)
    if missing == "forward_fill":
        (scan,) = (node for node in proto.graph.node if node.op_type == "Scan")
        fill = scan.attribute[0].g.node[1]
        assert fill.op_type == "Where"
        fill.input[1] = "step"
    else:
        (flag,) = (node for node in proto.graph.node if node.op_type == "Not")
        flag.op_type = "Identity"
    (tmp_path / "model.onnx").write_bytes(serialise(proto))
    assert largest_difference(model, Predictor(tmp_path / "model.onnx"), [7], [6]) > 1e-3
