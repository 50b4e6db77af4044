import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.sequences.padding import gather, pad

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=60)


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, num_features=st.integers(1, 3), data=st.data())
def test_a_padded_batch_starts_with_each_sequence_and_is_as_long_as_the_longest(
    lengths: list[int], num_features: int, data: st.DataObject
) -> None:
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = np.arange(offsets[-1] * num_features, dtype=np.float32).reshape(-1, num_features)
    picked = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8))
    batch = pad(values, offsets, np.array(picked))
    assert batch.shape == (len(picked), max(lengths[index] for index in picked), num_features)
    for padded, index in zip(batch, picked, strict=True):
        np.testing.assert_array_equal(padded[: lengths[index]], values[offsets[index] : offsets[index + 1]])


@settings(deadline=None, max_examples=50)
@given(num_values=st.integers(1, 30), num_features=st.integers(1, 3), is_mapped=st.booleans(), data=st.data())
def test_what_is_gathered_are_slices_of_the_same_number_of_steps(
    tmp_path_factory: pytest.TempPathFactory, num_values: int, num_features: int, is_mapped: bool, data: st.DataObject
) -> None:
    values = np.arange(num_values * num_features, dtype=np.float32).reshape(num_values, num_features)
    if is_mapped:
        path = tmp_path_factory.getbasetemp() / "values"
        mapped = np.memmap(path, np.float32, "w+", shape=values.shape)
        mapped[:] = values
        values = mapped
    num_steps = data.draw(st.integers(1, num_values))
    starts = data.draw(st.lists(st.integers(0, num_values - num_steps), max_size=8))
    batch = gather(values, np.array(starts, np.int64), num_steps)
    assert batch.shape == (len(starts), num_steps, num_features)
    assert batch.flags.c_contiguous
    for block, start in zip(batch, starts, strict=True):
        np.testing.assert_array_equal(block, values[start : start + num_steps])
    batch[:] = -1.0
    assert values.min() == 0


def test_steps_after_the_last_one_are_an_error() -> None:
    values = np.zeros((5, 2), np.float32)
    with pytest.raises(IndexError):
        gather(values, np.array([3]), 3)
