"""What the cells have in common that are operators of both PyTorch and ONNX: RNN, LSTM and GRU."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from rnnflow.classifier.cells.interface import Cell, Graph, Weights, by_gate
from rnnflow.runtime.array_types import Float, Float32


class BuiltinCell(Cell):
    """A cell with weights and biases of the input and of the state, which have a row per gate and unit."""

    gates: ClassVar[tuple[str, ...]]
    """In PyTorch's order, which is that of the rows."""
    onnx_gates: ClassVar[tuple[str, ...]]
    """The same in ONNX's order."""
    onnx_operator: ClassVar[str]
    onnx_attributes: ClassVar[Mapping[str, Any]] = {}
    drawn_by_hidden_size = True  # as PyTorch's modules are

    @property
    @abstractmethod
    def torch_operator(self) -> Callable[..., Any]:
        """PyTorch's function behind the module of the same name."""

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Return PyTorch's names and shapes."""
        rows = len(self.gates) * hidden_size
        return {
            "weight_ih_l0": (rows, input_size),
            "weight_hh_l0": (rows, hidden_size),
            "bias_ih_l0": (rows,),
            "bias_hh_l0": (rows,),
        }

    def biases(
        self, weights: Weights, gate: str
    ) -> tuple[Float32[np.ndarray, " hidden"], Float32[np.ndarray, " hidden"]]:
        """Return the two biases of a gate, of the input and of the state, as views."""
        place = self.gates.index(gate)
        input_bias, state_bias = (by_gate(weights[f"bias_{side}_l0"], len(self.gates)) for side in ("ih", "hh"))
        return input_bias[place], state_bias[place]

    def run(
        self, inputs: Float[Any, "batch time input"], weights: Weights, is_training: bool
    ) -> tuple[Float[Any, "batch time hidden"], Float[Any, "batch hidden"]]:
        """Return the outputs of PyTorch's operator."""
        state = inputs.new_zeros(1, len(inputs), weights["weight_hh_l0"].shape[1])
        begin = state if self.num_states == 1 else (state,) * self.num_states
        outputs, final, *_ = self.torch_operator(
            inputs, begin, list(weights.values()), True, 1, 0.0, is_training, False, True
        )
        return outputs, final[0]

    def add_to(
        self, graph: Graph, directions: Sequence[Weights], inputs: str, lengths: str, before: Sequence[str] = ()
    ) -> tuple[str, list[str]]:
        """Add ONNX's operator, which leaves zeros in the padding and checks the lengths by itself."""
        hidden_size = directions[0]["weight_hh_l0"].shape[1]
        stacked = [np.stack(arrays) for arrays in zip(*(self._in_onnx_order(each) for each in directions), strict=True)]
        by_direction = [graph.add("Unsqueeze", [state, graph.constant([0])]) for state in before]
        steps, *states = graph.add_many(
            self.onnx_operator,
            [inputs, *(graph.constant(array) for array in stacked), lengths, *by_direction],
            ["steps", "final", "cell"][: 1 + max(1, len(before))],
            hidden_size=hidden_size,
            direction="bidirectional" if len(directions) == 2 else "forward",
            **self.onnx_attributes,
        )
        by_batch = graph.add("Transpose", [steps], perm=[0, 2, 1, 3])  # (time, batch, direction, hidden)
        outputs = graph.add("Reshape", [by_batch, graph.constant([0, 0, -1])])
        if before:
            return outputs, _after(graph, states, before, lengths)
        final = graph.add("Transpose", [states[0]], perm=[1, 0, 2])  # (batch, direction, hidden)
        return outputs, [graph.add("Reshape", [final, graph.constant([0, -1])])]

    def _in_onnx_order(self, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the input's weights, the state's, and both biases one after the other."""

        def reordered(name: str) -> np.ndarray:
            rows = by_gate(weights[name], len(self.gates))
            return np.concatenate([rows[self.gates.index(gate)] for gate in self.onnx_gates])

        biases = np.concatenate([reordered("bias_ih_l0"), reordered("bias_hh_l0")])
        return reordered("weight_ih_l0"), reordered("weight_hh_l0"), biases


def _after(graph: Graph, states: Sequence[str], before: Sequence[str], lengths: str) -> list[str]:
    """Return the states (batch, hidden) after the steps: onnxruntime's operators give zeros where there was no step."""
    steps = graph.add("Unsqueeze", [graph.number(lengths), graph.constant([1])])
    has_steps = graph.add("Greater", [steps, graph.constant(0.0)])
    by_batch = [graph.add("Squeeze", [state, graph.constant([0])]) for state in states]
    return [graph.add("Where", [has_steps, *pair]) for pair in zip(by_batch, before, strict=True)]
