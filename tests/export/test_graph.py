import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

from rnnflow.export.graph import build, serialise, version_number
from rnnflow.export.version import VERSION
from rnnflow.params.models import Cell, Missing, ModelParams, MultiScaleStemParams, Pooling, Scaling, StemParams
from tests import toys

LSTM = ModelParams(
    cell="lstm",
    hidden_size=4,
    num_layers=2,
    bidirectional=True,
    scaling="sequence",
    missing="forward_fill",
    downsampling=2,
    differences=True,
    stem=StemParams(channels=3),
)


def session(params: ModelParams) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(content(params), providers=["CPUExecutionProvider"])


def content(params: ModelParams) -> bytes:
    return serialise(build(toys.random_classifier(params), {"name": "toy"}))


def test_equal_models_give_equal_bytes() -> None:
    assert content(LSTM) == content(LSTM)


@pytest.mark.parametrize("cell", toys.CELLS)
def test_batch_and_time_are_free(cell: Cell) -> None:
    runtime = session(ModelParams(cell=cell, hidden_size=4))
    assert {given.name: given.shape for given in runtime.get_inputs()} == {
        "sequence": ["batch", "time", 2],
        "lengths": ["batch"],
    }
    for batch, time in ((1, 1), (1, 9), (5, 2)):
        inputs = {"sequence": np.zeros((batch, time, 2), np.float32), "lengths": np.full(batch, time)}
        assert runtime.run(["probabilities"], inputs)[0].shape == (batch, 3)


@pytest.mark.parametrize("pooling", toys.POOLINGS)
@pytest.mark.parametrize("cell", toys.CELLS)
def test_a_length_above_the_number_of_steps_is_rejected(cell: Cell, pooling: Pooling) -> None:
    runtime = session(ModelParams(cell=cell, hidden_size=4, pooling=pooling))
    inputs = {"sequence": np.zeros((2, 3, 2), np.float32), "lengths": np.array([3, 4])}
    with pytest.raises(InvalidArgument, match=r"sequence_lens|out of data bounds"):
        runtime.run(None, inputs)


STEM = MultiScaleStemParams(kind="multi_scale", kernel_sizes=[3], channels=2, output_size=3)


@pytest.mark.parametrize("params", [ModelParams(cell="gru", downsampling=4), ModelParams(cell="gru", stem=STEM)])
def test_a_length_that_ends_within_the_last_block_and_above_the_number_of_steps_is_rejected(
    params: ModelParams,
) -> None:
    runtime, sequence = session(params), np.zeros((2, 6, 2), np.float32)
    runtime.run(None, {"sequence": sequence, "lengths": np.array([6, 5])})
    with pytest.raises((InvalidArgument, Fail), match="out of data bounds"):
        runtime.run(None, {"sequence": sequence, "lengths": np.array([6, 7])})


@pytest.mark.parametrize("scaling", toys.SCALINGS)
@pytest.mark.parametrize("cell", toys.CELLS)
def test_padding_of_any_length_and_content_changes_nothing(cell: Cell, scaling: Scaling) -> None:
    stem = StemParams(channels=3, kernel_size=5, num_layers=2)
    params = ModelParams(cell=cell, hidden_size=4, bidirectional=True, scaling=scaling, stem=stem, pooling="mean_max")
    model, runtime = toys.random_classifier(params), session(params)
    sequences = toys.random_sequences([4, 1, 7])
    with torch.inference_mode():
        expected = toys.alone(model, sequences).softmax(1).numpy()
    for num_steps in (7, 20):
        for garbage in (0.0, np.nan, -np.inf, 1e30):
            array, lengths = toys.padded(sequences, num_steps, garbage)
            (probabilities,) = runtime.run(None, {"sequence": array, "lengths": lengths})
            np.testing.assert_allclose(probabilities, expected, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    params=toys.architectures(),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    extra=st.integers(0, 3),
    garbage=st.sampled_from([np.nan, np.inf, 1e9]),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_any_graph_answers_as_pytorch_does_about_each_sequence_alone(
    params: ModelParams, lengths: list[int], extra: int, garbage: float, missing: float
) -> None:
    model, runtime = toys.random_classifier(params), session(params)
    sequences = toys.random_sequences(lengths, missing=missing)
    with torch.inference_mode():
        expected = toys.alone(model, sequences).softmax(1).numpy()
    array, valid = toys.padded(sequences, max(lengths) + extra, garbage)
    (probabilities,) = runtime.run(None, {"sequence": array, "lengths": valid})
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", toys.POOLINGS)
@pytest.mark.parametrize("cell", toys.CELLS)
def test_a_refused_sequence_gets_nan_and_its_company_numbers(cell: Cell, pooling: Pooling) -> None:
    runtime = session(ModelParams(cell=cell, hidden_size=4, pooling=pooling, bidirectional=True, missing="refuse"))
    sequences = np.zeros((4, 3, 2), np.float32)
    sequences[1, 0, 1] = sequences[2, 2, 0] = sequences[3, 2, 0] = np.nan
    (probabilities,) = runtime.run(None, {"sequence": sequences, "lengths": np.array([3, 3, 3, 2])})
    assert np.isnan(probabilities).tolist() == [[False] * 3, [True] * 3, [True] * 3, [False] * 3]


@pytest.mark.parametrize("missing", toys.MISSING)
def test_the_mean_pooling_divides_by_the_steps_that_are_left(missing: Missing) -> None:
    params = ModelParams(cell="gru", hidden_size=4, pooling="mean", downsampling=3, missing=missing)
    model, runtime = toys.random_classifier(params), session(params)
    sequences = toys.random_sequences([7, 1, 3, 10], missing=0.0)
    array, lengths = toys.padded(sequences, 11, np.nan)
    (probabilities,) = runtime.run(None, {"sequence": array, "lengths": lengths})
    with torch.inference_mode():
        np.testing.assert_allclose(probabilities, toys.alone(model, sequences).softmax(1).numpy(), atol=1e-6)


def test_the_properties_come_back_as_given() -> None:
    properties = {"name": "toy", "classes": '["ä", "b"]'}
    proto = build(toys.random_classifier(LSTM), properties)
    runtime = onnxruntime.InferenceSession(serialise(proto), providers=["CPUExecutionProvider"])
    found = runtime.get_modelmeta().custom_metadata_map
    assert len(found.pop("sha256")) == 64
    assert found == properties


def test_the_file_introduces_itself_to_those_who_know_nothing_of_rnnflow() -> None:
    proto = build(toys.random_classifier(LSTM), {}, model_version=7)
    serialised = serialise(proto)
    seen = onnxruntime.InferenceSession(serialised, providers=["CPUExecutionProvider"]).get_modelmeta()
    assert (seen.producer_name, onnx.load_from_string(serialised).producer_version) == ("rnnflow", VERSION)
    assert seen.version == 7
    assert seen.description == (
        "Sequence classifier: bidirectional LSTM, layers: 2, hidden size: 4, features: 2, classes: 3"
    )
    assert all(value.doc_string for value in (*proto.graph.input, *proto.graph.output))


@pytest.mark.parametrize("md5", ["0" * 32, "f" * 32])
def test_the_number_of_any_version_fits_into_the_file(md5: str) -> None:
    number = version_number(md5)
    assert f"{number:015x}" == md5[:15]
    assert build(toys.random_classifier(LSTM), {}, number).model_version == number


def test_a_plain_model_has_a_graph_of_a_few_nodes() -> None:
    proto = onnx.load_from_string(content(ModelParams(cell="gru", scaling="none")))
    assert [node.op_type for node in proto.graph.node].count("GRU") == 1
    assert len(proto.graph.node) < 20
