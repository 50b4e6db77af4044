"""Minimal gated recurrent unit (Feng et al., 2024, "Were RNNs All We Needed?", section 3.1).

Its gates see the input alone, and so all of a sequence's gates are one product, and its states a linear recurrence, which
is solved for all steps together. This is the paper's plain form; the one in log-space (its appendix B) allows positive
states only.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnflow.classifier.cells.interface import Cell, Graph, Weights, by_gate, chrono_bias
from rnnflow.runtime.array_types import Float

GATES = ("update", "candidate")
"""In the order of their rows."""
States = Float[Any, "batch time hidden"]


class MinGRU(Cell):
    """h_t = (1 - update_t) * h_{t-1} + update_t * candidate_t, with update_t = sigmoid(W x_t + b), candidate_t = V x_t + c."""

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a linear layer, with a row per gate and unit."""
        rows = len(GATES) * hidden_size
        return {"weight": (rows, input_size), "bias": (rows,)}

    def set_biases(self, weights: Weights, rng: np.random.Generator, max_dependency: int | None) -> None:
        """Spread the memory of the units, if a longest dependency is given."""
        if max_dependency is not None:
            update_bias = by_gate(weights["bias"], len(GATES))[GATES.index("update")]
            update_bias[:] = -chrono_bias(max_dependency, len(update_bias), rng)  # what is kept is 1 - update

    def run(
        self,
        inputs: Float[Any, "batch time input"],
        weights: Weights,
        is_training: bool,  # noqa: ARG002 - of operators that keep more for the way back
    ) -> tuple[States, Float[Any, "batch hidden"]]:
        """Return the states, in float32 where the products are in bfloat16: there, 1 - 1/500 would be 1."""
        import torch
        from torch.nn import functional

        products = functional.linear(inputs, weights["weight"], weights["bias"])
        products = products.to(torch.promote_types(products.dtype, torch.float32))
        update, candidate = products.chunk(len(GATES), dim=2)
        outputs = recurrence((-update).sigmoid(), update.sigmoid() * candidate)
        return outputs, outputs[:, -1]

    def add_to(
        self, graph: Graph, directions: Sequence[Weights], inputs: str, lengths: str, before: Sequence[str] = ()
    ) -> tuple[str, list[str]]:
        """Add a scan for each direction. In the padding it keeps its state, which is zero before the first step."""
        valid = _valid_steps(graph, inputs, lengths)
        zero, one = graph.constant(0.0), graph.constant(1.0)
        outputs, finals = [], []
        for is_backward, weights in enumerate(directions):
            products = graph.add("MatMul", [inputs, graph.constant(weights["weight"].T)])
            products = graph.add("Add", [products, graph.constant(weights["bias"])])
            update, candidate = graph.add_many("Split", [products], list(GATES), axis=2)
            keep = graph.add("Sigmoid", [graph.add("Neg", [update])])
            add = graph.add("Mul", [graph.add("Sigmoid", [update]), candidate])
            gates = [graph.add("Where", [valid, keep, one]), graph.add("Where", [valid, add, zero])]
            begin = before[0] if before else _zeros(graph, gates[0], len(weights["bias"]) // len(GATES))
            steps, final = _scan(graph, gates, begin, len(weights["bias"]) // len(GATES), is_backward)
            outputs.append(graph.add("Where", [valid, steps, zero]))
            finals.append(final)
        if len(directions) == 1:
            return outputs[0], finals
        return graph.add("Concat", outputs, axis=2), [graph.add("Concat", finals, axis=1)]


CELL = MinGRU()


def recurrence(keep: States, add: States) -> States:
    """Return h_t = keep_t * h_{t-1} + add_t for all steps, from zeros on, by odd-even reduction (Blelloch, 1990).

    Two steps are one step of the same kind, whose solution is the state after every second step; the states between
    follow from it. For T steps that is work of order T in log2 T rounds, where a loop has T rounds.
    """
    import torch
    from torch.nn import functional

    num_steps = keep.shape[1]
    if num_steps == 1:
        return add
    if num_steps % 2:
        keep, add = (functional.pad(values, (0, 0, 0, 1)) for values in (keep, add))
    # Unbind and stack instead of slices: the gradient of a slice is a tensor of zeros as large as the whole.
    keep_first, keep_second = keep.unflatten(1, (-1, 2)).unbind(2)  # (batch, time / 2, hidden)
    add_first, add_second = add.unflatten(1, (-1, 2)).unbind(2)
    second = recurrence(keep_first * keep_second, torch.addcmul(add_second, keep_second, add_first))
    before = functional.pad(second[:, :-1], (0, 0, 1, 0))
    first = torch.addcmul(add_first, keep_first, before)
    return torch.stack([first, second], 2).flatten(1, 2)[:, :num_steps]


def _valid_steps(graph: Graph, inputs: str, lengths: str) -> str:
    """Return where there is a step of a sequence (time, batch, 1); a length above their number is out of bounds."""
    num_steps = graph.add("Squeeze", [graph.add("Shape", [inputs], start=0, end=1)])
    zero, one = (graph.add("Squeeze", [graph.constant([number])]) for number in (0, 1))
    allowed = graph.add("Range", [zero, graph.add("Add", [num_steps, one]), one])
    checked = graph.add("Gather", [allowed, lengths])  # the lengths themselves
    by_batch = graph.add("Transpose", [inputs], perm=[1, 0, 2])
    return graph.add("Transpose", [graph.valid_steps(by_batch, checked)], perm=[1, 0, 2])


def _zeros(graph: Graph, gate: str, hidden_size: int) -> str:
    """Return the state before the first step, for a gate (time, batch, hidden)."""
    batch = graph.add("Shape", [gate], start=1, end=2)
    shape = graph.add("Concat", [batch, graph.constant([hidden_size])], axis=0)
    return graph.add("Expand", [graph.constant(0.0), shape])


def _scan(graph: Graph, gates: list[str], begin: str, hidden_size: int, is_backward: int) -> tuple[str, str]:
    """Return the names of the state after every step (time, batch, hidden) and of the last (batch, hidden)."""
    from onnx import TensorProto, helper

    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", hidden_size])

    body = [
        helper.make_node("Mul", ["keep", "before"], ["kept"]),
        helper.make_node("Add", ["kept", "add"], ["after"]),
        helper.make_node("Identity", ["after"], ["step"]),
    ]
    final, steps = graph.add_many(
        "Scan",
        [begin, *gates],
        ["final", "steps"],
        body=helper.make_graph(
            body, "mingru", [value("before"), value("keep"), value("add")], [value("after"), value("step")]
        ),
        num_scan_inputs=2,
        scan_input_directions=[is_backward, is_backward],
        scan_output_directions=[is_backward],
    )
    return steps, final
