"""Nodes and constants of an ONNX graph under construction."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from rnnflow.export.memory import Memory


class Nodes:
    """Nodes in the order of their computation; values are known by name."""

    memory: Memory | None = None
    """Of the steps before, in a graph that goes on from them."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._valid_steps: dict[str, str] = {}

    def add(self, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def add_many(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> list[str]:
        """Append a node with several outputs and return the names it gave them, which begin alike."""
        names = [f"{operator.lower()}_{len(self.nodes)}_{output}" for output in outputs]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def constant(self, value: Tensor | np.ndarray | float | list[int]) -> str:
        """Store a constant and return its name; a float becomes float32, a list int64."""
        if isinstance(value, Tensor):
            array = value.detach().numpy()
        else:
            array = np.asarray(value, dtype=np.int64 if isinstance(value, list) else np.float32)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def drop_unused(self, outputs: list[str]) -> None:
        """Leave out what `outputs` do not depend on: onnxruntime would compute it at each call."""
        needed, kept = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        self.constants = [constant for constant in self.constants if constant.name in needed]

    def number(self, values: str) -> str:
        """Return `values`, flags or integers, as float32."""
        return self.add("Cast", [values], to=TensorProto.FLOAT)

    def num_steps(self, values: str) -> str:
        """Return the length of the axis time of `values` (batch, time, feature): int64 (1)."""
        return self.add("Shape", [values], start=1, end=2)

    def up_to(self, end: str) -> str:
        """Return the whole numbers from 0 to below `end`, int64 (1)."""
        return self.add(
            "Range", [self.add("Squeeze", [each]) for each in (self.constant([0]), end, self.constant([1]))]
        )

    def bounded_lengths(self, values: str, lengths: str) -> str:
        """Return `lengths`; one above the number of steps of `values` is out of bounds when the graph runs.

        Recurrent nodes look at that themselves, but not where the mean of several steps is one step of theirs.
        """
        allowed = self.up_to(self.add("Add", [self.num_steps(values), self.constant([1])]))
        return self.add("Gather", [allowed, lengths])

    def valid_steps(self, values: str, lengths: str) -> str:
        """Return where `values` (batch, time, feature) holds a step of its sequence: bool (batch, time, 1)."""
        if lengths not in self._valid_steps:
            steps = self.up_to(self.num_steps(values))
            column = self.add("Unsqueeze", [lengths, self.constant([1])])
            self._valid_steps[lengths] = self.add("Unsqueeze", [self.add("Less", [steps, column]), self.constant([2])])
        return self._valid_steps[lengths]

    def last_step(self, values: str, lengths: str, before: str) -> str:
        """Return the last valid step of `values` (batch, time, feature), and `before` (batch, feature) if there is none.

        A length above the number of steps is out of bounds when the graph runs.
        """
        axis = self.constant([1])
        with_before = self.add("Concat", [self.add("Unsqueeze", [before, axis]), values], axis=1)
        return self.add("GatherND", [with_before, self.add("Unsqueeze", [lengths, axis])], batch_dims=1)
