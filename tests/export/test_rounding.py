"""The parity gate over models that are sure of themselves, long sequences and many units; and over wrong exports."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from rnnflow.classifier.model import SequenceClassifier
from rnnflow.export import graph as onnx_graph
from rnnflow.export.parity import batches
from rnnflow.export.rounding import largest_excess
from rnnflow.params.models import Cell, ModelParams
from rnnflow.serving.predictor import Predictor
from tests import toys
from tests.export.test_parity import PROPERTIES, predictor

TOLERANCE = 1e-5
SCALES = (1, 3, 10, 30)
"""Weights so many times as large as at first: from .5 for each class to a certainty that float32 rounds to 1."""


def scaled(params: ModelParams, scale: float, seed: int = 0) -> SequenceClassifier:
    model = toys.random_classifier(params, seed=seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(scale)
    return model


def excess(model: SequenceClassifier, file: Predictor, sizes: tuple[int, ...], lengths: tuple[int, ...]) -> float:
    return largest_excess(model, file, batches(model, sizes, lengths), TOLERANCE)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("cell", toys.CELLS)
def test_a_correct_export_of_any_certainty_and_length_is_accepted(tmp_path: Path, cell: Cell, scale: int) -> None:
    deep = ModelParams(cell=cell, hidden_size=16, bidirectional=True, num_layers=2, pooling="mean_max")
    for params, longest in ((ModelParams(cell=cell), 300), (deep, 100)):
        model = scaled(params, scale, seed=scale)
        assert excess(model, predictor(model, tmp_path), (3,), (4, 33, longest)) <= 1


@pytest.mark.parametrize("cell", toys.CELLS)
def test_a_correct_export_of_many_units_is_accepted(tmp_path: Path, cell: Cell) -> None:
    model = scaled(ModelParams(cell=cell, hidden_size=256), 10)
    assert excess(model, predictor(model, tmp_path), (7,), (4, 100)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.endurance) for seed in (1, 2))])
@pytest.mark.parametrize("scale", [1, 30, *(pytest.param(scale, marks=pytest.mark.endurance) for scale in (3, 10))])
@pytest.mark.parametrize(("hidden_size", "longest"), [(32, 1000), (256, 200)])
@pytest.mark.parametrize("cell", toys.CELLS)
def test_correct_exports_are_accepted_with_room_to_spare(
    tmp_path: Path, cell: Cell, hidden_size: int, longest: int, scale: int, seed: int
) -> None:
    model = scaled(ModelParams(cell=cell, hidden_size=hidden_size), scale, seed)
    assert excess(model, predictor(model, tmp_path), (1, 7), (1, 33, longest)) <= 0.5


def changed(model: SequenceClassifier, folder: Path, name: str, change: str) -> Predictor:
    """Return the export with one constant changed: a bias off by 1e-3, or two gates in each other's place."""
    proto = onnx_graph.build(model, PROPERTIES)
    (index,) = (index for index, constant in enumerate(proto.graph.initializer) if constant.name == name)
    array = numpy_helper.to_array(proto.graph.initializer[index]).copy()
    if change == "bias":
        array[:] += 1e-3 * np.where(np.arange(array.size).reshape(array.shape) % 2, 1, -1)
    else:
        first, second, *_ = np.split(np.arange(array.shape[1]), array.shape[1] // model.params.hidden_size)
        array[:, np.concatenate([first, second])] = array[:, np.concatenate([second, first])]
    proto.graph.initializer[index].CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))
    path = folder / "wrong.onnx"
    path.write_bytes(onnx_graph.serialise(proto))
    return Predictor(path)


def constants(model: SequenceClassifier, num_dimensions: int) -> list[onnx.TensorProto]:
    """Return an export's float constants with so many dimensions, in the order of the graph."""
    found = onnx_graph.build(model, PROPERTIES).graph.initializer
    return [each for each in found if each.data_type == onnx.TensorProto.FLOAT and len(each.dims) == num_dimensions]


@pytest.mark.parametrize("scale", [1, 3, 10])
@pytest.mark.parametrize("cell", toys.CELLS)
def test_a_bias_off_by_a_thousandth_is_refused_however_sure_the_model(tmp_path: Path, cell: Cell, scale: int) -> None:
    model = scaled(ModelParams(cell=cell, scaling="none"), scale)
    of_cell, _ = constants(model, 2)  # the other one holds the head's weights
    of_head = constants(model, 1)[-1]
    for bias in (of_cell, of_head):
        assert excess(model, changed(model, tmp_path, bias.name, "bias"), (1, 7), (4, 33)) > 1, bias.name


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_in_each_others_place_are_refused_however_sure_the_model(tmp_path: Path, cell: Cell, scale: int) -> None:
    model = scaled(ModelParams(cell=cell, scaling="none"), scale)
    for weights in constants(model, 3):
        assert excess(model, changed(model, tmp_path, weights.name, "gates"), (1, 7), (4, 33)) > 1, weights.name
