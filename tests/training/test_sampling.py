import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.training.sampling import epoch_order

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(lambda labels: np.array(labels, np.int32))


@settings(deadline=None, max_examples=50)
@given(labels=LABELS, seed=st.integers(0, 99))
def test_shuffle_has_each_sequence_once(labels: np.ndarray, seed: int) -> None:
    order = epoch_order(np.random.default_rng(seed), labels, "shuffle")
    assert sorted(order.tolist()) == list(range(len(labels)))


@settings(deadline=None, max_examples=100)
@given(labels=LABELS, seed=st.integers(0, 99))
def test_balanced_has_as_many_sequences_and_every_class_equally_often(labels: np.ndarray, seed: int) -> None:
    order = epoch_order(np.random.default_rng(seed), labels, "balanced")
    assert len(order) == len(labels)
    of_class = [np.bincount(order[labels[order] == label], minlength=len(labels)) for label in np.unique(labels)]
    drawn = [counts.sum() for counts in of_class]
    assert max(drawn) - min(drawn) <= 1
    for label, counts in zip(np.unique(labels), of_class, strict=True):
        members = counts[labels == label]
        assert members.max() - members.min() <= 1  # by whole passes


@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
def test_each_epoch_has_an_order_of_its_own_and_a_seed_repeats_them(sampling: str) -> None:
    labels = np.array([0] * 30 + [1] * 10)

    def orders(seed: int) -> list[list[int]]:
        rng = np.random.default_rng(seed)
        return [epoch_order(rng, labels, sampling).tolist() for _ in range(2)]  # type: ignore[arg-type]

    first, second = orders(0)
    assert first != second
    assert orders(0) == [first, second]
    assert labels[first].tolist() != sorted(labels[first].tolist())  # classes mixed


def test_what_a_large_class_leaves_out_changes_and_who_gets_the_rest_as_well() -> None:
    labels = np.array([0] * 27 + [1] * 2 + [2] * 3)
    rng = np.random.default_rng(0)
    orders = [epoch_order(rng, labels, "balanced") for _ in range(50)]
    assert set(np.concatenate(orders).tolist()) == set(range(32))
    assert {tuple(np.bincount(labels[order])) for order in orders} == {(10, 11, 11), (11, 10, 11), (11, 11, 10)}
