import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from rnnflow.evaluation.scores import intervals, metrics
from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.metrics import calibration_error
from rnnflow.evaluation.scores.slices import slices

LABELS = np.array([0, 0, 0, 1, 1, 2], np.int32)
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.3, 0.4, 0.3], [0.5, 0.2, 0.3]],
    dtype=np.float32,
)
"""Predictions 0 0 1 1 1 0: right in four of six."""
KNOWN = metrics.load()


def answers(labels: Any, probabilities: Any, lengths: Any = None, **more: Any) -> Answers:
    probabilities = np.asarray(probabilities, np.float32)
    classes = [f"class {index}" for index in range(probabilities.shape[1])]
    lengths = np.arange(1, len(labels) + 1) if lengths is None else np.asarray(lengths)
    return Answers(np.asarray(labels, np.int32), probabilities, classes, lengths, **more)


def random_answers(num_sequences: int, seed: int, num_classes: int = 3, skill: float = 1.0, **more: Any) -> Answers:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_sequences)
    logits = rng.standard_normal((num_sequences, num_classes))
    logits[np.arange(num_sequences), labels] += skill
    shares = np.exp(logits)
    return answers(labels, shares / shares.sum(1, keepdims=True), **more)


def values(given_: Answers, name: str) -> np.ndarray:
    measure = KNOWN[name].measure
    assert measure is not None
    return measure(given_)(given_.each_once)[:, 0]


@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize("num_sequences", [40, 1000])
def test_metrics_are_those_of_scikit_learn(num_classes: int, num_sequences: int) -> None:
    found = random_answers(num_sequences, 0, num_classes)
    labels, probabilities, predictions = found.labels, found.probabilities.astype(np.float64), found.predictions
    probabilities /= probabilities.sum(1, keepdims=True)
    one_hot = np.eye(num_classes)[labels]
    precision, recall, f1, _ = sklearn.precision_recall_fscore_support(labels, predictions, zero_division=np.nan)
    brier = ((probabilities - one_hot) ** 2).sum(1).mean() / 2
    expected = {
        "accuracy": [sklearn.accuracy_score(labels, predictions)],
        "balanced_accuracy": [sklearn.balanced_accuracy_score(labels, predictions), *recall],
        "macro_precision": [np.nanmean(precision), *precision],
        "macro_f1": [sklearn.f1_score(labels, predictions, average="macro"), *f1],
        "brier": [brier],
    }
    for name, ranked in ("roc_auc", sklearn.roc_auc_score), ("average_precision", sklearn.average_precision_score):
        expected[name] = [
            ranked(one_hot, probabilities, average="macro"),
            *ranked(one_hot, probabilities, average=None),
        ]
    for name, numbers in expected.items():
        # scikit-learn takes scores that nearly equal for equal, which is half a pair of the ROC curve's here.
        np.testing.assert_allclose(values(found, name), numbers, atol=1e-5, err_msg=name)
    assert values(found, "log_loss")[0] == pytest.approx(sklearn.log_loss(labels, probabilities), abs=1e-6)


def test_metrics_are_those_computed_by_hand() -> None:
    found = answers(LABELS, PROBABILITIES)
    right = (0.8, 0.6, 0.2, 0.9, 0.4, 0.3)
    assert values(found, "accuracy")[0] == pytest.approx(4 / 6)
    assert values(found, "balanced_accuracy").tolist() == pytest.approx([(2 / 3 + 1 + 0) / 3, 2 / 3, 1, 0])
    assert values(found, "macro_f1")[0] == pytest.approx((2 / 3 + 0.8 + 0) / 3)
    assert values(found, "log_loss")[0] == pytest.approx(-sum(map(math.log, right)) / 6)
    assert values(found, "roc_auc")[0] == pytest.approx((7 / 9 + 7 / 8 + 4.5 / 5) / 3)
    # The surest first: right; right; wrong; right; wrong; right
    assert values(found, "aurc")[0] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5 + 2 / 6) / 6)


def test_a_weight_of_two_is_the_sequence_twice() -> None:
    weights = np.array([2.0, 1, 0, 3, 1, 1])
    rows = np.repeat(np.arange(6), weights.astype(int))
    twice = answers(LABELS[rows], PROBABILITIES[rows])
    for name, metric in KNOWN.items():
        if metric.measure:
            weighted = metric.measure(answers(LABELS, PROBABILITIES))(weights[:, None])[:, 0]
            np.testing.assert_allclose(weighted, values(twice, name), err_msg=name)


@settings(deadline=None, max_examples=3)
@given(order=st.permutations(range(len(LABELS))))
def test_the_order_of_the_sequences_never_changes_a_figure(order: list[int]) -> None:
    lengths = np.array([1, 2, 3, 4, 5, 5])
    shuffled, given_ = (
        answers(LABELS[rows], PROBABILITIES[rows], lengths[rows]) for rows in (np.array(order), np.arange(6))
    )
    for metric in KNOWN.values():
        if metric.measure:
            of_shuffled, of_given = (metric.measure(each)(each.each_once) for each in (shuffled, given_))
            np.testing.assert_allclose(of_shuffled, of_given)
        for table in filter(None, (metric.curve, metric.matrix, slices)):
            assert flat(table(shuffled)) == pytest.approx(flat(table(given_)))


def flat(rows: Any) -> list[object]:
    return [value for row in rows for value in row.values()]


def test_what_is_undefined_without_a_class_is_left_open_and_warns_of_nothing() -> None:
    found = answers([0, 0, 1, 1], [[0.1, 0.1, 0.8], *PROBABILITIES[[1, 3, 5]]])  # answers the class that is absent
    assert np.isnan(values(found, "roc_auc")[0])
    assert values(found, "balanced_accuracy")[0] == pytest.approx((1 / 2 + 1 / 2) / 2)
    estimate, low, high = intervals.intervals(found, KNOWN, 100)["roc_auc"]
    assert np.isnan([estimate[0], low[0], high[0]]).all()


def test_a_split_of_a_single_class_has_metrics() -> None:
    found = answers([0, 0, 0], PROBABILITIES[:3, :2])
    assert values(found, "accuracy")[0] == values(found, "balanced_accuracy")[0] == pytest.approx(2 / 3)
    assert np.isnan(values(found, "roc_auc")).all()


def test_calibration_error_and_reliability_put_each_prediction_in_the_bin_of_its_confidence() -> None:
    found = answers([0, 1, 1, 1], [[0.55, 0.45], [0.58, 0.42], [0.08, 0.92], [0, 1]])
    rows = [row for row in calibration_error.reliability(found) if row["line"] == "reliability"]
    assert [(row["x"], row["accuracy"]) for row in rows] == [
        (pytest.approx(0.565), 0.5),
        (pytest.approx(0.96), 1.0),  # certainty belongs to the last bin
    ]
    assert values(found, "calibration_error")[0] == pytest.approx(0.5 * 0.065 + 0.5 * 0.04)


def test_confusion_counts_every_sequence_once() -> None:
    matrix = KNOWN["confusion"].matrix
    assert matrix is not None
    counts = {(row["actual"], row["predicted"]): row["count"] for row in matrix(answers(LABELS, PROBABILITIES))}
    assert len(counts) == 9
    down, level, up = (f"class {index}" for index in range(3))
    expected = {(down, down): 2, (down, level): 1, (level, level): 2, (up, down): 1}
    assert {pair: count for pair, count in counts.items() if count} == expected


def test_a_curve_has_few_points_and_both_ends() -> None:
    found = random_answers(5000, 0, 2)
    for name in ("roc_auc", "average_precision", "aurc"):
        curve = KNOWN[name].curve
        assert curve is not None
        points = [float(str(row["x"])) for row in curve(found) if row["line"] in ("class 1", "answered")]
        assert len(points) <= 201
        assert points == sorted(points)
        assert points[-1] == 1
