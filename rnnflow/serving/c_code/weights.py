"""The weights of a plain classifier, taken out of its ONNX graph again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnflow.params.models import ModelParams
from rnnflow.runtime.array_types import Float32
from rnnflow.serving import plain_models


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
    def matrices(self) -> dict[str, np.ndarray]:
        """The weights that values are multiplied by, a row for each output, by their names in C."""
        of_layers = {
            f"{side}_{index}": layer[side] for index, layer in enumerate(self.layers) for side in ("inputs", "states")
        }
        return of_layers | {"head": self.head}

    @property
    def vectors(self) -> dict[str, np.ndarray]:
        """The other numbers."""
        biases = {f"biases_{index}": layer["biases"] for index, layer in enumerate(self.layers)}
        return {"offset": self.offset, "factor": self.factor, **biases, "head_bias": self.head_bias}

    @property
    def num_multiplied(self) -> int:
        """Multiply-adds of a step with its answer, by the products alone."""
        return sum(matrix.size for matrix in self.matrices.values())


def read(path: Path, params: ModelParams) -> Weights:
    """Return the weights of a file whose model has nothing between the values and the scaling, nor a stem."""
    of = plain_models.constants(path)
    layers = [
        {"inputs": of_inputs[0], "states": of_states[0], "biases": biases[0]}
        for of_inputs, of_states, biases in of[params.cell.upper()]
    ]
    ((head, head_bias),) = of["Gemm"]
    return Weights(of["Sub"][0][0], of["Mul"][0][0], layers, head, head_bias)
