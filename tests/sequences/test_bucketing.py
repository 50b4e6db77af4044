import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.sequences.bucketing import BATCHES_PER_BUCKET, batches, buckets

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=60)


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, batch_size=st.integers(1, 4), seed=st.integers(0, 9))
def test_each_bucket_of_the_order_is_sorted_by_length(lengths: list[int], batch_size: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(lengths))
    rest = order.tolist()
    for rows, row_lengths in buckets(order, np.cumsum([0, *lengths]), batch_size):
        bucket, rest = rest[: BATCHES_PER_BUCKET * batch_size], rest[BATCHES_PER_BUCKET * batch_size :]
        assert rows.tolist() == sorted(bucket, key=lengths.__getitem__)
        assert row_lengths.tolist() == [lengths[row] for row in rows]
    assert rest == []


def test_a_bucket_that_is_not_sorted_keeps_its_order() -> None:
    order = np.random.default_rng(0).permutation(50)
    lengths = np.arange(50) % 7 + 1
    found = list(buckets(order, np.cumsum([0, *lengths]), 2, is_sorted=False))
    assert len(found) == 4
    assert np.concatenate([rows for rows, _ in found]).tolist() == order.tolist()
    assert np.concatenate([row_lengths for _, row_lengths in found]).tolist() == lengths[order].tolist()


def test_no_order_has_no_buckets() -> None:
    assert list(buckets(np.array([], dtype=np.int64), np.array([0, 3]), 2)) == []


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, batch_size=st.integers(1, 4))
def test_the_batches_of_a_split_have_every_sequence_once_and_are_sorted_by_length(
    lengths: list[int], batch_size: int
) -> None:
    found: list[int] = []
    for rows, row_lengths in batches(np.cumsum([0, *lengths]), batch_size):
        assert 1 <= len(rows) <= batch_size
        assert row_lengths.tolist() == sorted(lengths[row] for row in rows)
        found += rows.tolist()
    assert sorted(found) == list(range(len(lengths)))


def test_no_sequences_have_no_batches() -> None:
    assert list(batches(np.array([0]), 2)) == []
