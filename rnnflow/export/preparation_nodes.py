"""The preparation of a classifier as nodes of its ONNX graph; each function mirrors one of `preparation`."""

import numpy as np
from onnx import TensorProto, helper

from rnnflow.classifier.preparation import SEQUENCE_VARIANCE_FLOOR, Preparation
from rnnflow.export.nodes import Nodes


def prepare(graph: Nodes, preparation: Preparation, sequence: str, lengths: str) -> tuple[str, str]:
    """Add the preparation and return the prepared sequences and their lengths; the padding may hold anything."""
    params = preparation.params
    if params.missing == "forward_fill":
        sequence = _forward_filled(graph, sequence, preparation.num_features)
    parts = [_part(graph, preparation, index, sequence, lengths) for index in range(len(params.scalings))]
    features = [scaled for scaled, _, _ in parts]
    _, values, num_steps = parts[0]
    if params.missing == "mask":
        features.append(graph.number(graph.add("Not", [graph.add("IsNaN", [values])])))
    return graph.add("Concat", features, axis=2) if len(features) > 1 else features[0], num_steps


def _part(graph: Nodes, preparation: Preparation, index: int, sequence: str, lengths: str) -> tuple[str, str, str]:
    """The features of one kind of scaling; the values they come from, NaN where they are missing; the lengths."""
    params, num_features = preparation.params, preparation.num_features
    kind, part, size = params.scalings[index], preparation.part(index), ""
    means = preparation.mean[part].reshape(-1, num_features)
    if kind == "sequence":
        offset, size = _value_range(graph, sequence, lengths)
    else:
        offset = graph.constant(means[0])
        sequence = _compressed(graph, preparation, sequence) if kind == "compressed" else sequence
    values = graph.add("Sub", [sequence, offset])
    if params.downsampling > 1:
        values, lengths = _block_means(graph, values, lengths, params.downsampling, num_features)
    derived = values
    if params.differentiates(kind):
        changes = _differences(graph, values)
        changes = changes if size else graph.add("Sub", [changes, graph.constant(means[1])])
        size = graph.add("Concat", [size, size], axis=2) if size else ""
        derived = graph.add("Concat", [values, changes], axis=2)
    if size:
        scaled = graph.add("Div", [derived, size])
        return _standardised(graph, scaled, graph.valid_steps(scaled, lengths)), values, lengths
    scaled = graph.add("Mul", [derived, graph.constant(preparation.inverse_deviation[part])])
    return graph.add("Where", [graph.add("IsNaN", [scaled]), graph.constant(0.0), scaled]), values, lengths


def _compressed(graph: Nodes, preparation: Preparation, values: str) -> str:
    centred = graph.add("Sub", [values, graph.constant(preparation.median)])
    return graph.add("Asinh", [graph.add("Mul", [centred, graph.constant(preparation.inverse_spread)])])


def refused(graph: Nodes, sequence: str, lengths: str) -> str:
    """Add and return which sequences miss a value in a valid step: bool (batch, 1)."""
    missing = graph.add("And", [graph.add("IsNaN", [sequence]), graph.valid_steps(sequence, lengths)])
    by_step = graph.add("ReduceMax", [graph.number(missing)], axes=[2], keepdims=0)
    return graph.add("Cast", [graph.add("ReduceMax", [by_step], axes=[1], keepdims=1)], to=TensorProto.BOOL)


def _forward_filled(graph: Nodes, values: str, num_features: int) -> str:
    """A scan over time whose state is the last known value of each feature."""
    last, step = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", num_features]) for name in ("last", "step")
    )
    filled, state = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", num_features]) for name in ("filled", "state")
    )
    body = [
        helper.make_node("IsNaN", ["step"], ["is_missing"]),
        helper.make_node("Where", ["is_missing", "last", "step"], ["filled"]),
        helper.make_node("Identity", ["filled"], ["state"]),
    ]
    batch = graph.add("Shape", [values], start=0, end=1)
    shape = graph.add("Concat", [batch, graph.constant([num_features])], axis=0)
    unknown = graph.add("Expand", [graph.constant(np.nan), shape])
    name = f"filled_{len(graph.nodes)}"
    graph.nodes.append(
        helper.make_node(
            "Scan",
            [unknown, values],
            [f"{name}_last", name],
            body=helper.make_graph(body, "forward_fill", [last, step], [state, filled]),
            num_scan_inputs=1,
            scan_input_axes=[1],
            scan_output_axes=[1],
        )
    )
    return name


def _block_means(graph: Nodes, values: str, lengths: str, size: int, num_features: int) -> tuple[str, str]:
    """The means and the number of blocks of each sequence."""
    known = _known(graph, values, graph.valid_steps(values, lengths))
    missing_steps = graph.add("Mod", [graph.add("Neg", [graph.num_steps(values)]), graph.constant([size])])
    pads = graph.add("Concat", [graph.constant([0, 0, 0, 0]), missing_steps, graph.constant([0])], axis=0)
    shape = graph.constant([0, -1, size, num_features])

    def sums(name: str) -> str:
        blocks = graph.add("Reshape", [graph.add("Pad", [name, pads]), shape])
        return graph.add("ReduceSum", [blocks, graph.constant([2])], keepdims=0)

    filled = graph.add("Where", [known, values, graph.constant(0.0)])
    means = graph.add("Div", [sums(filled), sums(graph.number(known))])
    rounded_up = graph.add("Add", [lengths, graph.constant([size - 1])])
    return means, graph.add("Div", [rounded_up, graph.constant([size])])


def _differences(graph: Nodes, values: str) -> str:
    axis = graph.constant([1])
    last = graph.constant([np.iinfo(np.int64).max])
    later = graph.add("Slice", [values, graph.constant([1]), last, axis])
    earlier = graph.add("Slice", [values, graph.constant([0]), graph.constant([-1]), axis])
    return graph.add("Pad", [graph.add("Sub", [later, earlier]), graph.constant([0, 1, 0, 0, 0, 0])])


def _value_range(graph: Nodes, values: str, lengths: str) -> tuple[str, str]:
    """Minimum and range of the known values of each sequence."""
    known = _known(graph, values, graph.valid_steps(values, lengths))
    minimum = graph.add("ReduceMin", [graph.add("Where", [known, values, graph.constant(np.inf)])], axes=[1])
    maximum = graph.add("ReduceMax", [graph.add("Where", [known, values, graph.constant(-np.inf)])], axes=[1])
    size = graph.add("Sub", [maximum, minimum])
    zero = graph.constant(0.0)
    is_known = graph.add("GreaterOrEqual", [size, zero])
    minimum = graph.add("Where", [is_known, minimum, zero])
    return minimum, graph.add("Where", [graph.add("Greater", [size, zero]), size, graph.constant(1.0)])


def _known(graph: Nodes, values: str, is_valid: str) -> str:
    return graph.add("And", [graph.add("Not", [graph.add("IsNaN", [values])]), is_valid])


def _standardised(graph: Nodes, scaled: str, is_valid: str) -> str:
    known = _known(graph, scaled, is_valid)
    zero = graph.constant(0.0)
    count = graph.add("ReduceSum", [graph.number(known), graph.constant([1])], keepdims=1)
    count = graph.add("Max", [count, graph.constant(1.0)])

    def mean(values: str) -> str:
        return graph.add("Div", [graph.add("ReduceSum", [values, graph.constant([1])], keepdims=1), count])

    centred = graph.add("Where", [known, scaled, zero])
    for _ in range(2):  # rounding leaves some of the mean
        centred = graph.add("Where", [known, graph.add("Sub", [centred, mean(centred)]), zero])
    variance = mean(graph.add("Mul", [centred, centred]))
    floored = graph.add("Add", [variance, graph.constant(SEQUENCE_VARIANCE_FLOOR)])
    return graph.add("Div", [centred, graph.add("Sqrt", [floored])])
