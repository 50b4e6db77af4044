"""Random changes of prepared batches, for training only; drawn from PyTorch's generator."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnflow.params import TrainParams
from rnnflow.preparation import Lengths


def augmented(
    prepared: Float[Tensor, "batch time feature"], lengths: Lengths, params: TrainParams, num_scaled: int
) -> tuple[Float[Tensor, "batch time feature"], Lengths]:
    """Return a batch after `random_crop`, `random_scale`, `jitter` and `time_mask` of the params.

    Args:
        prepared: a batch of prepared sequences, which stays as it is.
        lengths: their valid steps.
        params: the recipe.
        num_scaled: features that are scaled values; those after them say what was missing, and are only cropped and blanked.
    """
    if params.random_crop:
        prepared, lengths = cropped(prepared, lengths, params.random_crop)
    if params.random_scale:
        shape = (len(prepared), 1, num_scaled)
        factor = 1 + params.random_scale * torch.randn(shape, device=prepared.device)
        prepared = _with_scaled(prepared, prepared[:, :, :num_scaled] * factor)
    if params.jitter:
        scaled = prepared[:, :, :num_scaled]
        prepared = _with_scaled(prepared, scaled + params.jitter * torch.randn_like(scaled))
    if params.time_mask:
        prepared = time_masked(prepared, lengths, params.time_mask)
    return prepared, lengths


def cropped(
    prepared: Float[Tensor, "batch time feature"], lengths: Lengths, largest_share: float
) -> tuple[Float[Tensor, "batch time feature"], Int64[Tensor, " batch"]]:
    """Return sequences without up to a share of their steps, cut off both ends in a random proportion."""
    lengths = _valid(prepared, lengths)
    num_cut = _random_up_to((lengths * largest_share).long().minimum(lengths - 1))
    first = _random_up_to(num_cut)
    steps = first[:, None] + torch.arange(prepared.shape[1], device=prepared.device)
    steps = steps.clamp(max=prepared.shape[1] - 1)
    return prepared.gather(1, steps[:, :, None].expand_as(prepared)), lengths - num_cut


def time_masked(
    prepared: Float[Tensor, "batch time feature"], lengths: Lengths, largest_share: float
) -> Float[Tensor, "batch time feature"]:
    """Return sequences with zeros in one random stretch of up to a share of their steps."""
    lengths = _valid(prepared, lengths)
    num_blanked = _random_up_to((lengths * largest_share).long())
    first = _random_up_to(lengths - num_blanked)
    place = torch.arange(prepared.shape[1], device=prepared.device) - first[:, None]
    return prepared.masked_fill(((place >= 0) & (place < num_blanked[:, None]))[:, :, None], 0.0)


def _with_scaled(prepared: Tensor, scaled: Tensor) -> Tensor:
    """The features after the scaled ones stay."""
    num_scaled = scaled.shape[2]
    return scaled if num_scaled == prepared.shape[2] else torch.cat([scaled, prepared[:, :, num_scaled:]], dim=2)


def _valid(prepared: Tensor, lengths: Lengths) -> Tensor:
    return torch.full((len(prepared),), prepared.shape[1], device=prepared.device) if lengths is None else lengths


def _random_up_to(largest: Tensor) -> Tensor:
    """An integer from 0 to each of `largest`."""
    return (torch.rand(len(largest), dtype=torch.float64, device=largest.device) * (largest + 1)).long()
