from pathlib import Path

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.preprocessing import StandardScaler

from rnnflow.evaluation.comparison import baselines
from rnnflow.evaluation.comparison.logistic_regression import LogisticRegression
from tests import toys

FEATURES = ("x", "y")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Splits whose classes differ in the mean of x, with missing values; a third of the sequences are `up`."""
    root = tmp_path_factory.mktemp("splits")
    for seed, (split, size) in enumerate({"train": 90, "validation": 30, "test": 60}.items()):
        lengths = np.random.default_rng(seed).integers(3, 30, size).tolist()
        sequences = toys.random_sequences(lengths, seed=seed)
        labels = ["up" if index % 3 == 0 else "down" for index in range(size)]
        for sequence, label in zip(sequences, labels, strict=True):
            sequence[:, 0] += 3 * (label == "up")
        toys.write_sequences(root / split / "part-00000.parquet", sequences, labels)
    return {split: root / split for split in baselines.SPLITS}


def test_the_majority_is_right_as_often_as_it_is_there_and_logistic_regression_learns(folders: dict[str, Path]) -> None:
    found = baselines.measure(["majority", "logistic"], folders, ("down", "up"), FEATURES)
    majority, logistic = found["majority"]["test"], found["logistic"]["test"]
    assert majority["accuracy"] == pytest.approx(2 / 3)
    assert majority["log_loss"] == pytest.approx(-(2 * np.log(2 / 3) + np.log(1 / 3)) / 3, abs=1e-4)
    assert logistic["accuracy"] > 0.95
    assert logistic["accuracy_low"] < logistic["accuracy"] <= logistic["accuracy_high"]
    assert found == baselines.measure(["majority", "logistic"], folders, ("down", "up"), FEATURES)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_logistic_regression_is_that_of_scikit_learn(num_classes: int) -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(2, 3, (200, 4)), rng.integers(0, num_classes, 200)
    rows[:, 0] += 2 * labels
    scaled = StandardScaler().fit_transform(rows)
    expected = linear_model.LogisticRegression(max_iter=1000, tol=1e-6).fit(scaled, labels).predict_proba(scaled)
    found = LogisticRegression().fit(rows, labels).predict_proba(rows)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_model_that_loses_to_a_baseline_is_told_so(folders: dict[str, Path]) -> None:
    found = baselines.measure(["majority"], folders, ("down", "up"), FEATURES)
    assert baselines.lost(0.9, found) == []
    assert baselines.lost(0.5, found) == [
        "the challenger does no better than the baseline 'majority': accuracy 0.5000 against 0.6667 on the test split"
    ]


def test_summaries_are_those_of_each_sequence_without_its_missing_values() -> None:
    values = np.array([[1, 5], [3, np.nan], [np.nan, 7], [2, 2]], np.float32)
    first, second = baselines._summary(values, np.array([0, 3, 4]))
    assert first[:8].tolist() == [2, 6, 1, 1, 1, 5, 3, 7]  # means, deviations, least, largest
    assert first[8:10].tolist() == [1, 5]
    assert np.isnan(first[10])
    assert first[11:].tolist() == [7, 3]
    assert second.tolist() == [2, 2, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 1]


@pytest.mark.endurance
def test_minirocket_learns_as_well_where_its_extra_is_installed(folders: dict[str, Path]) -> None:
    pytest.importorskip("aeon", reason="the extra `archives` is not installed")
    found = baselines.measure(["minirocket"], folders, ("down", "up"), FEATURES)
    assert found["minirocket"]["test"]["accuracy"] > 0.8
