import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.sequences.batches import BATCHES_PER_BUCKET, buckets, first_missing, pad, windows

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=60)


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, batch_size=st.integers(1, 4), seed=st.integers(0, 9))
def test_buckets_sort_each_stretch_of_the_order_by_length(lengths: list[int], batch_size: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(lengths))
    rest = order.tolist()
    for bucket in buckets(order, np.cumsum([0, *lengths]), batch_size):
        stretch, rest = rest[: BATCHES_PER_BUCKET * batch_size], rest[BATCHES_PER_BUCKET * batch_size :]
        assert bucket.tolist() == sorted(stretch, key=lengths.__getitem__)
    assert rest == []


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
def test_windows_are_slices_of_the_same_number_of_steps(
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
    batch = windows(values, np.array(starts, np.int64), num_steps)
    assert batch.shape == (len(starts), num_steps, num_features)
    assert batch.flags.c_contiguous
    for window, start in zip(batch, starts, strict=True):
        np.testing.assert_array_equal(window, values[start : start + num_steps])
    batch[:] = -1.0
    assert values.min() == 0


def test_a_window_behind_the_last_step_is_an_error() -> None:
    values = np.zeros((5, 2), np.float32)
    with pytest.raises(IndexError):
        windows(values, np.array([3]), 3)


def test_no_order_has_no_buckets() -> None:
    assert list(buckets(np.array([], dtype=np.int64), np.array([0, 3]), 2)) == []


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, num_features=st.integers(1, 3), data=st.data())
def test_the_first_missing_value_is_known_by_sequence_and_feature(
    lengths: list[int], num_features: int, data: st.DataObject
) -> None:
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = np.zeros((offsets[-1], num_features), dtype=np.float32)
    assert first_missing(values, offsets) is None
    places = data.draw(st.lists(st.integers(0, values.size - 1), min_size=1, max_size=4))
    values.reshape(-1)[places] = np.nan
    step, feature = divmod(min(places), num_features)
    sequence = next(index for index, end in enumerate(offsets[1:]) if step < end)
    assert first_missing(values, offsets) == (sequence, feature)


def test_nothing_misses_nothing() -> None:
    assert first_missing(np.empty((0, 2), np.float32), np.array([0])) is None
