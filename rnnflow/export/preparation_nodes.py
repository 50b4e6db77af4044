"""The preparation of a classifier as nodes of its ONNX graph; each function mirrors one of `preparation`."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper

from rnnflow.classifier.preparation import SEQUENCE_VARIANCE_FLOOR, Preparation
from rnnflow.export.memory import Memory
from rnnflow.export.nodes import Nodes


@dataclass(frozen=True)
class Steps:
    """Steps that are filled and down-sampled, and not yet scaled."""

    values: list[str]
    """For each kind of scaling (batch, step, feature), less its offset; NaN where they are missing."""
    sizes: list[str]
    """Of each sequence (batch, 1, feature), where a kind of scaling is by them, else empty."""
    lengths: str


def whole_steps(graph: Nodes, preparation: Preparation, sequence: str, lengths: str) -> Steps:
    """Add what comes before the scaling."""
    downsampling, stem = preparation.params.downsampling, preparation.params.stem
    if downsampling > 1 or (stem and stem.num_averaged > 1):
        lengths = graph.bounded_lengths(sequence, lengths)
    values, sizes = centred(graph, preparation, sequence, lengths)
    if downsampling > 1:
        values = [_block_means(graph, each, lengths, downsampling, preparation.num_features) for each in values]
        rounded_up = graph.add("Add", [lengths, graph.constant([downsampling - 1])])
        lengths = graph.add("Div", [rounded_up, graph.constant([downsampling])])
    return Steps(values, sizes, lengths)


def centred(graph: Nodes, preparation: Preparation, sequence: str, lengths: str) -> tuple[list[str], list[str]]:
    """Return filled values less their offset, and the sizes that they are divided by, for each kind of scaling."""
    params, num_features = preparation.params, preparation.num_features
    if params.missing == "forward_fill":
        sequence = _forward_filled(graph, sequence, lengths, num_features)
    values, sizes = [], []
    for index, kind in enumerate(params.scalings):
        if kind == "sequence":
            offset, size = _value_range(graph, sequence, lengths)
        else:
            offset, size = graph.constant(preparation.mean[preparation.part(index)][:num_features]), ""
        raw = _compressed(graph, preparation, sequence) if kind == "compressed" else sequence
        values.append(graph.add("Sub", [raw, offset]))
        sizes.append(size)
    return values, sizes


def scaled(graph: Nodes, preparation: Preparation, steps: Steps) -> str:
    """Add the scaling and return what the first layer reads (batch, step, prepared)."""
    features = [_part(graph, preparation, index, steps) for index in range(len(steps.values))]
    if preparation.params.missing == "mask":
        features.append(graph.number(graph.add("Not", [graph.add("IsNaN", [steps.values[0]])])))
    return graph.add("Concat", features, axis=2) if len(features) > 1 else features[0]


def _part(graph: Nodes, preparation: Preparation, index: int, steps: Steps) -> str:
    """The features of one kind of scaling."""
    kind, part = preparation.params.scalings[index], preparation.part(index)
    derived, size = steps.values[index], steps.sizes[index]
    if preparation.params.differentiates(kind):
        changes = _differences(graph, derived, steps.lengths, kind, preparation.num_features)
        mean = preparation.mean[part][preparation.num_features :]
        changes = changes if size else graph.add("Sub", [changes, graph.constant(mean)])
        size = graph.add("Concat", [size, size], axis=2) if size else ""
        derived = graph.add("Concat", [derived, changes], axis=2)
    if size:
        divided = graph.add("Div", [derived, size])
        return _standardised(graph, divided, graph.valid_steps(divided, steps.lengths))
    multiplied = graph.add("Mul", [derived, graph.constant(preparation.inverse_deviation[part])])
    return graph.add("Where", [graph.add("IsNaN", [multiplied]), graph.constant(0.0), multiplied])


def _compressed(graph: Nodes, preparation: Preparation, values: str) -> str:
    centred = graph.add("Sub", [values, graph.constant(preparation.median)])
    return graph.add("Asinh", [graph.add("Mul", [centred, graph.constant(preparation.inverse_spread)])])


def refused(graph: Nodes, sequence: str, lengths: str) -> str:
    """Add and return which sequences miss a value in a valid step, or did before: bool (batch, 1)."""
    missing = graph.add("And", [graph.add("IsNaN", [sequence]), graph.valid_steps(sequence, lengths)])
    by_step = graph.add("ReduceMax", [graph.number(missing)], axes=[2], keepdims=0)
    by_sequence = graph.add("ReduceMax", [by_step], axes=[1], keepdims=1)
    if graph.memory:
        by_sequence = graph.add("Max", [by_sequence, graph.memory.read("refused", 1)])
        graph.memory.write("refused", by_sequence)
    return graph.add("Cast", [by_sequence], to=TensorProto.BOOL)


def _forward_filled(graph: Nodes, values: str, lengths: str, num_features: int) -> str:
    """A scan over time whose state is the last known value of each feature."""
    last, step = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", num_features]) for name in ("last", "step")
    )
    filled, following = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", num_features]) for name in ("filled", "next")
    )
    body = [
        helper.make_node("IsNaN", ["step"], ["is_missing"]),
        helper.make_node("Where", ["is_missing", "last", "step"], ["filled"]),
        helper.make_node("Identity", ["filled"], ["next"]),
    ]
    if graph.memory:
        begin = graph.memory.read_known("filled", num_features)
    else:
        batch = graph.add("Shape", [values], start=0, end=1)
        shape = graph.add("Concat", [batch, graph.constant([num_features])], axis=0)
        begin = graph.add("Expand", [graph.constant(np.nan), shape])
    name = f"filled_{len(graph.nodes)}"
    graph.nodes.append(
        helper.make_node(
            "Scan",
            [begin, values],
            [f"{name}_last", name],
            body=helper.make_graph(body, "forward_fill", [last, step], [following, filled]),
            num_scan_inputs=1,
            scan_input_axes=[1],
            scan_output_axes=[1],
        )
    )
    if graph.memory:
        graph.memory.write_known("filled", graph.last_step(name, lengths, begin))
    return name


def _block_means(graph: Nodes, values: str, lengths: str, size: int, num_features: int) -> str:
    """The means of each `size` steps."""
    known = known_values(graph, values, graph.valid_steps(values, lengths))
    missing_steps = graph.add("Mod", [graph.add("Neg", [graph.num_steps(values)]), graph.constant([size])])
    pads = graph.add("Concat", [graph.constant([0, 0, 0, 0]), missing_steps, graph.constant([0])], axis=0)
    shape = graph.constant([0, -1, size, num_features])

    def sums(name: str) -> str:
        blocks = graph.add("Reshape", [graph.add("Pad", [name, pads]), shape])
        return graph.add("ReduceSum", [blocks, graph.constant([2])], keepdims=0)

    filled = graph.add("Where", [known, values, graph.constant(0.0)])
    return graph.add("Div", [sums(filled), sums(graph.number(known))])


def _differences(graph: Nodes, values: str, lengths: str, kind: str, num_features: int) -> str:
    if graph.memory:
        return _continued_differences(graph, graph.memory, values, lengths, kind, num_features)
    axis = graph.constant([1])
    last = graph.constant([np.iinfo(np.int64).max])
    later = graph.add("Slice", [values, graph.constant([1]), last, axis])
    earlier = graph.add("Slice", [values, graph.constant([0]), graph.constant([-1]), axis])
    return graph.add("Pad", [graph.add("Sub", [later, earlier]), graph.constant([0, 1, 0, 0, 0, 0])])


def _continued_differences(
    graph: Nodes, memory: Memory, values: str, lengths: str, kind: str, num_features: int
) -> str:
    """The same from the last step before; a sequence's first step has none."""
    begin, axis = memory.read_known(f"differences.{kind}", num_features), graph.constant([1])
    zero, one, end = (graph.constant([number]) for number in (0, 1, np.iinfo(np.int64).max))
    with_last = graph.add("Concat", [graph.add("Unsqueeze", [begin, axis]), values], axis=1)
    earlier = graph.add("Slice", [with_last, zero, graph.constant([-1]), axis])
    changes = graph.add("Sub", [values, earlier])
    has_started, _ = memory.has_started(lengths)
    first = graph.add("Slice", [changes, zero, one, axis])
    first = graph.add("Where", [graph.add("Unsqueeze", [has_started, axis]), first, graph.constant(0.0)])
    memory.write_known(f"differences.{kind}", graph.last_step(values, lengths, begin))
    return graph.add("Concat", [first, graph.add("Slice", [changes, one, end, axis])], axis=1)


def _value_range(graph: Nodes, values: str, lengths: str) -> tuple[str, str]:
    """Minimum and range of the known values of each sequence."""
    known = known_values(graph, values, graph.valid_steps(values, lengths))
    minimum = graph.add("ReduceMin", [graph.add("Where", [known, values, graph.constant(np.inf)])], axes=[1])
    maximum = graph.add("ReduceMax", [graph.add("Where", [known, values, graph.constant(-np.inf)])], axes=[1])
    size = graph.add("Sub", [maximum, minimum])
    zero = graph.constant(0.0)
    is_known = graph.add("GreaterOrEqual", [size, zero])
    minimum = graph.add("Where", [is_known, minimum, zero])
    return minimum, graph.add("Where", [graph.add("Greater", [size, zero]), size, graph.constant(1.0)])


def known_values(graph: Nodes, values: str, is_valid: str) -> str:
    """Return where a valid step has a value."""
    return graph.add("And", [graph.add("Not", [graph.add("IsNaN", [values])]), is_valid])


def _standardised(graph: Nodes, scaled: str, is_valid: str) -> str:
    known = known_values(graph, scaled, is_valid)
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
