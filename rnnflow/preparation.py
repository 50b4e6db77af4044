"""What becomes of raw steps before the first layer: missing values, downsampling, differences, scaling.

Shapes: B batch, T time, F feature as given, P feature as prepared.
"""

from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from rnnflow.params import ModelParams

Lengths = Int64[Tensor, " batch"] | None
"""Valid steps of each sequence, or none where every sequence fills the tensor."""

Numbers = TypeVar("Numbers", Tensor, np.ndarray)

SEQUENCE_VARIANCE_FLOOR = 1e-4
"""In units of the train split's variance: a sequence that varies less counts as constant."""


class Preparation(nn.Module):
    """Fills, downsamples, differentiates and scales sequences, as `missing` to `differences` of the params say.

    Its buffers hold mean and deviation of the features, and after them of their differences.

    Args:
        params: the architecture.
        num_features: features of a raw time step.
    """

    mean: Tensor
    inverse_deviation: Tensor

    def __init__(self, params: ModelParams, num_features: int) -> None:
        super().__init__()
        self.params = params
        self.num_features = num_features
        self.num_scaled = 2 * num_features if params.differences else num_features
        self.num_outputs = self.num_scaled + (num_features if params.missing == "mask" else 0)
        self.register_buffer("mean", torch.zeros(self.num_scaled))
        self.register_buffer("inverse_deviation", torch.ones(self.num_scaled))

    def forward(
        self, sequences: Float[Tensor, "batch time feature"], lengths: Lengths
    ) -> tuple[Float[Tensor, "batch step prepared"], Lengths]:
        """Return the prepared sequences, zero in the padding, and their lengths.

        The mean goes off first: what has a large one would lose its last digits in the sums of the blocks.
        """
        centred, lengths = self.derive(sequences - self.mean[: self.num_features], lengths)
        if self.params.differences:
            centred = centred - functional.pad(self.mean[self.num_features :], (self.num_features, 0))
        scaled = centred * self.inverse_deviation
        missing = scaled.isnan()
        if lengths is not None:
            missing |= ~valid_steps(lengths, scaled)
        if self.params.scaling == "sequence":
            scaled = _standardised(scaled, missing)
        else:
            scaled = scaled.masked_fill(missing, 0.0)
        if self.params.missing == "mask":
            scaled = torch.cat([scaled, (~missing[:, :, : self.num_features]).to(scaled.dtype)], dim=2)
        return scaled, lengths

    @property
    def derives(self) -> bool:
        """Whether the features to be scaled are others than the raw ones."""
        return self.params.missing == "forward_fill" or self.params.downsampling > 1 or self.params.differences

    def derive(
        self, sequences: Float[Tensor, "batch time feature"], lengths: Lengths
    ) -> tuple[Float[Tensor, "batch step scaled"], Lengths]:
        """Return the features to be scaled, NaN where they are missing and anything in the padding."""
        if self.params.missing == "forward_fill":
            sequences = forward_filled(sequences)
        if self.params.downsampling > 1:
            sequences = block_means(sequences, lengths, self.params.downsampling)
            lengths = None if lengths is None else self.num_steps(lengths)
        if self.params.differences:
            changes = functional.pad(sequences[:, 1:] - sequences[:, :-1], (0, 0, 1, 0))
            sequences = torch.cat([sequences, changes], dim=2)
        return sequences, lengths

    def num_steps(self, lengths: Numbers) -> Numbers:
        """Return how many steps are left of so many."""
        return -(-lengths // self.params.downsampling)

    def refused(self, sequences: Float[Tensor, "batch time feature"], lengths: Lengths) -> Bool[Tensor, "batch 1"]:
        """Return which sequences miss a value in a valid step."""
        missing = sequences.isnan()
        if lengths is not None:
            missing &= valid_steps(lengths, sequences)
        return missing.any(2).any(1, keepdim=True)


def forward_filled(sequences: Float[Tensor, "batch time feature"]) -> Float[Tensor, "batch time feature"]:
    """Return the last known value in the place of each missing one; before the first, they stay missing."""
    steps = torch.arange(sequences.shape[1], device=sequences.device)[:, None]
    last_known = steps.where(~sequences.isnan(), 0).cummax(1).values
    return sequences.gather(1, last_known)


def block_means(
    sequences: Float[Tensor, "batch time feature"], lengths: Lengths, size: int
) -> Float[Tensor, "batch block feature"]:
    """Return the mean of the known values of each `size` steps, the last block may have fewer; NaN where none is known."""
    known = ~sequences.isnan()
    if lengths is not None:
        known &= valid_steps(lengths, sequences)
    missing_steps = -sequences.shape[1] % size

    def sums(values: Tensor) -> Tensor:
        return functional.pad(values, (0, 0, 0, missing_steps)).unflatten(1, (-1, size)).sum(2)

    return sums(sequences.masked_fill(~known, 0.0)) / sums(known)


def valid_steps(
    lengths: Int64[Tensor, " batch"], inputs: Float[Tensor, "batch time feature"]
) -> Bool[Tensor, "batch time 1"]:
    """Return where `inputs` holds a step of its sequence and not padding."""
    return (torch.arange(inputs.shape[1], device=inputs.device) < lengths[:, None])[:, :, None]


def _standardised(scaled: Tensor, missing: Tensor) -> Tensor:
    """Each feature over the known values of each sequence, zero elsewhere."""
    count = (~missing).sum(1, keepdim=True).clamp(min=1)
    centred = scaled.masked_fill(missing, 0.0)
    centred = (centred - centred.sum(1, keepdim=True) / count).masked_fill(missing, 0.0)
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + SEQUENCE_VARIANCE_FLOOR).sqrt()
