"""Long short-term memory (Hochreiter and Schmidhuber, 1997; with forget gate: Gers et al., 2000)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnflow.classifier.cells.builtin import BuiltinCell
from rnnflow.classifier.cells.interface import Weights, chrono_bias


class LSTM(BuiltinCell):
    """c_t = forget_t * c_{t-1} + input_t * candidate_t and h_t = output_t * tanh(c_t)."""

    gates = ("input", "forget", "candidate", "output")
    onnx_gates = ("input", "output", "forget", "candidate")
    onnx_operator = "LSTM"
    num_states = 2

    @property
    def torch_operator(self) -> Callable[..., Any]:
        """PyTorch's function behind the module of the same name."""
        import torch

        return torch.lstm

    def set_biases(self, weights: Weights, rng: np.random.Generator, max_dependency: int | None) -> None:
        """Start the forget gate at 1 (Jozefowicz et al., 2015), or spread the memory of the units."""
        forget_bias, state_bias = self.biases(weights, "forget")
        state_bias[:] = 0.0
        if max_dependency is None:
            forget_bias[:] = 1.0
        else:
            forget_bias[:] = chrono_bias(max_dependency, len(forget_bias), rng)
            input_bias, state_bias = self.biases(weights, "input")
            input_bias[:], state_bias[:] = -forget_bias, 0.0


CELL = LSTM()
