"""The classifier as an ONNX graph, built node by node from its weights.

Inputs `sequence (batch, time, feature)` float32 and `lengths (batch)` int64, output `probabilities
(batch, class)`; batch and time are free. The preparation of the raw steps is in the graph.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from rnnflow.classifier.model import RecurrentLayer, SequenceClassifier
from rnnflow.export.nodes import Nodes
from rnnflow.export.preparation_nodes import prepare, refused
from rnnflow.export.version import VERSION
from rnnflow.serving import checksum
from rnnflow.serving.predictor import PROPERTIES

OPSET = 17
IR_VERSION = 8
SEQUENCE = "raw time steps, padded at the end; property `features` names the last axis"
LENGTHS = "number of time steps of each sequence; padding is not read"
PROBABILITIES = "property `classes` names the last axis"


def build(model: SequenceClassifier, metadata: Mapping[str, str], model_version: int = 0) -> onnx.ModelProto:
    """Return the graph of `model`, with `metadata` as its properties; `model_version` as `version_number` gives it."""
    graph = Nodes()
    _classifier(graph, model)
    num_features, num_classes = model.preparation.num_features, model.head.out_features
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "rnnflow",
            [
                helper.make_tensor_value_info("sequence", TensorProto.FLOAT, ["batch", "time", num_features], SEQUENCE),
                helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"], LENGTHS),
            ],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", num_classes], PROBABILITIES)],
            graph.constants,
        ),
        producer_name="rnnflow",
        producer_version=VERSION,
        model_version=model_version,
        doc_string=_description(model),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def serialise(proto: onnx.ModelProto) -> bytes:
    """Return the bytes of a model with their checksum among its properties, the same for equal models."""
    properties = {entry.key: entry.value for entry in proto.metadata_props if entry.key != checksum.PROPERTY}
    digest = checksum.compute(proto.SerializeToString(deterministic=True), PROPERTIES)
    helper.set_model_props(proto, {checksum.PROPERTY: digest, **properties})
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def version_number(md5: str) -> int:
    """Return what the file's `model_version` says of weights with this md5: its first 15 digits, as a number.

    ONNX wants an integer of 64 bits with a sign. Counting versions would need to know the versions before this one.
    """
    return int(md5[:15], 16)


def _description(model: SequenceClassifier) -> str:
    """What a viewer of ONNX files shows to somebody who knows nothing of rnnflow."""
    params = model.params
    direction = "bidirectional " if params.bidirectional else ""
    return (
        f"Sequence classifier: {direction}{params.cell.upper()}, layers: {params.num_layers}, "
        f"hidden size: {params.hidden_size}, features: {model.preparation.num_features}, "
        f"classes: {model.head.out_features}"
    )


def _classifier(graph: Nodes, model: SequenceClassifier) -> None:
    """Every node from the inputs to `probabilities`."""
    outputs, lengths = prepare(graph, model.preparation, "sequence", "lengths")
    skip = ""
    if model.stem:
        weights = {name: weight.detach().numpy() for name, weight in model.stem.named_parameters()}
        outputs, lengths, skip = model.stem.stem.add_to(graph, weights, outputs, lengths)
    outputs = graph.add("Transpose", [outputs], perm=[1, 0, 2])
    final = ""
    lengths_of_cells = graph.add("Cast", [lengths], to=TensorProto.INT32)
    for layer in model.layers:
        assert isinstance(layer, RecurrentLayer)
        outputs, final = _recurrent(graph, layer, outputs, lengths_of_cells)
    pooled = _pooling(graph, model.params.pooling, outputs, final, lengths)
    pooled = graph.add("Concat", [pooled, skip], axis=1) if skip else pooled
    logits = graph.add("Gemm", [pooled, graph.constant(model.head.weight), graph.constant(model.head.bias)], transB=1)
    if model.params.missing == "refuse":
        is_refused = refused(graph, "sequence", "lengths")
        logits = graph.add("Where", [is_refused, graph.constant(np.nan), logits])
    graph.add("Softmax", [logits], output="probabilities", axis=1)


def _recurrent(graph: Nodes, layer: RecurrentLayer, inputs: str, lengths: str) -> tuple[str, str]:
    """Outputs (time, batch, direction * hidden) and final states (batch, direction * hidden)."""
    directions = [
        {name: weight.detach().numpy() for name, weight in module.named_parameters()}
        for module in (layer.forward_cell, layer.backward_cell)
        if module is not None
    ]
    return layer.cell.add_to(graph, directions, inputs, lengths)


def _pooling(graph: Nodes, pooling: str, outputs: str, final: str, lengths: str) -> str:
    if pooling == "last":
        return final
    by_batch = graph.add("Transpose", [outputs], perm=[1, 0, 2])
    parts = []
    if "mean" in pooling:
        # Cells leave zeros in the padding.
        summed = graph.add("ReduceSum", [by_batch, graph.constant([1])], keepdims=0)
        parts.append(graph.add("Div", [summed, graph.add("Unsqueeze", [graph.number(lengths), graph.constant([1])])]))
    if "max" in pooling:
        masked = graph.add("Where", [graph.valid_steps(by_batch, lengths), by_batch, graph.constant(-np.inf)])
        parts.append(graph.add("ReduceMax", [masked], axes=[1], keepdims=0))
    return graph.add("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
