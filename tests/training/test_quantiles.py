import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rnnflow.training.quantiles import quantile


@settings(deadline=None, max_examples=150)
@given(
    values=arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 40), st.integers(1, 3)),
        elements=st.floats(width=32, allow_infinity=True) | st.sampled_from([0.0, 1.0, np.nan]),
    ),
    chunk=st.integers(1, 41),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.93, 1.0]),
)
def test_it_is_the_value_that_stands_there_once_they_are_sorted(values: np.ndarray, chunk: int, share: float) -> None:
    found = quantile(
        lambda: (values[start : start + chunk] for start in range(0, len(values), chunk)), values.shape[1], share
    )
    for feature, column in enumerate(values.T):
        known = np.sort(column[~np.isnan(column)])
        expected = known[int(np.floor(share * (len(known) - 1)))] if len(known) else np.float32(np.nan)
        np.testing.assert_array_equal(found[feature], expected)


def test_it_does_not_depend_on_the_order() -> None:
    values = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    expected = quantile(lambda: iter([values]), 2, 0.5)
    assert expected.tobytes() == quantile(lambda: iter([values[500:][::-1], values[:500]]), 2, 0.5).tobytes()
    assert expected == pytest.approx(np.quantile(values, 0.5, axis=0, method="lower"), rel=0, abs=0)
