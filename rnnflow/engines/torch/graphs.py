"""CUDA graphs of a training step: what a small model's kernels take is less than what it takes to launch them."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Shapes = tuple[tuple[str, torch.Size], ...]
Tensors = Mapping[str, Tensor]

NUM_WARM_UPS = 3
"""Calls before a capture, in which libraries choose their algorithms and take their memory, as PyTorch's guide has it."""
MAX_GRAPHS = 32
"""Each keeps the memory of its batch; shapes that come after so many others are computed as without graphs."""


class Graphs:
    """Calls a function of tensors on a GPU, for each set of shapes captured once and replayed from then on.

    Args:
        compute: returns a scalar, leaves everything else in tensors that stay where they are, and waits for nothing
            that a GPU computes.
    """

    def __init__(self, compute: Callable[..., Float[Tensor, ""]]) -> None:
        self._compute = compute
        self._graphs: dict[Shapes, _Graph] = {}

    def __call__(self, tensors: Tensors) -> Float[Tensor, ""]:
        """Return what the function returns for the tensors, which it gets by their names."""
        shapes = tuple((name, tensor.shape) for name, tensor in tensors.items())
        if shapes not in self._graphs:
            if len(self._graphs) == MAX_GRAPHS:
                return self._compute(**tensors)
            self._graphs[shapes] = _Graph(self._compute, tensors)
        return self._graphs[shapes].replay(tensors)


class _Graph:
    """One capture, with the tensors that it reads from and writes to."""

    def __init__(self, compute: Callable[..., Float[Tensor, ""]], tensors: Tensors) -> None:
        self._inputs = {name: tensor.clone() for name, tensor in tensors.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(NUM_WARM_UPS):
                compute(**self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = compute(**self._inputs)

    def replay(self, tensors: Tensors) -> Float[Tensor, ""]:
        for name, tensor in tensors.items():
            self._inputs[name].copy_(tensor)
        self._graph.replay()
        return self._output.clone()  # the next replay writes to the same place
