import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.params import ModelParams, Scaling
from rnnflow.preparation import Lengths, Preparation, block_means, forward_filled
from tests import toys

NAN = math.nan


def preparation(num_features: int = 1, seed: int | None = None, **params: object) -> Preparation:
    """Return a preparation that scales by 0 and 1, or with a seed by random figures."""
    made = Preparation(ModelParams.model_validate({"cell": "gru"} | params), num_features)
    if seed is not None and made.params.scaling != "none":
        generator = torch.Generator().manual_seed(seed)
        made.mean.normal_(generator=generator)
        made.inverse_deviation.uniform_(0.5, 2, generator=generator)
    return made


def steps(*values: float) -> torch.Tensor:
    """Return one sequence of one feature."""
    return torch.tensor(values, dtype=torch.float32)[None, :, None]


def prepared(made: Preparation, sequences: torch.Tensor, lengths: Lengths = None) -> list[list[float]]:
    """Return the steps of the first sequence."""
    features: list[list[float]] = made(sequences, lengths)[0][0].tolist()
    return features


def by_hand(made: Preparation, sequence: np.ndarray) -> np.ndarray:
    """Return what the preparation should make of one sequence, value by value in float64."""
    params, num_features = made.params, sequence.shape[1]
    values = [[float(value) for value in step] for step in sequence]
    if params.missing == "forward_fill":
        for step, before in zip(values[1:], values[:-1], strict=True):
            step[:] = [last if math.isnan(value) else value for value, last in zip(step, before, strict=True)]
    blocks = [values[start : start + params.downsampling] for start in range(0, len(values), params.downsampling)]
    known = [[[step[f] for step in block if not math.isnan(step[f])] for f in range(num_features)] for block in blocks]
    means = [[sum(column) / len(column) if column else NAN for column in block] for block in known]
    rows = []
    for index, step in enumerate(means):
        changes = [0.0] * num_features if not index else np.subtract(step, means[index - 1]).tolist()
        rows.append([*step, *changes] if params.differences else step)
    scaled = (np.array(rows) - made.mean.double().numpy()) * made.inverse_deviation.double().numpy()
    if params.scaling == "sequence":
        for column in scaled.T:
            there = column[~np.isnan(column)]
            column[:] = (column - there.mean() if len(there) else NAN) / np.sqrt(
                (there.var() if len(there) else 0) + 1e-4
            )
    flags = [[0.0 if math.isnan(value) else 1.0 for value in step] for step in means]
    return np.concatenate([np.nan_to_num(scaled, nan=0.0), *([np.array(flags)] if params.missing == "mask" else [])], 1)


@settings(deadline=None, max_examples=150)
@given(
    params=toys.preparations(),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    garbage=st.sampled_from([np.nan, np.inf, -np.inf, 1e9]),
    missing=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    seed=st.integers(0, 99),
)
def test_it_does_what_is_done_by_hand_to_each_sequence_and_leaves_zeros_in_the_padding(
    params: dict[str, object], lengths: list[int], garbage: float, missing: float, seed: int
) -> None:
    made = preparation(num_features=2, seed=seed, **params)
    sequences = toys.random_sequences(lengths, seed=seed, missing=missing)
    array, valid = toys.padded(sequences, max(lengths) + seed % 3, garbage)
    together, num_steps = made(torch.from_numpy(array), torch.from_numpy(valid))
    assert together.shape[2] == made.num_outputs
    assert num_steps.tolist() == [math.ceil(length / made.params.downsampling) for length in lengths]
    for row, sequence in enumerate(sequences):
        expected = by_hand(made, sequence)
        np.testing.assert_allclose(together[row, : len(expected)].numpy(), expected, atol=1e-4, rtol=1e-4)
        assert not together[row, len(expected) :].any()
        alone, length = made(torch.from_numpy(sequence[None]), None)
        assert length is None
        np.testing.assert_allclose(alone[0].numpy(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("zero", [[0], [3], [0], [0], [5]]),
        ("refuse", [[0], [3], [0], [0], [5]]),
        ("forward_fill", [[0], [3], [3], [3], [5]]),
        ("mask", [[0, 0], [3, 1], [0, 0], [0, 0], [5, 1]]),
    ],
)
def test_each_policy_has_its_answer_to_a_missing_value(missing: str, expected: list[list[float]]) -> None:
    assert prepared(preparation(missing=missing), steps(NAN, 3, NAN, NAN, 5)) == expected


def test_scaling_standardises_each_feature_and_puts_the_mean_for_what_is_missing() -> None:
    made = preparation(num_features=2)
    made.mean.copy_(torch.tensor([10.0, -1.0]))
    made.inverse_deviation.copy_(torch.tensor([0.5, 2.0]))
    sequences = torch.tensor([[[12.0, -1.5], [NAN, 0.0], [NAN, 1e9]]])
    assert prepared(made, sequences, torch.tensor([2])) == [[1, -1], [0, 2], [0, 0]]


def test_what_is_filled_forward_is_scaled_and_what_came_before_is_the_mean() -> None:
    made = preparation(missing="forward_fill")
    made.mean.fill_(1.0)
    assert prepared(made, steps(NAN, 3, NAN)) == [[0], [2], [2]]


def test_each_feature_and_each_sequence_is_filled_from_itself() -> None:
    sequences = torch.tensor([[[NAN, 1.0], [2.0, NAN]], [[NAN, NAN], [NAN, 5.0]]])
    expected = torch.tensor([[[NAN, 1.0], [2.0, 1.0]], [[NAN, NAN], [NAN, 5.0]]])
    torch.testing.assert_close(forward_filled(sequences), expected, equal_nan=True)


def test_a_block_is_the_mean_of_its_known_valid_steps_and_missing_without_any() -> None:
    sequences = torch.cat([steps(1, 3, NAN, 4, 9), steps(NAN, NAN, 2, 100, 100)])
    expected = torch.tensor([[[2.0], [4.0], [9.0]], [[NAN], [2.0], [NAN]]])
    means = block_means(sequences, torch.tensor([5, 3]), 2)
    torch.testing.assert_close(means, expected, equal_nan=True)


def test_a_block_longer_than_the_sequence_is_its_mean() -> None:
    assert prepared(preparation(downsampling=10), steps(1, 2, 6)) == [[3]]


def test_a_difference_is_missing_where_a_neighbour_is_and_zero_at_the_first_step() -> None:
    made = preparation(differences=True)
    made.mean.copy_(torch.tensor([0.0, 0.5]))
    made.inverse_deviation.copy_(torch.tensor([1.0, 2.0]))
    expected = [[1, -1], [4, 5], [0, 0], [6, 0]]  # the missing ones are zero after scaling
    assert prepared(made, steps(1, 4, NAN, 6)) == expected


def test_differences_are_those_of_the_filled_blocks_and_the_mask_says_which_blocks_are_known() -> None:
    sequences = steps(1, 3, NAN, NAN, 8)
    filled = preparation(differences=True, downsampling=2, missing="forward_fill")
    assert prepared(filled, sequences) == [[2, 0], [3, 1], [8, 5]]
    masked = preparation(differences=True, downsampling=2, missing="mask")
    assert prepared(masked, sequences) == [[2, 0, 1], [0, 0, 0], [8, 0, 1]]


def test_blocks_of_values_with_a_large_mean_keep_their_digits() -> None:
    made = preparation(downsampling=7)
    made.mean.fill_(1e6)
    assert prepared(made, steps(*[1e6 + 0.25] * 7)) == [[0.25]]


def test_scaling_by_sequence_leaves_out_what_is_missing_and_what_is_padding() -> None:
    made = preparation(scaling="sequence")
    scaled, _ = made(steps(1, NAN, 2, 6, 1e9), torch.tensor([4]))
    assert scaled[0, [1, 4], 0].tolist() == [0, 0]
    torch.testing.assert_close(scaled[:, [0, 2, 3]], made(steps(1, 2, 6), None)[0])
    torch.testing.assert_close(scaled.square().sum() / 3, torch.tensor(1.0), atol=1e-3, rtol=0)


def test_scaling_by_sequence_makes_a_constant_sequence_zero() -> None:
    assert not preparation(num_features=2, scaling="sequence")(torch.full((1, 5, 2), 7.0), None)[0].any()


@settings(deadline=None, max_examples=25)
@given(offset=st.floats(-100, 100), factor=st.floats(1, 100))
def test_scaling_by_sequence_forgets_offset_and_size(offset: float, factor: float) -> None:
    sequences = torch.from_numpy(np.stack(toys.random_sequences([8, 8, 8])))
    made = preparation(num_features=2, scaling="sequence")
    torch.testing.assert_close(made(sequences * factor + offset, None)[0], made(sequences, None)[0], atol=5e-3, rtol=0)


@pytest.mark.parametrize("scaling", toys.SCALINGS)
def test_the_mask_is_never_scaled(scaling: Scaling) -> None:
    made = preparation(num_features=2, seed=0, scaling=scaling, missing="mask")
    sequences = torch.tensor([[[1.0, NAN], [2.0, 3.0], [NAN, 5.0]]])
    assert made(sequences, torch.tensor([2]))[0][0, :, 2:].tolist() == [[1, 0], [1, 1], [0, 0]]


def test_refused_are_those_that_miss_a_value_in_a_valid_step() -> None:
    sequences = torch.cat([steps(1, 2, 3), steps(1, NAN, 3), steps(1, NAN, 3)])
    made = preparation(missing="refuse")
    assert made.refused(sequences, torch.tensor([3, 3, 1])).tolist() == [[False], [True], [False]]
    assert made.refused(sequences, None).tolist() == [[False], [True], [True]]
