from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.classifier import parameters, stems
from rnnflow.classifier.layers import Stem
from rnnflow.classifier.masking import block_means
from rnnflow.params.models import ModelParams, MultiScaleStemParams
from tests import toys

STEM = MultiScaleStemParams(kind="multi_scale", kernel_sizes=[3, 5], channels=2, output_size=4, block_sizes=[2, 1, 3])
NUM_INPUTS = 3


def made(seed: int = 0) -> Stem:
    """A stem with random weights and norms."""
    torch.manual_seed(seed)
    stem = Stem(STEM, NUM_INPUTS)
    for weights in stem.parameters():
        weights.data.uniform_(0.5, 1.5) if weights.dim() == 1 else weights.data.normal_()
    return stem


def by_modules(stem: Stem, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What it computes in training, of one batch of equal lengths, by PyTorch's modules."""
    weights = dict(stem.named_parameters())

    def stage(index: int, values: torch.Tensor, *names: str) -> torch.Tensor:
        outputs = torch.cat([torch.conv1d(values, weights[name], padding="same") for name in names], 1)
        norm = torch.nn.BatchNorm1d(outputs.shape[1])
        norm.weight.data, norm.bias.data = weights[f"norms.{index}.weight"], weights[f"norms.{index}.bias"]
        found: torch.Tensor = norm(outputs).relu()
        return found

    def averaged(values: torch.Tensor, size: int) -> torch.Tensor:
        return torch.nn.functional.avg_pool1d(values, size, ceil_mode=True)

    outputs = averaged(stage(0, inputs.transpose(1, 2), "scales.0.weight", "scales.1.weight"), 2)
    outputs = stage(1, outputs, "convolution.weight")
    outputs = outputs + stage(2, outputs, "residual.weight")
    return averaged(outputs, 3).transpose(1, 2), torch.cat([outputs.mean(2), outputs.amax(2)], 1)


def test_it_is_what_pytorchs_modules_compute() -> None:
    inputs = torch.randn(4, 17, NUM_INPUTS)
    stem = made()
    outputs, lengths, skip = stem(inputs, None, True)
    expected, expected_skip = by_modules(stem, inputs)
    assert lengths is None
    assert skip is not None
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(skip, expected_skip, atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5), garbage=st.sampled_from([0.0, 1e6, -3.0]))
def test_padding_changes_neither_outputs_nor_gradients_nor_statistics(lengths: list[int], garbage: float) -> None:
    found: list[list[torch.Tensor]] = []
    sequences = [torch.from_numpy(each) for each in toys.random_sequences(lengths, NUM_INPUTS, missing=0.0)]
    for extra in (0, 5):
        stem = made()
        inputs = torch.full((len(lengths), max(lengths) + extra, NUM_INPUTS), garbage)
        for row, sequence in enumerate(sequences):
            inputs[row, : len(sequence)] = sequence
        outputs, num_steps, skip = stem(inputs, torch.tensor(lengths), True)
        assert num_steps is not None
        assert skip is not None
        assert num_steps.tolist() == [-(-length // 6) for length in lengths]
        valid = [steps[:count] for steps, count in zip(outputs, num_steps.tolist(), strict=True)]
        (torch.cat(valid).square().sum() + skip.square().sum()).backward()
        gradients = [each.grad for each in stem.parameters() if each.grad is not None]
        found.append([*valid, skip.detach(), *gradients, *stem.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_running_statistics_follow_the_batches_and_are_no_weights() -> None:
    stem = made()
    before = {name: each.detach().clone() for name, each in stem.named_parameters()}
    inputs = 5 + torch.randn(3, 20, NUM_INPUTS)
    stem(inputs, None, False)
    assert all(torch.equal(each, before[name]) for name, each in stem.named_parameters())
    stem(inputs, None, True)
    moved = {name for name, each in stem.named_parameters() if not torch.equal(each, before[name])}
    assert moved == {name for name in before if parameters.is_statistic(name)}
    convolved = torch.cat(
        [torch.conv1d(inputs.transpose(1, 2), before[f"scales.{index}.weight"], padding="same") for index in range(2)],
        1,
    )
    expected = 0.9 * before["norms.0.running_mean"] + 0.1 * convolved.mean((0, 2))
    torch.testing.assert_close(stem.get_parameter("norms.0.running_mean").detach(), expected, atol=1e-4, rtol=1e-4)


def test_one_valid_step_is_normed_to_the_bias() -> None:
    stem = made()
    outputs, _, skip = stem(torch.randn(1, 1, NUM_INPUTS), torch.tensor([1]), True)
    assert outputs.isfinite().all()
    assert skip is not None
    assert skip.isfinite().all()


def test_block_means_leave_padding_out() -> None:
    values = torch.tensor([[1.0, 3.0, 5.0, 9e9, 9e9]])[:, :, None]
    means, lengths = block_means(values, torch.tensor([3]), 2)
    assert lengths is not None
    assert lengths.tolist() == [2]
    assert means[0, :2, 0].tolist() == [2.0, 5.0]


def test_it_has_as_many_parameters_as_it_says_and_fewer_steps_behind_it() -> None:
    params = ModelParams(cell="lstm", bidirectional=True, pooling="mean_max", stem={"kind": "multi_scale"})  # type: ignore[arg-type]
    assert isinstance(params.stem, MultiScaleStemParams)
    assert 31_000 < parameters.count(parameters.shapes(params, 3, 6)) < 33_000
    assert params.num_layer_steps(320) == 40
    small = parameters.multiply_adds(params, 3, 6, 320)
    assert parameters.multiply_adds(params, 3, 6, 640) == pytest.approx(2 * small, rel=0.01)
    stage = stems.create(params.stem, 3)
    assert [stage.num_averaged(name) for name in ("scales.0.weight", "convolution.weight", "residual.weight")] == [
        1,
        2,
        4,
    ]


def test_fresh_norms_change_nothing() -> None:
    params = ModelParams(cell="gru", hidden_size=4, stem=STEM)
    fresh: dict[str, Any] = parameters.views(
        parameters.initial(params, 2, 2, np.random.default_rng(0)), parameters.shapes(params, 2, 2)
    )
    for index in range(3):
        norm = {name: fresh[f"stem.norms.{index}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
        assert {name: set(values.tolist()) for name, values in norm.items()} == {
            "weight": {1.0}, "bias": {0.0}, "running_mean": {0.0}, "running_var": {1.0}
        }  # fmt: skip
