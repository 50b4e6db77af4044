"""The weights of a plain classifier, taken out of its ONNX graph again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from jaxtyping import Float32
from onnx import numpy_helper

from rnnflow.params.models import ModelParams


@dataclass(frozen=True)
class Weights:
    """All numbers of a classifier that needs no more: one kind of scaling over the train split, cells, head."""

    offset: Float32[np.ndarray, " feature"]
    factor: Float32[np.ndarray, " feature"]
    layers: list[dict[str, np.ndarray]]
    """`inputs` (gate * hidden, input), `states` (gate * hidden, hidden), `biases` (2 * gate * hidden), in ONNX's order."""
    head: Float32[np.ndarray, "class pooled"]
    head_bias: Float32[np.ndarray, " class"]

    @property
    def num_numbers(self) -> int:
        """Numbers in all."""
        of_layers = sum(array.size for layer in self.layers for array in layer.values())
        return of_layers + sum(each.size for each in (self.offset, self.factor, self.head, self.head_bias))

    @property
    def num_multiplied(self) -> int:
        """Multiply-adds of a step with its answer, by the products alone."""
        return sum(layer["inputs"].size + layer["states"].size for layer in self.layers) + self.head.size


def read(path: Path, params: ModelParams) -> Weights:
    """Return the weights of a file whose model has nothing between the values and the scaling, nor a stem."""
    graph = onnx.load(path).graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}

    def inputs(operator: str) -> list[list[np.ndarray]]:
        nodes = [node for node in graph.node if node.op_type == operator]
        return [[constants[name] for name in node.input if name in constants] for node in nodes]

    layers = [
        {"inputs": of_inputs[0], "states": of_states[0], "biases": biases[0]}
        for of_inputs, of_states, biases in inputs(params.cell.upper())
    ]
    ((head, head_bias),) = inputs("Gemm")
    return Weights(inputs("Sub")[0][0], inputs("Mul")[0][0], layers, head, head_bias)
