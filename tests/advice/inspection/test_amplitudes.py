import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.advice.inspection.variation import Amplitudes


def lists(sequences: list[np.ndarray]) -> pa.Array:
    return pa.array([sequence.ravel().tolist() for sequence in sequences], pa.list_(pa.float32()))


def of_sizes(sizes: np.ndarray, offset: float = 0.0) -> list[np.ndarray]:
    """Return sequences of features x and y; x has these deviations, y always one of 1."""
    rng = np.random.default_rng(0)
    return [
        np.array([[size, 1.0]]) * rng.permutation([-1.0, 1.0, 1.0, -1.0])[:, None] + [offset, 5.0] for size in sizes
    ]


@settings(deadline=None, max_examples=50)
@given(orders=st.floats(2.2, 5.9), chunk=st.integers(1, 50))
def test_a_feature_whose_sequences_are_orders_of_magnitude_apart_is_found(orders: float, chunk: int) -> None:
    sequences = of_sizes(10 ** np.tile([-orders / 2, orders / 2], 25), offset=3.0)
    amplitudes = Amplitudes(["x", "y"])
    for start in range(0, len(sequences), chunk):
        amplitudes.add(lists(sequences[start : start + chunk]))
    ((name, small, large),) = amplitudes.differing()
    assert name == "x"
    assert math.log10(small) == pytest.approx(-orders / 2, abs=0.05)
    assert math.log10(large) == pytest.approx(orders / 2, abs=0.05)


@pytest.mark.parametrize(
    "sizes",
    [np.ones(30), 10 ** np.linspace(0, 1.5, 30), np.append(np.ones(29), 1e6), np.zeros(5), np.append(np.ones(29), 0.0)],
)
def test_sizes_that_are_alike_but_for_a_few_are_not_remarked(sizes: np.ndarray) -> None:
    amplitudes = Amplitudes(["x", "y"])
    amplitudes.add(lists(of_sizes(sizes, offset=3.0)))
    assert not list(amplitudes.differing())


def test_missing_values_and_empty_tables_are_passed_over() -> None:
    amplitudes = Amplitudes(["x", "y"])
    amplitudes.add(lists([]))
    assert not list(amplitudes.differing())
    sequences = of_sizes(10.0 ** np.tile([-2, 2], 10))
    for sequence in sequences:
        sequence[1, 0] = np.nan
    sequences.append(np.full((3, 2), np.nan))
    amplitudes.add(lists(sequences))
    assert [name for name, _, _ in amplitudes.differing()] == ["x"]
