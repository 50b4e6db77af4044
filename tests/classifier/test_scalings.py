"""Several scalings side by side, compression, and the restoring of what was fitted."""

import math

import numpy as np
import pytest

from rnnflow.classifier.preparation import (
    COMPRESSION_NAMES,
    SCALING_NAMES,
)
from rnnflow.params.models import Scaling
from tests import toys
from tests.classifier.test_preparation import preparation, prepared, steps


def test_several_scalings_stand_side_by_side_and_the_mask_after_them() -> None:
    kinds: list[Scaling] = ["global", "compressed", "sequence"]
    made = preparation(num_features=2, seed=0, scaling=kinds, missing="mask", differences=True)
    sequences = np.stack(toys.random_sequences([8, 8]))
    together, _ = made(sequences, np.array([8, 5]))
    assert together.shape[2] == made.num_outputs == 3 * 4 + 2
    for index, kind in enumerate(kinds):
        alone = preparation(num_features=2, scaling=kind, missing="mask", differences=True)
        alone.mean[:], alone.inverse_deviation[:] = (
            made.mean[made.part(index)],
            made.inverse_deviation[made.part(index)],
        )
        alone.median[:], alone.inverse_spread[:] = made.median, made.inverse_spread
        expected, _ = alone(sequences, np.array([8, 5]))
        np.testing.assert_array_equal(together[:, :, made.part(index)], expected[:, :, :4])
        np.testing.assert_array_equal(together[:, :, 12:], expected[:, :, 4:])


def test_differences_may_be_those_of_some_kinds_of_scaling() -> None:
    kinds: list[Scaling] = ["compressed", "sequence"]
    made = preparation(num_features=2, scaling=kinds, differences=["compressed"])
    both = preparation(num_features=2, scaling=kinds, differences=True)
    sequences, lengths = np.stack(toys.random_sequences([8, 8])), np.array([8, 5])
    assert made.num_outputs == 4 + 2
    np.testing.assert_array_equal(made(sequences, lengths)[0], both(sequences, lengths)[0][:, :, :6])


def test_compression_is_linear_near_the_median_and_logarithmic_far_from_it() -> None:
    made = preparation(scaling="compressed")
    made.median[:] = 5.0
    made.inverse_spread[:] = 100.0
    values = np.ravel(prepared(made, steps(5, 5.0001, 5 + 1e4, 5 + 1e5, 5 - 1e5)))
    assert values[0] == 0
    assert values[1] == pytest.approx(0.01, rel=1e-2)
    assert values[3] - values[2] == pytest.approx(math.log(10), rel=1e-5)
    assert values[4] == -values[3]


@pytest.mark.parametrize("differences", [False, True])
def test_what_one_was_fitted_to_is_restored_in_another(differences: bool) -> None:
    fitted = preparation(num_features=2, seed=0, differences=differences)
    other = preparation(num_features=2, differences=differences)
    assert set(fitted.arrays()) == set(SCALING_NAMES)
    assert set(preparation(scaling=["compressed"]).arrays()) == {*SCALING_NAMES, *COMPRESSION_NAMES}
    other.restore(fitted.arrays())
    for name, array in fitted.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array)
        assert not np.shares_memory(other.arrays()[name], array)


@pytest.mark.parametrize("name", [*SCALING_NAMES, *COMPRESSION_NAMES])
def test_what_is_missing_or_of_another_shape_is_not_restored(name: str) -> None:
    made = preparation(num_features=2, seed=0, scaling="compressed")
    for arrays in (
        {key: array for key, array in made.arrays().items() if key != name},
        made.arrays() | {name: np.zeros(4, np.float32)},
    ):
        with pytest.raises(ValueError, match=rf"expected {name} of shape \(2,\)"):
            preparation(num_features=2, scaling="compressed").restore(arrays)
