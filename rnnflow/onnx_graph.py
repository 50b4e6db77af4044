"""The classifier as an ONNX graph, built node by node from its weights.

Inputs `sequence (batch, time, feature)` float32 and `lengths (batch)` int64, output `probabilities
(batch, class)`; batch and time are free. Scaling and missing values are handled in the graph.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from rnnflow.model import SEQUENCE_VARIANCE_FLOOR, RecurrentLayer, SequenceClassifier

OPSET = 17
IR_VERSION = 8
OPERATORS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
GATE_ORDER = {"rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}
"""Place in PyTorch of each gate of ONNX: i, o, f, c of i, f, g, o; z, r, h of r, z, n."""


def build(model: SequenceClassifier, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Return the graph of `model`, with `metadata` as its properties."""
    graph = _Graph()
    outputs = _scaling(graph, model)
    if model.stem:
        outputs = _stem(graph, model.stem.convolutions, outputs)
    outputs = graph.add("Transpose", [outputs], perm=[1, 0, 2])
    lengths = graph.add("Cast", ["lengths"], to=TensorProto.INT32)
    final = ""
    for layer in model.layers:
        assert isinstance(layer, RecurrentLayer)
        outputs, final = _recurrent(graph, layer, model.params.cell, outputs, lengths)
    pooled = _pooling(graph, model.params.pooling, outputs, final)
    logits = graph.add("Gemm", [pooled, graph.constant(model.head.weight), graph.constant(model.head.bias)], transB=1)
    graph.add("Softmax", [logits], output="probabilities", axis=1)
    num_features, num_classes = len(model.scaler.mean), model.head.out_features
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "rnnflow",
            [
                helper.make_tensor_value_info("sequence", TensorProto.FLOAT, ["batch", "time", num_features]),
                helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
            ],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", num_classes])],
            graph.constants,
        ),
        producer_name="rnnflow",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def serialise(proto: onnx.ModelProto) -> bytes:
    """Return the bytes of a model, the same for equal models."""
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


class _Graph:
    """Nodes and constants under construction; values are known by name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._valid_steps: str | None = None

    def add(self, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, value: Tensor | np.ndarray | float | list[int]) -> str:
        """Store a constant and return its name; a float becomes float32, a list int64."""
        if isinstance(value, Tensor):
            array = value.detach().numpy()
        else:
            array = np.asarray(value, dtype=np.int64 if isinstance(value, list) else np.float32)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def valid_steps(self) -> str:
        """Return where the batch holds a step of its sequence: bool (batch, time, 1)."""
        if self._valid_steps is None:
            shape = self.add("Shape", ["sequence"], start=1, end=2)
            num_steps = self.add("Squeeze", [shape, self.constant([0])])
            zero, one = (self.add("Squeeze", [self.constant([number]), self.constant([0])]) for number in (0, 1))
            steps = self.add("Range", [zero, num_steps, one])
            lengths = self.add("Unsqueeze", ["lengths", self.constant([1])])
            self._valid_steps = self.add("Unsqueeze", [self.add("Less", [steps, lengths]), self.constant([2])])
        return self._valid_steps


def _scaling(graph: _Graph, model: SequenceClassifier) -> str:
    """Scaled sequences, (batch, time, feature), with zeros for missing values."""
    scaler = model.scaler
    centred = graph.add("Sub", ["sequence", graph.constant(scaler.mean)])
    scaled = graph.add("Mul", [centred, graph.constant(scaler.inverse_deviation)])
    missing = graph.add("IsNaN", [scaled])
    zero = graph.constant(0.0)
    if scaler.scaling != "sequence":
        return graph.add("Where", [missing, zero, scaled])
    known = graph.add("And", [graph.add("Not", [missing]), graph.valid_steps()])
    count = graph.add("ReduceSum", [graph.add("Cast", [known], to=TensorProto.FLOAT), graph.constant([1])], keepdims=1)
    count = graph.add("Max", [count, graph.constant(1.0)])

    def mean(values: str) -> str:
        return graph.add("Div", [graph.add("ReduceSum", [values, graph.constant([1])], keepdims=1), count])

    filled = graph.add("Where", [known, scaled, zero])
    centred = graph.add("Where", [known, graph.add("Sub", [filled, mean(filled)]), zero])
    variance = mean(graph.add("Mul", [centred, centred]))
    floored = graph.add("Add", [variance, graph.constant(SEQUENCE_VARIANCE_FLOOR)])
    return graph.add("Div", [centred, graph.add("Sqrt", [floored])])


def _stem(graph: _Graph, convolutions: nn.ModuleList, inputs: str) -> str:
    is_valid = graph.add("Transpose", [graph.valid_steps()], perm=[0, 2, 1])
    zero = graph.constant(0.0)
    outputs = graph.add("Transpose", [inputs], perm=[0, 2, 1])
    for convolution in convolutions:
        assert isinstance(convolution, nn.Conv1d)
        assert convolution.bias is not None
        half = convolution.kernel_size[0] // 2
        masked = graph.add("Where", [is_valid, outputs, zero])
        weights = [graph.constant(convolution.weight), graph.constant(convolution.bias)]
        outputs = graph.add("Relu", [graph.add("Conv", [masked, *weights], pads=[half, half])])
    return graph.add("Transpose", [outputs], perm=[0, 2, 1])


def _recurrent(graph: _Graph, layer: RecurrentLayer, cell: str, inputs: str, lengths: str) -> tuple[str, str]:
    """Outputs (time, batch, direction * hidden) and final states (batch, direction * hidden)."""
    directions = [module for module in (layer.forward_cell, layer.backward_cell) if module is not None]
    hidden_size = directions[0].hidden_size
    stacked = [np.stack(arrays) for arrays in zip(*(_weights(module, cell) for module in directions), strict=True)]
    name = f"{cell}_{len(graph.nodes)}"
    attributes: dict[str, Any] = {"linear_before_reset": 1} if cell == "gru" else {}
    graph.nodes.append(
        helper.make_node(
            OPERATORS[cell],
            [inputs, *(graph.constant(array) for array in stacked), lengths],
            [f"{name}_steps", f"{name}_final"],
            hidden_size=hidden_size,
            direction="bidirectional" if len(directions) == 2 else "forward",
            **attributes,
        )
    )
    by_batch = graph.add("Transpose", [f"{name}_steps"], perm=[0, 2, 1, 3])
    outputs = graph.add("Reshape", [by_batch, graph.constant([0, 0, -1])])
    final = graph.add("Transpose", [f"{name}_final"], perm=[1, 0, 2])
    return outputs, graph.add("Reshape", [final, graph.constant([0, -1])])


def _weights(module: nn.RNNBase, cell: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input weights, recurrent weights and both biases of one direction, with the gates in ONNX's order."""

    def reordered(name: str) -> np.ndarray:
        gates = np.split(module.get_parameter(name).detach().numpy(), len(GATE_ORDER[cell]))
        return np.concatenate([gates[place] for place in GATE_ORDER[cell]])

    biases = np.concatenate([reordered("bias_ih_l0"), reordered("bias_hh_l0")])
    return reordered("weight_ih_l0"), reordered("weight_hh_l0"), biases


def _pooling(graph: _Graph, pooling: str, outputs: str, final: str) -> str:
    if pooling == "last":
        return final
    by_batch = graph.add("Transpose", [outputs], perm=[1, 0, 2])
    parts = []
    if "mean" in pooling:
        # The operators leave zeros behind the end of a sequence.
        summed = graph.add("ReduceSum", [by_batch, graph.constant([1])], keepdims=0)
        lengths = graph.add("Unsqueeze", [graph.add("Cast", ["lengths"], to=TensorProto.FLOAT), graph.constant([1])])
        parts.append(graph.add("Div", [summed, lengths]))
    if "max" in pooling:
        masked = graph.add("Where", [graph.valid_steps(), by_batch, graph.constant(-np.inf)])
        parts.append(graph.add("ReduceMax", [masked], axes=[1], keepdims=0))
    return graph.add("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
