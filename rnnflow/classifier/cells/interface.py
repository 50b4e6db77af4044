"""What a cell says about itself, and what it gets to say it with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from rnnflow.runtime.array_types import Float, Float32

Weights = Mapping[str, Any]
"""The parameters of a cell in one direction by their names: arrays of NumPy, or tensors in `run`."""


@runtime_checkable
class Graph(Protocol):
    """An ONNX graph under construction, whose values are known by name: implemented by `Nodes` in `export`."""

    def add(self, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output."""

    def add_many(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> list[str]:
        """Append a node with several outputs and return the names it gave them, which begin alike."""

    def constant(self, value: np.ndarray | float | list[int]) -> str:
        """Store a constant and return its name; a float becomes float32, a list int64."""

    def number(self, values: str) -> str:
        """Return `values`, flags or integers, as float32."""

    def num_steps(self, values: str) -> str:
        """Return the length of the axis time of `values` (batch, time, feature): int64 (1)."""

    def valid_steps(self, values: str, lengths: str) -> str:
        """Return where `values` (batch, time, feature) holds a step of its sequence: bool (batch, time, 1)."""


class Cell(ABC):
    """A recurrent cell. It holds no parameters: whoever calls it does."""

    drawn_by_hidden_size: ClassVar[bool] = False
    """Whether fresh parameters are uniform within ±1/√hidden_size; otherwise within ±1/√(number of their inputs)."""
    num_states: ClassVar[int] = 1
    """Vectors of hidden size that a step leaves to the next one, the first of which is what the layer puts out."""

    @abstractmethod
    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter by its name, in the order in which they lie in the flat vector."""

    def set_biases(  # noqa: B027 - most biases stay as they are drawn
        self, weights: Weights, rng: np.random.Generator, max_dependency: int | None
    ) -> None:
        """Set, in place, the fresh biases that decide how long a cell remembers; as drawn, unless a cell says more.

        Args:
            weights: fresh parameters.
            rng: the generator that they were drawn from.
            max_dependency: of chrono initialisation, in steps.
        """

    @abstractmethod
    def run(
        self, inputs: Float[Any, "batch time input"], weights: Weights, is_training: bool
    ) -> tuple[Float[Any, "batch time hidden"], Float[Any, "batch hidden"]]:
        """Return the state after every step and the one after the last, as tensors, beginning with zeros.

        A state depends on the steps up to it alone: padding stands behind the steps of a sequence.
        """

    @abstractmethod
    def add_to(
        self, graph: Graph, directions: Sequence[Weights], inputs: str, lengths: str, before: Sequence[str] = ()
    ) -> tuple[str, list[str]]:
        """Add a layer to an ONNX graph and return the names of what it puts out.

        The first is the state after every step (time, batch, direction * hidden), zero in the padding. The second has the
        states that each direction ends with (batch, direction * hidden): what the layer puts out last and, if there is a
        state before, all `num_states`. Padding may hold anything, NaN included. A length above the number of steps is an
        error when the graph runs.

        Args:
            graph: is added to.
            directions: parameters of one direction or of two; the second reads each sequence from its end.
            inputs: values (time, batch, input).
            lengths: of the sequences, int32 (batch); zero is allowed where there is a state before.
            before: the states (batch, hidden) that the one direction goes on from; zeros if there are none.
        """


def chrono_bias(max_dependency: int, hidden_size: int, rng: np.random.Generator) -> Float[np.ndarray, " hidden"]:
    """Return biases with which gates keep a state for up to so many steps (Tallec and Ollivier, 2018, section 2)."""
    return np.log(rng.uniform(1, max_dependency - 1, hidden_size))


def by_gate(values: Float32[np.ndarray, "..."], num_gates: int) -> Float32[np.ndarray, "gate ..."]:
    """Return a parameter as a view with the gates as its first axis."""
    return values.reshape(num_gates, -1, *values.shape[1:])
