from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rnnflow.evaluation.comparison.dead_features import died
from rnnflow.evaluation.scores.scoring import ids_of
from tests import toys

FEATURES = "x", "y"


def alive(count: int, length: int = 5) -> list[np.ndarray]:
    return toys.random_sequences([length] * count, missing=0)


def with_y(value: float, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the sequences with one value for the second feature."""
    return [np.column_stack([steps[:, 0], np.full(len(steps), value, np.float32)]) for steps in sequences]


def lines(folder: Path, before: Sequence[np.ndarray], new: Sequence[np.ndarray], max_share: float = 0.1) -> list[str]:
    for name, sequences in (("before", before), ("new", new)):
        toys.write_sequences(folder / "train" / f"{name}.parquet", sequences, ["up"] * len(sequences), id_prefix=name)
    (folder / "known").mkdir()
    (folder / "known/before.parquet").symlink_to(folder / "train/before.parquet")
    return list(died([folder / "train"], FEATURES, ids_of(folder / "known"), max_share))


@pytest.mark.parametrize("value", [0.0, 4095.0, np.nan])
def test_a_feature_that_is_constant_or_missing_in_new_sequences_alone_has_died(tmp_path: Path, value: float) -> None:
    assert lines(tmp_path, alive(90), [*alive(10), *with_y(value, alive(30))]) == [
        "feature 'y' is constant or missing in 75% of the 40 sequences that are new since production, in 0% of the others"
    ]


def test_a_feature_that_was_always_constant_has_not(tmp_path: Path) -> None:
    assert lines(tmp_path, with_y(1.0, alive(90)), with_y(2.0, alive(40))) == []


def test_one_sequence_proves_nothing_where_a_third_was_constant_before(tmp_path: Path) -> None:
    assert lines(tmp_path, [*alive(60), *with_y(0.0, alive(30))], with_y(0.0, alive(1))) == []


def test_sequences_of_one_step_are_constant_and_not_dead(tmp_path: Path) -> None:
    assert lines(tmp_path, alive(90), with_y(0.0, alive(40, length=1))) == []


def test_some_may_be_dead_as_far_as_the_params_allow(tmp_path: Path) -> None:
    assert lines(tmp_path, alive(90), [*alive(20), *with_y(0.0, alive(20))], max_share=0.5) == []
