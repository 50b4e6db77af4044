"""The classifier as an ONNX graph, built node by node from its weights: of whole sequences, and step by step.

Inputs `sequence (batch, time, feature)` float32 and `lengths (batch)` int64, output `probabilities
(batch, class)`; batch and time are free. The preparation of the raw steps is in the graph. The streaming graph has `steps`
in the place of `sequence`, and `state (batch, state)` float32 in and `new_state` out.
"""

import json
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import onnx
from onnx import TensorProto, helper

from rnnflow.classifier.layers import RecurrentLayer
from rnnflow.classifier.model import Classifier, Ensemble, SequenceClassifier
from rnnflow.export.memory import NEW_STATE, STATE, Memory
from rnnflow.export.nodes import Nodes
from rnnflow.export.preparation_nodes import Steps, refused, scaled, whole_steps
from rnnflow.export.streaming_graph import continued_maximum, continued_sums, no_steps, stream_steps
from rnnflow.export.streaming_stem import StemMemory
from rnnflow.export.version import VERSION
from rnnflow.params.models import ModelParams
from rnnflow.serving import checksum
from rnnflow.serving.predictor import PROPERTIES, STATE_PROPERTY

OPSET = 17
IR_VERSION = 8
SEQUENCE = "raw time steps, padded at the end; property `features` names the last axis"
LENGTHS = "number of time steps of each sequence; padding is not read"
PROBABILITIES = "property `classes` names the last axis"


def build(model: Classifier, metadata: Mapping[str, str], model_version: int = 0) -> onnx.ModelProto:
    """Return the graph of `model`, with `metadata` as its properties; `model_version` as `version_number` gives it."""
    graph = Nodes()
    steps = whole_steps(graph, model.preparation, "sequence", "lengths")
    _probabilities(graph, model, _logits(graph, model, steps), "sequence")
    inputs = [_steps_input("sequence", model, SEQUENCE), _value("lengths", TensorProto.INT64, [], LENGTHS)]
    return _file(graph, model, inputs, [_probabilities_output(model)], metadata, model_version)


def build_streaming(
    model: Classifier, metadata: Mapping[str, str], model_version: int = 0
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Return the graph that goes on from a state, and the layout of the state: the sizes of its parts, in order.

    The layout is its property `state`.
    """
    assert model.params.streaming_obstacle is None
    graph = Nodes()
    memory = graph.memory = Memory(graph)
    complete, partial = stream_steps(graph, model.preparation, "steps", "lengths")
    if model.params.num_averaged > model.params.downsampling and not partial:
        partial = no_steps(graph, complete)  # a block of the stem may be incomplete
    logits = _logits(graph, model, complete)
    if partial:
        with memory.ahead():
            logits = _logits(graph, model, partial)
    _probabilities(graph, model, logits, "steps")
    graph.nodes.insert(0, memory.finish())
    size = sum(memory.sizes.values())
    inputs = [
        _steps_input("steps", model, SEQUENCE),
        _value("lengths", TensorProto.INT64, [], LENGTHS),
        _value(STATE, TensorProto.FLOAT, [size], "of the steps before; zeros at first"),
    ]
    outputs = [_probabilities_output(model), _value(NEW_STATE, TensorProto.FLOAT, [size], "for the steps that follow")]
    metadata = {STATE_PROPERTY: json.dumps(memory.sizes), **metadata}
    return _file(graph, model, inputs, outputs, metadata, model_version), memory.sizes


def _steps_input(name: str, model: Classifier, text: str) -> onnx.ValueInfoProto:
    return _value(name, TensorProto.FLOAT, ["time", model.preparation.num_features], text)


def _probabilities_output(model: Classifier) -> onnx.ValueInfoProto:
    return _value("probabilities", TensorProto.FLOAT, [model.num_classes], PROBABILITIES)


def _value(name: str, kind: int, shape: list[str | int], text: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *shape], text)


def _file(
    graph: Nodes,
    model: Classifier,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    metadata: Mapping[str, str],
    model_version: int,
) -> onnx.ModelProto:
    graph.drop_unused([output.name for output in outputs])
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "rnnflow", inputs, outputs, graph.constants),
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
    return checksum.signed(proto, PROPERTIES)


def version_number(md5: str) -> int:
    """Return what the file's `model_version` says of weights with this md5: its first 15 digits, as a number.

    ONNX wants an integer of 64 bits with a sign. Counting versions would need to know the versions before this one.
    """
    return int(md5[:15], 16)


def _description(model: Classifier) -> str:
    """What a viewer of ONNX files shows to somebody who knows nothing of rnnflow."""
    params = model.params
    direction = "bidirectional " if params.bidirectional else ""
    members = f"mean of {params.members}, each " if params.members > 1 else ""
    return (
        f"Sequence classifier: {members}{direction}{params.cell.upper()}, layers: {params.num_layers}, "
        f"hidden size: {params.hidden_size}, features: {model.preparation.num_features}, "
        f"classes: {model.num_classes}"
    )


def _logits(graph: Nodes, model: Classifier, steps: Steps) -> str:
    """What follows the down-sampling, from the scaling to the logits."""
    prepared = scaled(graph, model.preparation, steps)
    if isinstance(model, Ensemble):
        return _mean_logits(graph, model, prepared, steps.lengths)
    assert isinstance(model, SequenceClassifier)
    return _logits_of_one(graph, model, prepared, steps.lengths)


def _mean_logits(graph: Nodes, model: Ensemble, prepared: str, lengths: str) -> str:
    """The logarithm of the sum of the members' probabilities; the softmax that follows makes it a mean."""
    of_members = []
    for index, member in enumerate(model):
        with graph.memory.named(f"members.{index}.") if graph.memory else nullcontext():
            logits = _logits_of_one(graph, member, prepared, lengths)
        log_probabilities = graph.add("LogSoftmax", [logits], axis=1)
        of_members.append(graph.add("Unsqueeze", [log_probabilities, graph.constant([0])]))
    together = graph.add("ReduceLogSumExp", [graph.add("Concat", of_members, axis=0)], axes=[0], keepdims=0)
    return graph.add("Div", [together, graph.constant(model.temperature)])


def _logits_of_one(graph: Nodes, model: SequenceClassifier, prepared: str, lengths: str) -> str:
    """From what the first layer reads to the head."""
    outputs, skip = prepared, ""
    if model.stem:
        weights = {name: weight.detach().numpy() for name, weight in model.stem.named_parameters()}
        past = StemMemory(graph) if graph.memory else None
        outputs, lengths, skip = model.stem.stem.add_to(graph, weights, outputs, lengths, past)
    outputs = graph.add("Transpose", [outputs], perm=[1, 0, 2])
    final = ""
    lengths_of_cells = graph.add("Cast", [lengths], to=TensorProto.INT32)
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, RecurrentLayer)
        outputs, final = _recurrent(graph, layer, outputs, lengths_of_cells, f"layers.{index}")
    pooled = _pooling(graph, model.params, outputs, final, lengths)
    pooled = graph.add("Concat", [pooled, skip], axis=1) if skip else pooled
    return graph.add("Gemm", [pooled, graph.constant(model.head.weight), graph.constant(model.head.bias)], transB=1)


def _probabilities(graph: Nodes, model: Classifier, logits: str, sequence: str) -> None:
    if model.params.missing == "refuse":
        is_refused = refused(graph, sequence, "lengths")
        logits = graph.add("Where", [is_refused, graph.constant(np.nan), logits])
    graph.add("Softmax", [logits], output="probabilities", axis=1)


def _recurrent(graph: Nodes, layer: RecurrentLayer, inputs: str, lengths: str, name: str) -> tuple[str, str]:
    """Outputs (time, batch, direction * hidden) and final states (batch, direction * hidden)."""
    directions = [
        {name: weight.detach().numpy() for name, weight in module.named_parameters()}
        for module in (layer.forward_cell, layer.backward_cell)
        if module is not None
    ]
    if not graph.memory:
        outputs, (final,) = layer.cell.add_to(graph, directions, inputs, lengths)
        return outputs, final
    parts = [f"{name}.{part}" for part in ("hidden", "cell")[: layer.cell.num_states]]
    before = [graph.memory.read(part, layer.output_size) for part in parts]
    outputs, states = layer.cell.add_to(graph, directions, inputs, lengths, before)
    for part, state in zip(parts, states, strict=True):
        graph.memory.write(part, state)
    return outputs, states[0]


def _pooling(graph: Nodes, params: ModelParams, outputs: str, final: str, lengths: str) -> str:
    if params.pooling == "last":
        return final
    by_batch = graph.add("Transpose", [outputs], perm=[1, 0, 2])
    parts = []
    if "mean" in params.pooling:
        # Cells leave zeros in the padding.
        summed = graph.add("ReduceSum", [by_batch, graph.constant([1])], keepdims=0)
        count = graph.add("Unsqueeze", [graph.number(lengths), graph.constant([1])])
        if graph.memory:
            summed, count = continued_sums(graph, graph.memory, summed, count, params.output_size)
        parts.append(graph.add("Div", [summed, count]))
    if "max" in params.pooling:
        masked = graph.add("Where", [graph.valid_steps(by_batch, lengths), by_batch, graph.constant(-np.inf)])
        largest = graph.add("ReduceMax", [masked], axes=[1], keepdims=0)
        if graph.memory:
            started = "started" if params.num_averaged == params.downsampling else "layers.started"
            largest = continued_maximum(graph, graph.memory, largest, lengths, params.output_size, started)
        parts.append(largest)
    return graph.add("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
