import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.params import SplitShares
from rnnflow.splitting import SPLITS, TEST, TRAIN, VALIDATION, assign, key_hashes

KEYS = st.lists(st.text(max_size=8), max_size=30)
SEEDS = st.integers(0, 2**63 - 1)


@settings(deadline=None, max_examples=40)
@given(keys=KEYS, more=KEYS, seed=SEEDS)
def test_no_key_changes_sides_when_the_data_grows(keys: list[str], more: list[str], seed: int) -> None:
    shares = SplitShares(validation=0.3, test=0.3)
    before = dict(zip(keys, assign(keys, shares, seed).tolist(), strict=True))
    after = dict(zip(more + keys, assign(more + keys, shares, seed).tolist(), strict=True))
    assert before.items() <= after.items()


@settings(deadline=None, max_examples=40)
@given(keys=st.lists(st.sampled_from(["ann", "bob", "cem", "dee"]), max_size=30), seed=SEEDS)
def test_a_group_is_on_one_side_only(keys: list[str], seed: int) -> None:
    sides = assign(keys, SplitShares(validation=0.3, test=0.3), seed)
    assert len(set(zip(keys, sides.tolist(), strict=True))) == len(set(keys))


@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.15), (0.5, 0.1), (0.01, 0.3)])
def test_shares_are_kept_on_average(validation: float, test: float) -> None:
    keys = [f"key-{index}" for index in range(20_000)]
    sides = assign(keys, SplitShares(validation=validation, test=test), seed=0)
    shares = np.bincount(sides, minlength=len(SPLITS)) / len(keys)
    expected = {TRAIN: 1 - validation - test, VALIDATION: validation, TEST: test}
    for side, share in expected.items():
        assert shares[side] == pytest.approx(share, abs=0.015)  # four standard deviations


def test_another_seed_draws_another_split() -> None:
    keys = [f"key-{index}" for index in range(100)]
    shares = SplitShares(validation=0.3, test=0.3)
    assert assign(keys, shares, 0).tolist() != assign(keys, shares, 1).tolist()


def test_hashes_are_the_same_on_every_machine() -> None:
    assert key_hashes(["", "a", "ключ"], seed=7).tolist() == [
        18246247577492440333,
        15984439098443337532,
        7592764588988197956,
    ]


def test_no_keys_have_no_sides() -> None:
    assert assign([], SplitShares(), 0).tolist() == []
