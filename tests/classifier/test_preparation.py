import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.classifier.preparation import (
    SEQUENCE_VARIANCE_FLOOR,
    Lengths,
    Preparation,
    block_means,
    forward_filled,
)
from rnnflow.params.models import ModelParams, Scaling
from tests import toys

NAN = math.nan


def preparation(num_features: int = 1, seed: int | None = None, **params: object) -> Preparation:
    """Return a preparation that scales by 0 and 1, or with a seed by random figures."""
    made = Preparation(ModelParams.model_validate({"cell": "gru"} | params), num_features)
    return made if seed is None else toys.random_preparation(made.params, num_features, np.random.default_rng(seed))


def float32(values: object) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def steps(*values: float) -> np.ndarray:
    """Return one sequence of one feature."""
    return float32(values)[None, :, None]


def prepared(made: Preparation, sequences: np.ndarray, lengths: Lengths = None) -> list[list[float]]:
    """Return the steps of the first sequence."""
    features: list[list[float]] = made(sequences, lengths)[0][0].tolist()
    return features


def by_hand(made: Preparation, sequence: np.ndarray) -> np.ndarray:
    """Return what the preparation should make of one sequence, value by value in float64."""
    raw = sequence.astype(np.float64)
    parts = [scaled_by_hand(made, index, raw) for index in range(len(made.params.scalings))]
    if made.params.missing == "mask":
        parts.append((~np.isnan(derived_by_hand(made.params, raw)[:, : sequence.shape[1]])).astype(np.float64))
    return np.nan_to_num(np.concatenate(parts, axis=1), nan=0.0)


def scaled_by_hand(made: Preparation, index: int, raw: np.ndarray) -> np.ndarray:
    kind, part = made.params.scalings[index], made.part(index)
    if kind == "sequence":
        scaled = derived_by_hand(made.params, raw)
        for place, column in enumerate(scaled.T):
            known = ~np.isnan(column)
            values = [value for value in raw[:, place % raw.shape[1]].tolist() if not math.isnan(value)]
            if values and min(values) < max(values):
                floor = SEQUENCE_VARIANCE_FLOOR * (max(values) - min(values)) ** 2
                column[:] = (column - column[known].mean()) / np.sqrt(column[known].var() + floor)
            else:
                column[known] = 0
        return scaled
    if kind == "compressed":
        raw = np.arcsinh((raw - made.median.astype(np.float64)) * made.inverse_spread.astype(np.float64))
    derived = derived_by_hand(made.params, raw)
    return (derived - made.mean[part].astype(np.float64)) * made.inverse_deviation[part].astype(np.float64)


def derived_by_hand(params: ModelParams, raw: np.ndarray) -> np.ndarray:
    """Return the steps that are left, and their differences if there are to be any."""
    values, num_features = raw.tolist(), raw.shape[1]
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
    return np.array(rows)


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
    before = array.copy()
    together, num_steps = made(array, valid)
    np.testing.assert_array_equal(array, before)
    assert together.dtype == np.float32
    assert together.shape[2] == made.num_outputs
    assert num_steps is not None
    assert num_steps.tolist() == [math.ceil(length / made.params.downsampling) for length in lengths]
    for row, sequence in enumerate(sequences):
        expected = by_hand(made, sequence)
        np.testing.assert_allclose(together[row, : len(expected)], expected, atol=1e-4, rtol=1e-4)
        assert not together[row, len(expected) :].any()
        alone, length = made(sequence[None], None)
        assert length is None
        np.testing.assert_allclose(alone[0], expected, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=150)
@given(
    params=toys.preparations(scaling="sequence"),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    garbage=st.sampled_from([np.nan, np.inf, -np.inf, 1e9, 3e38]),
    missing=st.sampled_from([0.0, 0.3, 0.8]),
    seed=st.integers(0, 99),
)
def test_scaling_by_sequence_treats_all_sizes_and_offsets_alike(
    params: dict[str, Any], lengths: list[int], garbage: float, missing: float, seed: int
) -> None:
    made = preparation(num_features=2, **params)
    sequences = toys.sequences_of_all_sizes(lengths, seed=seed, missing=missing)
    together, num_steps = made(*toys.padded(sequences, max(lengths) + seed % 3, garbage))
    assert num_steps is not None
    for row, sequence in enumerate(sequences):
        expected = by_hand(made, sequence)
        np.testing.assert_allclose(together[row, : num_steps[row]], expected, atol=1e-4, rtol=1e-4)
        assert not together[row, num_steps[row] :].any()


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e-5, 1.0, 1e5, 1e30])
@pytest.mark.parametrize("differences", [False, True])
def test_no_sequence_is_too_small_or_large_to_be_seen(size: float, differences: bool) -> None:
    made = preparation(scaling="sequence", differences=differences)
    expected = made(steps(-2, 1, 5, -4), None)[0]
    assert np.square(expected).mean() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(made(steps(-2, 1, 5, -4) * np.float32(size), None)[0], expected, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e-30, 1e6 + 0.1, 3e38])
@pytest.mark.parametrize("downsampling", [1, 3])
def test_scaling_by_sequence_makes_a_constant_sequence_zero_and_no_noise(value: float, downsampling: int) -> None:
    made = preparation(scaling="sequence", differences=True, downsampling=downsampling)
    assert not made(steps(*[value] * 1000), None)[0].any()
    assert not made(steps(*[value, NAN] * 500), np.array([777]))[0].any()


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
    made.mean[:] = [10.0, -1.0]
    made.inverse_deviation[:] = [0.5, 2.0]
    sequences = float32([[[12.0, -1.5], [NAN, 0.0], [NAN, 1e9]]])
    assert prepared(made, sequences, np.array([2])) == [[1, -1], [0, 2], [0, 0]]


def test_what_is_filled_forward_is_scaled_and_what_came_before_is_the_mean() -> None:
    made = preparation(missing="forward_fill")
    made.mean[:] = 1.0
    assert prepared(made, steps(NAN, 3, NAN)) == [[0], [2], [2]]


def test_each_feature_and_each_sequence_is_filled_from_itself() -> None:
    sequences = float32([[[NAN, 1.0], [2.0, NAN]], [[NAN, NAN], [NAN, 5.0]]])
    expected = float32([[[NAN, 1.0], [2.0, 1.0]], [[NAN, NAN], [NAN, 5.0]]])
    np.testing.assert_array_equal(forward_filled(sequences), expected)


def test_a_block_is_the_mean_of_its_known_valid_steps_and_missing_without_any() -> None:
    sequences = np.concatenate([steps(1, 3, NAN, 4, 9), steps(NAN, NAN, 2, 100, 100)])
    expected = float32([[[2.0], [4.0], [9.0]], [[NAN], [2.0], [NAN]]])
    means = block_means(sequences, np.array([5, 3]), 2)
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def test_a_block_longer_than_the_sequence_is_its_mean() -> None:
    assert prepared(preparation(downsampling=10), steps(1, 2, 6)) == [[3]]


def test_a_difference_is_missing_where_a_neighbour_is_and_zero_at_the_first_step() -> None:
    made = preparation(differences=True)
    made.mean[:] = [0.0, 0.5]
    made.inverse_deviation[:] = [1.0, 2.0]
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
    made.mean[:] = 1e6
    assert prepared(made, steps(*[1e6 + 0.25] * 7)) == [[0.25]]


def test_scaling_by_sequence_leaves_out_what_is_missing_and_what_is_padding() -> None:
    made = preparation(scaling="sequence")
    scaled, _ = made(steps(1, NAN, 2, 6, 1e9), np.array([4]))
    assert scaled[0, [1, 4], 0].tolist() == [0, 0]
    np.testing.assert_allclose(scaled[:, [0, 2, 3]], made(steps(1, 2, 6), None)[0], rtol=1.3e-6, atol=1e-5)
    assert np.square(scaled).sum() / 3 == pytest.approx(1, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(offset=st.floats(-100, 100), factor=st.floats(1, 100))
def test_scaling_by_sequence_forgets_offset_and_size(offset: float, factor: float) -> None:
    sequences = np.stack(toys.random_sequences([8, 8, 8]))
    made = preparation(num_features=2, scaling="sequence")
    np.testing.assert_allclose(made(sequences * factor + offset, None)[0], made(sequences, None)[0], atol=5e-3)


@pytest.mark.parametrize("scaling", toys.SCALINGS)
def test_the_mask_is_never_scaled(scaling: Scaling) -> None:
    made = preparation(num_features=2, seed=0, scaling=scaling, missing="mask")
    sequences = float32([[[1.0, NAN], [2.0, 3.0], [NAN, 5.0]]])
    assert made(sequences, np.array([2]))[0][0, :, 2:].tolist() == [[1, 0], [1, 1], [0, 0]]


def test_refused_are_those_that_miss_a_value_in_a_valid_step() -> None:
    sequences = np.concatenate([steps(1, 2, 3), steps(1, NAN, 3), steps(1, NAN, 3)])
    made = preparation(missing="refuse")
    assert made.refused(sequences, np.array([3, 3, 1])).tolist() == [[False], [True], [False]]
    assert made.refused(sequences, None).tolist() == [[False], [True], [True]]
