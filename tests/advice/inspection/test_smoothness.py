import numpy as np
import pyarrow as pa
import pytest

from rnnflow.advice.inspection.variation import Smoothness


def measured(*sequences: np.ndarray) -> int:
    found = Smoothness(sequences[0].shape[1])
    found.add(pa.array([sequence.ravel().tolist() for sequence in sequences], pa.list_(pa.float32())))
    return found.block_size()


@pytest.mark.parametrize("num_steps", [100, 1000])
def test_detail_decides_how_many_steps_become_one_and_not_the_length(num_steps: int) -> None:
    steps = np.arange(num_steps)
    noise = np.random.default_rng(0).standard_normal(num_steps)
    assert measured(noise[:, None]) == 1
    assert measured(np.sin(2 * np.pi * steps / 25)[:, None]) == 2
    assert measured(np.sin(2 * np.pi * steps / 100)[:, None]) == 8


def test_the_roughest_feature_decides_and_constant_or_missing_ones_do_not() -> None:
    steps = np.arange(200)
    smooth, rough = np.sin(2 * np.pi * steps / 100), np.sin(2 * np.pi * steps / 16)
    assert measured(np.stack([smooth, np.full(200, 7.0), np.full(200, np.nan)], 1)) == 8
    assert measured(np.stack([smooth, rough], 1)) == 2


def test_sequences_of_all_sizes_count_alike() -> None:
    smooth = np.sin(2 * np.pi * np.arange(100) / 100)[:, None]
    rough = np.random.default_rng(0).standard_normal((100, 1))
    assert measured(1e6 * smooth, rough, 1e6 * smooth) == 1
