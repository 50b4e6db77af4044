from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.generation.splitting import (
    SPLITS,
    TEST,
    TRAIN,
    UNASSIGNED,
    VALIDATION,
    SplitIndices,
    Splitter,
    content_hashes,
    key_hashes,
)
from rnnflow.generation.splitting import assign as assign_hashes
from rnnflow.params.generate import SplitParams

KEYS = st.lists(st.text(max_size=8), max_size=30)
SEEDS = st.integers(0, 2**63 - 1)


def assign(keys: list[str], params: SplitParams, seed: int) -> SplitIndices:
    return assign_hashes(key_hashes(keys, seed), params)


@settings(deadline=None, max_examples=40)
@given(keys=KEYS, more=KEYS, seed=SEEDS)
def test_no_key_changes_splits_when_the_data_grows(keys: list[str], more: list[str], seed: int) -> None:
    shares = SplitParams(validation=0.3, test=0.3)
    before = dict(zip(keys, assign(keys, shares, seed).tolist(), strict=True))
    after = dict(zip(more + keys, assign(more + keys, shares, seed).tolist(), strict=True))
    assert before.items() <= after.items()


@settings(deadline=None, max_examples=40)
@given(keys=st.lists(st.sampled_from(["ann", "bob", "cem", "dee"]), max_size=30), seed=SEEDS)
def test_a_group_is_on_one_side_only(keys: list[str], seed: int) -> None:
    splits = assign(keys, SplitParams(validation=0.3, test=0.3), seed)
    assert len(set(zip(keys, splits.tolist(), strict=True))) == len(set(keys))


@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.15), (0.5, 0.1), (0.01, 0.3)])
def test_shares_are_kept_on_average(validation: float, test: float) -> None:
    keys = [f"key-{index}" for index in range(20_000)]
    splits = assign(keys, SplitParams(validation=validation, test=test), seed=0)
    shares = np.bincount(splits, minlength=len(SPLITS)) / len(keys)
    expected = {TRAIN: 1 - validation - test, VALIDATION: validation, TEST: test}
    for split, share in expected.items():
        assert shares[split] == pytest.approx(share, abs=0.015)  # four standard deviations


def test_another_seed_draws_another_split() -> None:
    keys = [f"key-{index}" for index in range(100)]
    shares = SplitParams(validation=0.3, test=0.3)
    assert assign(keys, shares, 0).tolist() != assign(keys, shares, 1).tolist()


def test_hashes_are_the_same_on_every_machine() -> None:
    assert key_hashes(["", "a", "ключ"], seed=7).tolist() == [
        18246247577492440333,
        15984439098443337532,
        7592764588988197956,
    ]


def test_no_keys_have_no_splits() -> None:
    assert assign([], SplitParams(), 0).tolist() == []


def splitter(delivery: str = "a.csv", seed: int = 0, **changes: Any) -> Splitter:
    return Splitter(SplitParams.model_validate(changes), seed, delivery, delivery, Counter())


def labelled(*labels: str) -> pa.Table:
    return pa.table({"id": [f"id-{index}" for index in range(len(labels))], "label": labels})


def splits_of(chosen: Splitter, table: pa.Table) -> list[int]:
    return chosen.splits(table, key_hashes(table["id"].to_pylist())).tolist()


def stratified(labels: list[str], part: int = 1000, **changes: Any) -> list[int]:
    """Return the splits of sequences that come `part` at a time."""
    chosen = splitter(by="stratified", **changes)
    tables = (labelled(*labels[start : start + part]) for start in range(0, len(labels), part))
    return [split for table in tables for split in splits_of(chosen, table)]


@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.15), (0.1, 0.3), (0.25, 0.25)])
def test_a_stratified_split_has_its_shares_in_each_class(validation: float, test: float) -> None:
    labels = ["common"] * 400 + ["rare"] * 20
    splits = np.array(stratified(labels, validation=validation, test=test))
    for name in ("common", "rare"):
        counts = np.bincount(splits[np.array(labels) == name], minlength=3) / labels.count(name)
        assert counts == pytest.approx([1 - validation - test, validation, test], abs=1 / 20 + 1e-9)


def test_a_stratified_split_gives_each_side_a_sequence_of_a_class_of_eight() -> None:
    for seed in range(50):
        splits = splits_of(splitter(by="stratified", seed=seed), labelled(*["rare"] * 8))
        assert set(splits) == {TRAIN, VALIDATION, TEST}


@settings(deadline=None, max_examples=40)
@given(
    labels=st.lists(st.sampled_from("abc"), max_size=40),
    more=st.lists(st.sampled_from("abc"), max_size=20),
    part=st.integers(1, 50),
)
def test_no_sequence_of_a_stratified_split_changes_splits_when_its_file_grows(
    labels: list[str], more: list[str], part: int
) -> None:
    assert stratified(labels + more, part)[: len(labels)] == stratified(labels)


def test_given_splits_are_taken_and_the_rest_of_the_train_part_is_spare() -> None:
    names = ["train", "TEST", "val", "Training", "dev"] * 40
    table = labelled(*["a"] * 200).append_column("split", pa.array(names))
    splits = np.array(splits_of(splitter(), table))
    assert set(splits[1::5].tolist()) == {TEST}
    assert set(splits[2::5].tolist()) == set(splits[4::5].tolist()) == {VALIDATION}
    trained = splits[[index for index in range(200) if index % 5 in (0, 3)]].tolist()
    assert set(trained) == {TRAIN, UNASSIGNED}
    assert trained.count(UNASSIGNED) / len(trained) == pytest.approx(0.15 / 0.85, abs=0.12)


def test_of_a_class_in_a_given_train_part_the_first_trains_and_the_second_validates_whatever_file_they_are_in() -> None:
    seen: Counter[str] = Counter()
    found: dict[str, list[int]] = {}
    for file in range(30):
        table = labelled("pair" if file < 2 else f"single {file}", "many")
        table = table.append_column("split", pa.array(["train"] * 2))
        chosen = Splitter(SplitParams(), 0, f"{file}.csv", "", seen)
        for label, split in zip(table["label"].to_pylist(), splits_of(chosen, table), strict=True):
            found.setdefault(label, []).append(split)
    assert found["pair"] == found["many"][:2] == [TRAIN, UNASSIGNED]
    assert all(found[label] == [TRAIN] for label in found if label.startswith("single"))


def test_content_hashes_tell_sequences_apart() -> None:
    sequences = pa.array([[1, 2], [2, 1], [1, 2], [1, 2, 0], [0, 1, 2], [-0.0], [0.0]], pa.list_(pa.float32()))
    hashes = content_hashes(sequences).tolist()
    assert hashes[0] == hashes[2]
    assert len(set(hashes)) == 5
