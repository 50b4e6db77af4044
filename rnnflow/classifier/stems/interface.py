"""What a stem says about itself, and what it gets to say it with."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rnnflow.classifier.cells.interface import Graph, Weights
from rnnflow.runtime.array_types import Float, Int64

STATISTICS = (".running_mean", ".running_var")
"""Endings of parameters that are no weights: running moments of what a norm saw in training. They have no gradient and do
not decay; a training step moves them.
"""


@runtime_checkable
class Past(Protocol):
    """What a stem needs in a graph that goes on from the steps before: implemented by `StemMemory` in `export`."""

    def steps(self, name: str, values: str, lengths: str, num_steps: int, num_channels: int) -> str:
        """Return `values` (batch, time, channel) behind the last `num_steps` before them, zeros where there are none."""

    def block_means(self, name: str, values: str, lengths: str, size: int, num_channels: int) -> tuple[str, str]:
        """Return the means of blocks, the first of which may have begun before, and their number in each sequence."""

    def mean_and_max(self, values: str, lengths: str, num_channels: int) -> str:
        """Return both over all steps so far, of values that are not negative (batch, 2 * channel)."""


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
        self, inputs: Float[Any, "batch time input"], lengths: Int64[Any, " batch"] | None, weights: Weights,
        is_training: bool, by_step: bool = False,
    ) -> tuple[Float[Any, "batch step channel"], Int64[Any, " batch"] | None, Float[Any, "batch *step skip"] | None]:  # fmt: skip
        """Return, as tensors, what the layers read, its lengths, and what the head reads beside the layers, if anything.

        Padding may hold any number. With `by_step` the last is what the head reads after each step of the layers.
        """

    @abstractmethod
    def add_to(
        self, graph: Graph, weights: Weights, inputs: str, lengths: str, past: Past | None = None
    ) -> tuple[str, str, str]:
        """Add the stem to an ONNX graph and return the names of the same three; the last is empty if there is nothing.

        Args:
            graph: is added to.
            weights: arrays.
            inputs: values (batch, time, input), whose padding holds any number.
            lengths: of the sequences, int64 (batch).
            past: of these sequences, in a graph that goes on from it; a stem that sees later steps is never asked.
        """


def convolved(
    graph: Graph, inputs: str, lengths: str, convolutions: Sequence[tuple[np.ndarray, np.ndarray]], is_causal: bool,
    past: Past | None, name: str,
) -> str:  # fmt: skip
    """Add convolutions side by side, weight and bias of each, that see zeros around the sequence, and a ReLU."""
    read = graph.add("Where", [graph.valid_steps(inputs, lengths), inputs, graph.constant(0.0)])
    widest, num_channels = max(weight.shape[2] for weight, _ in convolutions), convolutions[0][0].shape[1]
    if past:
        read = past.steps(name, read, lengths, widest - 1, num_channels)
    channels = graph.add("Transpose", [read], perm=[0, 2, 1])
    outputs = []
    for weight, bias in convolutions:
        size, seen = weight.shape[2], channels
        if past and size < widest:
            bounds = [widest - size], [np.iinfo(np.int64).max], [2]
            seen = graph.add("Slice", [channels, *map(graph.constant, bounds)])
        pads = [0, 0] if past else [size - 1, 0] if is_causal else [size // 2, size // 2]
        outputs.append(graph.add("Conv", [seen, graph.constant(weight), graph.constant(bias)], pads=pads))
    together = graph.add("Concat", outputs, axis=1) if len(outputs) > 1 else outputs[0]
    return graph.add("Transpose", [graph.add("Relu", [together])], perm=[0, 2, 1])
