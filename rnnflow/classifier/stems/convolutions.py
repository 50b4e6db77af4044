"""Convolutions over time, each followed by a ReLU. They see zeros around the sequence, and keep its length."""

from itertools import pairwise
from typing import Any

from rnnflow.classifier.cells.interface import Graph, Weights
from rnnflow.classifier.stems.interface import Past, Stem, convolved
from rnnflow.params.models import StemParams
from rnnflow.runtime.array_types import Float, Int64


class Convolutions(Stem):
    """One convolution after another."""

    def __init__(self, params: StemParams, num_inputs: int) -> None:
        self.params = params
        self.sizes = [num_inputs, *[params.channels] * params.num_layers]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return PyTorch's names and shapes."""
        found: dict[str, tuple[int, ...]] = {}
        for index, (before, after) in enumerate(pairwise(self.sizes)):
            found[f"convolutions.{index}.weight"] = (after, before, self.params.kernel_size)
            found[f"convolutions.{index}.bias"] = (after,)
        return found

    def num_averaged(self, name: str) -> int:  # noqa: ARG002
        """Return one."""
        return 1

    def run(
        self, inputs: Float[Any, "batch time input"], lengths: Int64[Any, " batch"] | None, weights: Weights,
        is_training: bool, by_step: bool = False,  # noqa: ARG002
    ) -> tuple[Float[Any, "batch time channel"], Int64[Any, " batch"] | None, None]:  # fmt: skip
        """Return what the last convolution puts out."""
        from rnnflow.classifier.masking import convolve, valid_steps

        outputs = inputs.transpose(1, 2)
        is_padding = None if lengths is None else ~valid_steps(lengths, inputs).transpose(1, 2)
        for index in range(self.params.num_layers):
            if is_padding is not None:
                outputs = outputs.masked_fill(is_padding, 0.0)
            weight, bias = (weights[f"convolutions.{index}.{name}"] for name in ("weight", "bias"))
            outputs = convolve(outputs, weight, bias, self.params.causal).relu()
        return outputs.transpose(1, 2), lengths, None

    def add_to(
        self, graph: Graph, weights: Weights, inputs: str, lengths: str, past: Past | None = None
    ) -> tuple[str, str, str]:
        """Add the same convolutions."""
        outputs = inputs
        for index in range(self.params.num_layers):
            weight, bias = (weights[f"convolutions.{index}.{name}"] for name in ("weight", "bias"))
            name = f"convolutions.{index}"
            outputs = convolved(graph, outputs, lengths, [(weight, bias)], self.params.causal, past, name)
        return outputs, lengths, ""


STEM = Convolutions
