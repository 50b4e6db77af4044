"""Gated recurrent unit (Cho et al., 2014), in cuDNN's form: the reset gate multiplies the state's product."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnflow.classifier.cells.builtin import BuiltinCell
from rnnflow.classifier.cells.interface import Weights, chrono_bias


class GRU(BuiltinCell):
    """h_t = update_t * h_{t-1} + (1 - update_t) * candidate_t, where the candidate sees reset_t * (U h_{t-1} + c)."""

    gates = ("reset", "update", "candidate")
    onnx_gates = ("update", "reset", "candidate")
    onnx_operator = "GRU"
    onnx_attributes = {"linear_before_reset": 1}  # noqa: RUF012 - read only

    @property
    def torch_operator(self) -> Callable[..., Any]:
        """PyTorch's function behind the module of the same name."""
        import torch

        return torch.gru

    def set_biases(self, weights: Weights, rng: np.random.Generator, max_dependency: int | None) -> None:
        """Spread the memory of the units, if a longest dependency is given."""
        if max_dependency is not None:
            update_bias, state_bias = self.biases(weights, "update")
            update_bias[:], state_bias[:] = chrono_bias(max_dependency, len(update_bias), rng), 0.0


CELL = GRU()
