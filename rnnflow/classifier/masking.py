"""Operations on padded tensors that read the valid steps of each sequence alone."""

import torch
from torch import Tensor
from torch.nn import functional

from rnnflow.runtime.array_types import Bool, Float, Int64

Valid = Int64[Tensor, " batch"] | None
"""Valid steps of each sequence, or none where every sequence fills the tensor."""


def valid_steps(
    lengths: Int64[Tensor, " batch"], inputs: Float[Tensor, "batch time feature"]
) -> Bool[Tensor, "batch time 1"]:
    """Return where `inputs` holds a step of its sequence and not padding."""
    return (torch.arange(inputs.shape[1], device=inputs.device) < lengths[:, None])[:, :, None]


def without_padding(inputs: Float[Tensor, "batch time feature"], lengths: Valid) -> Float[Tensor, "batch time feature"]:
    """Return the same with zeros in the padding."""
    return inputs if lengths is None else inputs.masked_fill(~valid_steps(lengths, inputs), 0.0)


def reverse(inputs: Float[Tensor, "batch time feature"], lengths: Valid) -> Float[Tensor, "batch time feature"]:
    """Return each sequence with its valid steps in reverse order; the padding stays where it is."""
    if lengths is None:
        return inputs.flip(1)
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    source = lengths[:, None] - 1 - steps
    source = torch.where(source < 0, steps, source)
    return inputs.gather(1, source[:, :, None].expand(-1, -1, inputs.shape[2]))


def pool(outputs: Float[Tensor, "batch time feature"], lengths: Valid, pooling: str) -> Float[Tensor, "batch pooled"]:
    """Return the mean, the maximum or both over the valid steps."""
    parts = []
    padding = None if lengths is None else ~valid_steps(lengths, outputs)
    if "mean" in pooling:
        summed = outputs.sum(1) if padding is None else outputs.masked_fill(padding, 0.0).sum(1)
        parts.append(summed / (outputs.shape[1] if lengths is None else lengths[:, None]))
    if "max" in pooling:
        parts.append((outputs if padding is None else outputs.masked_fill(padding, -torch.inf)).amax(1))
    return torch.cat(parts, dim=1)


def running_pool(outputs: Float[Tensor, "batch time feature"], pooling: str) -> Float[Tensor, "batch time pooled"]:
    """Return what `pool` gives for the steps up to each one."""
    parts = []
    if "mean" in pooling:
        counts = torch.arange(1, outputs.shape[1] + 1, device=outputs.device)[:, None]
        parts.append(outputs.cumsum(1) / counts)
    if "max" in pooling:
        parts.append(outputs.cummax(1).values)
    return torch.cat(parts, dim=2)


def block_means(
    inputs: Float[Tensor, "batch time feature"], lengths: Valid, size: int
) -> tuple[Float[Tensor, "batch block feature"], Valid]:
    """Return the mean of each `size` valid steps, of fewer in a sequence's last block, and the number of blocks."""
    if size == 1:
        return inputs, lengths
    num_steps = inputs.shape[1]
    whole = functional.pad(without_padding(inputs, lengths), (0, 0, 0, -num_steps % size))
    sums = whole.unflatten(1, (-1, size)).sum(2)
    first = size * torch.arange(sums.shape[1], device=inputs.device)
    ends = torch.full((1,), num_steps, device=inputs.device) if lengths is None else lengths
    counts = (ends[:, None] - first).clamp(1, size)[:, :, None]
    return sums / counts, None if lengths is None else -(-lengths // size)


def convolve(
    channels: Float[Tensor, "batch channel time"],
    weight: Float[Tensor, "other channel tap"],
    bias: Float[Tensor, " other"] | None,
    is_causal: bool,
) -> Float[Tensor, "batch other time"]:
    """Return a convolution of as many steps, which sees zeros around them: before them alone where it is causal."""
    size = weight.shape[2]
    if is_causal:
        return functional.conv1d(functional.pad(channels, (size - 1, 0)), weight, bias)
    return functional.conv1d(channels, weight, bias, padding=size // 2)


def moments(
    inputs: Float[Tensor, "batch time feature"], lengths: Valid
) -> tuple[Float[Tensor, " feature"], Float[Tensor, " feature"]]:
    """Return mean and variance of each feature over all valid steps of a batch."""
    count = inputs.shape[0] * inputs.shape[1] if lengths is None else lengths.sum()
    mean = without_padding(inputs, lengths).sum((0, 1)) / count
    return mean, without_padding(inputs - mean, lengths).square().sum((0, 1)) / count
