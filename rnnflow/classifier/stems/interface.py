"""What a stem says about itself, and what it gets to say it with."""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float, Int64

from rnnflow.classifier.cells.interface import Graph, Weights

STATISTICS = (".running_mean", ".running_var")
"""Endings of parameters that are no weights: running moments of what a norm saw in training. They have no gradient and do
not decay; a training step moves them.
"""


class Stem(ABC):
    """What happens before the recurrent layers. It holds no parameters: whoever calls it does."""

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter by its name, in the order in which they lie in the flat vector."""

    def set_initial(self, weights: Weights) -> None:  # noqa: B027 - most weights stay as they are drawn
        """Set, in place, what does not begin as it is drawn."""

    @abstractmethod
    def num_averaged(self, name: str) -> int:
        """Return how many steps have become one where a parameter is multiplied with."""

    @abstractmethod
    def run(
        self, inputs: Float[Any, "batch time input"], lengths: Int64[Any, " batch"] | None, weights: Weights, is_training: bool
    ) -> tuple[Float[Any, "batch step channel"], Int64[Any, " batch"] | None, Float[Any, "batch skip"] | None]:  # fmt: skip
        """Return, as tensors, what the layers read, its lengths, and what the head reads beside the layers, if anything.

        Padding may hold any number.
        """

    @abstractmethod
    def add_to(self, graph: Graph, weights: Weights, inputs: str, lengths: str) -> tuple[str, str, str]:
        """Add the stem to an ONNX graph and return the names of the same three; the last is empty if there is nothing.

        Args:
            graph: is added to.
            weights: arrays.
            inputs: values (batch, time, input), whose padding holds any number.
            lengths: of the sequences, int64 (batch).
        """


def convolved(graph: Graph, inputs: str, is_valid: str, weight: Any, bias: Any) -> str:
    """Add a convolution that keeps the number of steps and sees zeros around the sequence; all is (batch, channel, time)."""
    half = weight.shape[2] // 2
    masked = graph.add("Where", [is_valid, inputs, graph.constant(0.0)])
    return graph.add("Conv", [masked, graph.constant(weight), graph.constant(bias)], pads=[half, half])
