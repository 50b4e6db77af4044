"""What a streaming graph keeps between its calls: named parts of one flat tensor, which is zero before the first step.

Everything that depends on earlier steps is in it, and whoever calls the graph has nothing else to carry.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
from onnx import helper

from rnnflow.classifier.cells.interface import Graph

STATE, NEW_STATE = "state", "new_state"


class Memory:
    """The parts of the state of a graph under construction, in the order in which they are first asked for."""

    def __init__(self, graph: Graph) -> None:
        self.sizes: dict[str, int] = {}
        """Numbers of each part, by its name: the layout of the state."""
        self._graph = graph
        self._written: dict[str, str] = {}
        self.is_ahead = False
        """Whether the graph looks at steps that are not complete."""
        self._prefix = ""

    @contextmanager
    def named(self, prefix: str) -> Iterator[None]:
        """Let the names of the parts begin so: what is like another's is kept apart from it."""
        before, self._prefix = self._prefix, self._prefix + prefix
        yield
        self._prefix = before

    def read(self, name: str, size: int) -> str:
        """Return a part, (batch, size), as the steps before left it."""
        name = self._prefix + name
        if self.is_ahead and name in self._written:
            return self._written[name]
        self.sizes[name] = size
        return f"before.{name}"

    def write(self, name: str, value: str) -> None:
        """Leave a part to the steps that follow."""
        if not self.is_ahead:
            self._written[self._prefix + name] = value

    def read_known(self, name: str, size: int) -> str:
        """Return values that `write_known` left, NaN where none is known, as before the first step."""
        known = self._graph.add("Cast", [self.read(f"{name}.known", size)], to=_BOOL)
        return self._graph.add("Where", [known, self.read(name, size), self._graph.constant(np.nan)])

    def write_known(self, name: str, values: str) -> None:
        """Leave values of which some are NaN; in the state itself every number is finite."""
        missing = self._graph.add("IsNaN", [values])
        self.write(f"{name}.known", self._graph.number(self._graph.add("Not", [missing])))
        self.write(name, self._graph.add("Where", [missing, self._graph.constant(0.0), values]))

    def has_started(self, lengths: str, name: str = "started") -> tuple[str, str]:
        """Return whether there was a step before, and whether there is one now: bool (batch, 1)."""
        before = self._graph.add("Cast", [self.read(name, 1)], to=_BOOL)
        has_steps = self._graph.add("Greater", [lengths, self._graph.constant([0])])
        now = self._graph.add("Or", [before, self._graph.add("Unsqueeze", [has_steps, self._graph.constant([1])])])
        self.write(name, self._graph.number(now))
        return before, now

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Look at steps that are not complete: they go on from what was written, and what they would leave is dropped."""
        self.is_ahead = True
        yield
        self.is_ahead = False

    def finish(self) -> onnx.NodeProto:
        """Put the new state together, behind the last node, and return the node that takes the old one apart."""
        assert self.sizes.keys() == self._written.keys()
        graph, names = self._graph, list(self.sizes)
        if len(names) == 1:  # which onnxruntime then leaves out
            graph.add("Identity", [self._written[names[0]]], output=NEW_STATE)
            return helper.make_node("Identity", [STATE], [f"before.{names[0]}"])
        sizes = graph.constant(list(self.sizes.values()))
        graph.add("Concat", [self._written[name] for name in names], output=NEW_STATE, axis=1)
        return helper.make_node("Split", [STATE, sizes], [f"before.{name}" for name in names], axis=1)


_BOOL = helper.np_dtype_to_tensor_dtype(np.dtype(bool))
