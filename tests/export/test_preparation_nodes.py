import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from rnnflow.classifier.preparation import Preparation
from rnnflow.export.graph import IR_VERSION, OPSET
from rnnflow.export.nodes import Nodes
from rnnflow.export.preparation_nodes import scaled, whole_steps
from rnnflow.params.models import ModelParams
from tests import toys


def in_onnx(preparation: Preparation, array: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return what the nodes of a preparation make of padded sequences."""
    graph = Nodes()
    prepared = scaled(graph, preparation, whole_steps(graph, preparation, "sequence", "lengths"))
    size: list[str | int | None] = ["batch", "time", preparation.num_features]
    inputs = [
        helper.make_tensor_value_info("sequence", TensorProto.FLOAT, size),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    output = helper.make_tensor_value_info(prepared, TensorProto.FLOAT, ["batch", "step", preparation.num_outputs])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "preparation", inputs, [output], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"sequence": array, "lengths": lengths})
    return np.asarray(found)


@settings(deadline=None, max_examples=150)
@given(
    params=toys.preparations(),
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    garbage=st.sampled_from([np.nan, np.inf, 1e9]),
    missing=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    seed=st.integers(0, 99),
)
def test_onnx_prepares_valid_steps_as_numpy_does(
    params: dict[str, object], lengths: list[int], garbage: float, missing: float, seed: int
) -> None:
    model = ModelParams.model_validate({"cell": "gru"} | params)
    preparation = toys.random_preparation(model, 2, np.random.default_rng(seed))
    is_for_all_sizes = not {"none", "global"} & set(model.scalings)
    make = toys.sequences_of_all_sizes if is_for_all_sizes else toys.random_sequences
    array, valid = toys.padded(make(lengths, seed=seed, missing=missing), max(lengths) + seed % 3, garbage)
    expected, num_steps = preparation(array, valid)
    assert num_steps is not None
    found = in_onnx(preparation, array, valid)
    for row, end in enumerate(num_steps):
        np.testing.assert_allclose(found[row, :end], expected[row, :end], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e-30, 1e6 + 0.1, 3e38])
@pytest.mark.parametrize("downsampling", [1, 3])
def test_a_constant_sequence_scaled_by_itself_is_zero_in_onnx_as_well(value: float, downsampling: int) -> None:
    params = ModelParams(cell="gru", scaling="sequence", differences=True, downsampling=downsampling)
    array = np.full((2, 1000, 1), value, np.float32)
    array[1, ::2] = np.nan
    assert not in_onnx(Preparation(params, 1), array, np.array([1000, 777]))[0].any()


@pytest.mark.parametrize("num_steps", [1000, 20000])
def test_a_long_sequence_scaled_by_itself_keeps_its_digits_in_onnx(num_steps: int) -> None:
    preparation = Preparation(ModelParams(cell="gru", scaling="sequence"), 1)
    rng = np.random.default_rng(0)
    array = (rng.standard_normal((3, num_steps, 1)) * 1e-3 + [[[100.0]], [[0.0]], [[1.0]]]).astype(np.float32)
    array[2, 7] = 1e3  # one outlier
    lengths = np.full(3, num_steps)
    np.testing.assert_allclose(
        in_onnx(preparation, array, lengths), preparation(array, lengths)[0], atol=1e-4, rtol=5e-5
    )
