"""Convolutions of several sizes side by side, two more behind them, and block means between: shapes at many scales.

What InceptionTime (Ismail Fawaz and others, 2020) does for long series, small enough for a CPU, with a recurrent layer to
read the order of what was found. Batch norm (Ioffe and Szegedy, 2015) sees the valid steps alone.

    inputs → convolutions of each kernel size, side by side → norm, ReLU → block means
           → convolution of 9 steps                         → norm, ReLU → block means
           → + convolution of 5 steps, norm, ReLU           → block means → layers
                                                            → mean and maximum over time → head
"""

from functools import partial
from typing import Any

import numpy as np

from rnnflow.classifier.cells.interface import Graph, Weights
from rnnflow.classifier.stems.interface import Past, Stem, convolved
from rnnflow.params.models import MultiScaleStemParams
from rnnflow.runtime.array_types import Float, Int64

KERNEL_SIZE, RESIDUAL_KERNEL_SIZE = 9, 5
EPSILON = 1e-5
MOMENTUM = 0.1
"""Share of the batch at hand in the running moments, as in PyTorch."""


class MultiScale(Stem):
    """Three stages, of which the last is residual."""

    def __init__(self, params: MultiScaleStemParams, num_inputs: int) -> None:
        self.params = params
        self.num_inputs = num_inputs

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the convolutions, which have no biases because the norms have, and then the norms."""
        params = self.params
        first, size = params.channels * len(params.kernel_sizes), params.output_size
        found: dict[str, tuple[int, ...]] = {
            f"scales.{index}.weight": (params.channels, self.num_inputs, kernel_size)
            for index, kernel_size in enumerate(params.kernel_sizes)
        }
        found["convolution.weight"] = (size, first, KERNEL_SIZE)
        found["residual.weight"] = (size, size, RESIDUAL_KERNEL_SIZE)
        for index, channels in enumerate((first, size, size)):
            for name in ("weight", "bias", "running_mean", "running_var"):
                found[f"norms.{index}.{name}"] = (channels,)
        return found

    def set_initial(self, weights: Weights) -> None:
        """Let the norms begin as PyTorch's."""
        for name, values in weights.items():
            if name.startswith("norms."):
                values[...] = 1.0 if name.endswith(("weight", "running_var")) else 0.0

    def num_averaged(self, name: str) -> int:
        """Return the blocks before a stage."""
        stage = 1 if name.startswith("convolution.") else 2 if name.startswith("residual.") else 0
        return int(np.prod(self.params.block_sizes[:stage]))

    def run(
        self, inputs: Float[Any, "batch time input"], lengths: Int64[Any, " batch"] | None, weights: Weights,
        is_training: bool, by_step: bool = False,
    ) -> tuple[Float[Any, "batch step channel"], Int64[Any, " batch"] | None, Float[Any, "batch *step skip"]]:  # fmt: skip
        """Return block means of the last stage, their lengths, and mean and maximum of that stage over time."""
        import torch

        from rnnflow.classifier.masking import block_means, convolve, pool, running_pool, without_padding

        def stage(index: int, outputs: Any, lengths: Any, names: list[str]) -> Any:
            channels = without_padding(outputs, lengths).transpose(1, 2)
            causal = self.params.causal
            found = torch.cat([convolve(channels, weights[name], None, causal) for name in names], 1).transpose(1, 2)
            norm = {
                name: weights[f"norms.{index}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
            }
            return _normed(found.to(norm["weight"].dtype), lengths, norm, is_training).relu()

        first, second, third = self.params.block_sizes
        scales = [f"scales.{index}.weight" for index in range(len(self.params.kernel_sizes))]
        outputs, lengths = block_means(stage(0, inputs, lengths, scales), lengths, first)
        outputs, lengths = block_means(stage(1, outputs, lengths, ["convolution.weight"]), lengths, second)
        outputs = outputs + stage(2, outputs, lengths, ["residual.weight"])
        means, num_blocks = block_means(outputs, lengths, third)
        if not by_step:
            return means, num_blocks, pool(outputs, lengths, "mean_max")
        ends = third * torch.arange(1, means.shape[1] + 1, device=outputs.device)[None]
        ends = ends.clamp(max=outputs.shape[1]) if lengths is None else torch.minimum(ends, lengths[:, None])
        running = running_pool(outputs, "mean_max")
        return means, num_blocks, running.take_along_dim(ends[:, :, None] - 1, 1)

    def add_to(
        self, graph: Graph, weights: Weights, inputs: str, lengths: str, past: Past | None = None
    ) -> tuple[str, str, str]:
        """Add the same, with the norms folded into the convolutions."""
        means = past.block_means if past else partial(_block_mean_nodes, graph)
        first, second, third = self.params.block_sizes
        scales = [weights[f"scales.{index}.weight"] for index in range(len(self.params.kernel_sizes))]

        def stage(index: int, inputs: str, lengths: str, convolutions: list[np.ndarray]) -> str:
            folded = _folded(weights, index, convolutions)
            return convolved(graph, inputs, lengths, folded, self.params.causal, past, f"stages.{index}")

        outputs = stage(0, inputs, lengths, scales)
        num_channels, size = self.params.channels * len(scales), self.params.output_size
        outputs, lengths = means("blocks.0", outputs, lengths, first, num_channels)
        outputs = stage(1, outputs, lengths, [weights["convolution.weight"]])
        outputs, lengths = means("blocks.1", outputs, lengths, second, size)
        outputs = graph.add("Add", [outputs, stage(2, outputs, lengths, [weights["residual.weight"]])])
        skip = past.mean_and_max(outputs, lengths, size) if past else _mean_and_max_nodes(graph, outputs, lengths)
        return *means("blocks.2", outputs, lengths, third, size), skip


def _normed(
    inputs: Float[Any, "batch time channel"], lengths: Int64[Any, " batch"] | None, norm: Weights, is_training: bool
) -> Float[Any, "batch time channel"]:
    """Return a batch by its own moments in training, which the running ones then follow, and by those otherwise."""
    import torch

    from rnnflow.classifier.masking import moments

    mean, variance = norm["running_mean"], norm["running_var"]
    if is_training:
        mean, variance = moments(inputs, lengths)
        with torch.no_grad():
            norm["running_mean"].lerp_(mean, MOMENTUM)
            norm["running_var"].lerp_(variance, MOMENTUM)
    return (inputs - mean) * (norm["weight"] * torch.rsqrt(variance + EPSILON)) + norm["bias"]


Folded = list[tuple[np.ndarray, np.ndarray]]
"""Convolutions side by side, weight and bias of each, that need no norm."""


def _folded(weights: Weights, index: int, convolutions: list[np.ndarray]) -> Folded:
    norm = {
        name: weights[f"norms.{index}.{name}"].astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    factor = norm["weight"] / np.sqrt(norm["running_var"] + EPSILON)
    bias = norm["bias"] - norm["running_mean"] * factor
    ends = np.cumsum([len(weight) for weight in convolutions])[:-1]
    return [
        ((weight * by[:, None, None]).astype(np.float32), to.astype(np.float32))
        for weight, by, to in zip(convolutions, np.split(factor, ends), np.split(bias, ends), strict=True)
    ]


def _block_mean_nodes(graph: Graph, _: str, inputs: str, lengths: str, size: int, num_channels: int) -> tuple[str, str]:
    if size == 1:
        return inputs, lengths
    is_valid = graph.valid_steps(inputs, lengths)
    missing_steps = graph.add("Mod", [graph.add("Neg", [graph.num_steps(inputs)]), graph.constant([size])])
    pads = graph.add("Concat", [graph.constant([0, 0, 0, 0]), missing_steps, graph.constant([0])], axis=0)

    def sums(name: str, width: int) -> str:
        blocks = graph.add("Reshape", [graph.add("Pad", [name, pads]), graph.constant([0, -1, size, width])])
        return graph.add("ReduceSum", [blocks, graph.constant([2])], keepdims=0)

    filled = graph.add("Where", [is_valid, inputs, graph.constant(0.0)])
    counts = graph.add("Max", [sums(graph.number(is_valid), 1), graph.constant(1.0)])
    num_blocks = graph.add("Div", [graph.add("Add", [lengths, graph.constant([size - 1])]), graph.constant([size])])
    return graph.add("Div", [sums(filled, num_channels), counts]), num_blocks


def _mean_and_max_nodes(graph: Graph, inputs: str, lengths: str) -> str:
    is_valid = graph.valid_steps(inputs, lengths)
    filled = graph.add("Where", [is_valid, inputs, graph.constant(0.0)])
    summed = graph.add("ReduceSum", [filled, graph.constant([1])], keepdims=0)
    counts = graph.add("Unsqueeze", [graph.number(lengths), graph.constant([1])])
    masked = graph.add("Where", [is_valid, inputs, graph.constant(-np.inf)])
    return graph.add(
        "Concat", [graph.add("Div", [summed, counts]), graph.add("ReduceMax", [masked], axes=[1], keepdims=0)], axis=1
    )


STEM = MultiScale
