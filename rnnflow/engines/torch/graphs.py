"""CUDA graphs: what the kernels of a small model take is less than what it takes to launch them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rnnflow.runtime.array_types import Float

Shapes = tuple[tuple[str, torch.Size], ...]
Tensors = Mapping[str, Tensor]
Compute = Callable[..., Float[Tensor, ""]]

NUM_WARM_UPS = 3
"""Calls before a capture, in which libraries choose their algorithms and take their memory, as PyTorch's guide has it."""
MAX_GRAPHS = 32
"""Each keeps the memory of its batch; shapes that come after so many others are computed as without graphs."""


class Graphs:
    """Calls a function of tensors on a GPU, for each of the first shapes captured once and replayed from then on.

    Which shapes are replayed depends on which came first. That changes no bit, as far as a replay computes what a launch
    does: it is the same kernels.
    """

    def __init__(self) -> None:
        self._graphs: dict[Shapes, _Graph] = {}
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()  # one for all: of the graphs, one runs at a time

    def call(self, compute: Compute, tensors: Tensors) -> Float[Tensor, ""]:
        """Return what a function returns for tensors, which it gets by their names.

        Args:
            compute: the same at each call. It returns a scalar, leaves everything else in tensors that stay where they
                are, and waits for nothing that the GPU computes.
            tensors: on the GPU.
        """
        shapes = tuple((name, tensor.shape) for name, tensor in tensors.items())
        if shapes not in self._graphs:
            if len(self._graphs) == MAX_GRAPHS:
                return compute(**tensors)
            self._graphs[shapes] = _Graph(compute, tensors, self._stream, self._pool)
        return self._graphs[shapes].replay(tensors)


class _Graph:
    """One capture, with the tensors that it reads from and writes to."""

    def __init__(self, compute: Compute, tensors: Tensors, stream: torch.cuda.Stream, pool: Any) -> None:
        self._inputs = {name: tensor.clone() for name, tensor in tensors.items()}
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(NUM_WARM_UPS):
                compute(**self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=stream):
            self._output = compute(**self._inputs)

    def replay(self, tensors: Tensors) -> Float[Tensor, ""]:
        for name, tensor in tensors.items():
            self._inputs[name].copy_(tensor)
        self._graph.replay()
        return self._output.clone()  # the next replay writes to the same place
