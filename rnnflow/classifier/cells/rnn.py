"""Elman's network (Elman, 1990), with tanh."""

from collections.abc import Callable
from typing import Any

from rnnflow.classifier.cells.builtin import BuiltinCell


class RNN(BuiltinCell):
    """h_t = tanh(W x_t + b + U h_{t-1} + c)."""

    gates = ("state",)
    onnx_gates = gates
    onnx_operator = "RNN"

    @property
    def torch_operator(self) -> Callable[..., Any]:
        """PyTorch's function behind the module of the same name."""
        import torch

        return torch.rnn_tanh


CELL = RNN()
