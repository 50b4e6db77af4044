import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.classifier import predict_split
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.classifier.preparation import Preparation
from rnnflow.evaluation import metrics
from rnnflow.params.models import Cell, ModelParams
from rnnflow.sequences.dataset import SequenceDataset
from tests import toys

LABELS = np.array([0, 0, 0, 1, 1, 2], np.int32)
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.3, 0.4, 0.3], [0.5, 0.2, 0.3]],
    dtype=np.float32,
)
"""Predictions 0 0 1 1 1 0: right in four of six."""


def split(lengths: list[int], seed: int = 0) -> SequenceDataset:
    sequences = toys.random_sequences(lengths, seed=seed)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    labels = np.arange(len(lengths), dtype=np.int32) % len(toys.CLASSES)
    return SequenceDataset(np.concatenate(sequences), offsets, labels, toys.FEATURES, toys.CLASSES)


def float32(values: Sequence[object]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def predict(model: SequenceClassifier, data: SequenceDataset, batch_size: int) -> np.ndarray:
    return predict_split.predict(model.logits, model.preparation, data, batch_size)


@pytest.mark.parametrize("cell", toys.CELLS)
def test_neither_batch_size_nor_order_changes_a_prediction(cell: Cell) -> None:
    model = toys.random_classifier(ModelParams(cell=cell, hidden_size=4, bidirectional=True, pooling="mean_max"))
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 50)
    whole = split(lengths.tolist())
    sequences = np.split(whole.values, whole.offsets[1:-1])
    with torch.inference_mode():
        expected = toys.alone(model, sequences).softmax(1).numpy()
    order = rng.permutation(len(whole))
    offsets = np.concatenate(([0], np.cumsum(lengths[order])))
    shuffled = SequenceDataset(
        np.concatenate([sequences[row] for row in order]), offsets, whole.labels[order], whole.features, whole.classes
    )
    for batch_size in (1, 2, 7, 50, 999):
        np.testing.assert_allclose(predict(model, whole, batch_size), expected, atol=1e-6)
        np.testing.assert_allclose(predict(model, shuffled, batch_size), expected[order], atol=1e-6)


def test_predicting_leaves_dropout_out() -> None:
    model = toys.random_classifier(ModelParams(cell="gru", dropout=0.9)).train()
    data = split([3, 4, 5])
    assert np.array_equal(predict(model, data, 2), predict(model, data, 2))


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    batch_size=st.integers(1, 5),
    downsampling=st.integers(1, 3),
)
def test_lengths_are_told_only_where_there_is_padding(lengths: list[int], batch_size: int, downsampling: int) -> None:
    data = split(lengths)
    preparation = Preparation(ModelParams(cell="gru", downsampling=downsampling), 2)

    def answer(prepared: np.ndarray, num_steps: np.ndarray | None) -> np.ndarray:
        assert len(prepared) <= batch_size
        if num_steps is None:
            num_steps = np.full(len(prepared), prepared.shape[1])
        else:
            assert num_steps.max() == prepared.shape[1]
        logits: np.ndarray = -np.abs(num_steps[:, None] - np.arange(1, 4)).astype(np.float32)
        return logits

    probabilities = predict_split.predict(answer, preparation, data, batch_size)
    expected = np.ceil(np.array(lengths) / downsampling)
    known = expected <= 3
    assert (probabilities.argmax(1) + 1)[known].tolist() == expected[known].tolist()
    assert (probabilities.argmax(1)[~known] == 2).all()


@settings(deadline=None, max_examples=50)
@given(
    logits=st.lists(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=3, max_size=3), min_size=1, max_size=5)
)
def test_softmax_is_that_of_pytorch(logits: list[list[float]]) -> None:
    probabilities = predict_split.softmax(float32(logits))
    expected = torch.tensor(logits, dtype=torch.float64).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected, rtol=1e-6, atol=1e-30)


def test_softmax_of_what_is_no_number_is_none() -> None:
    rows = float32([[0, np.nan, 1], [0, 0, 0]])
    assert np.isnan(predict_split.softmax(rows)).tolist() == [[True] * 3, [False] * 3]


def test_metrics_are_those_computed_by_hand() -> None:
    figures = metrics.overall(LABELS, PROBABILITIES, majority=0)
    f1 = (2 * 2 / 3 * 2 / 3 / (4 / 3), 2 * 2 / 3 * 1 / (5 / 3), 0.0)
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert figures["macro_f1"] == pytest.approx(sum(f1) / 3)
    assert figures["baseline_accuracy"] == pytest.approx(3 / 6)
    right = (0.8, 0.6, 0.2, 0.9, 0.4, 0.3)
    assert figures["log_loss"] == pytest.approx(-sum(map(math.log, right)) / 6)
    assert figures["roc_auc"] == pytest.approx((7 / 9 + 7 / 8 + 4.5 / 5) / 3)
    assert figures["num_sequences"] == 6


@settings(deadline=None, max_examples=30)
@given(num_right=st.integers(0, 60), num_wrong=st.integers(0, 60))
def test_the_interval_is_that_of_wilson(num_right: int, num_wrong: int) -> None:
    total = num_right + num_wrong + 1
    labels = np.array([0] * (num_right + 1) + [1] * num_wrong)
    figures = metrics.overall(labels, np.tile(float32([0.7, 0.3]), (total, 1)), majority=0)
    z, share = 1.959963984540054, (num_right + 1) / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    assert figures["accuracy_low"] == pytest.approx(centre - half)
    assert figures["accuracy_high"] == pytest.approx(min(1.0, centre + half))


def test_a_class_that_is_absent_leaves_no_roc_auc_and_warns_of_nothing() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = PROBABILITIES[[0, 1, 3, 5]].copy()
    probabilities[0] = [0.1, 0.1, 0.8]  # answers the class that is absent
    figures = metrics.overall(labels, probabilities, majority=2)
    assert figures["roc_auc"] is None
    assert figures["baseline_accuracy"] == 0
    assert figures["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_a_split_of_a_single_class_has_metrics() -> None:
    figures = metrics.overall(np.zeros(3, dtype=np.int64), PROBABILITIES[:3, :2].copy(), majority=0)
    assert figures["accuracy"] == figures["balanced_accuracy"] == pytest.approx(2 / 3)
    assert figures["roc_auc"] is None


def test_roc_auc_of_two_classes_ranks_by_the_second() -> None:
    second = float32([0.1, 0.4, 0.35, 0.8])
    figures = metrics.overall(np.array([0, 0, 1, 1]), np.stack([1 - second, second], axis=1), majority=0)
    assert figures["roc_auc"] == pytest.approx(3 / 4)


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    loss, accuracy = predict_split.log_loss_and_accuracy(np.array([1]), float32([[1, 0]]))
    assert 80 < loss < 100
    assert accuracy == 0


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(len(LABELS))))
def test_the_order_of_the_sequences_never_changes_a_figure(order: list[int]) -> None:
    lengths = np.array([1, 2, 3, 4, 5, 5])
    for figures in (
        lambda labels, probabilities, _: metrics.overall(labels, probabilities, 0),
        lambda labels, probabilities, _: metrics.per_class(labels, probabilities, toys.CLASSES),
        lambda labels, probabilities, _: metrics.confusion(labels, probabilities, toys.CLASSES),
        lambda labels, probabilities, _: metrics.calibration(labels, probabilities, 10),
        lambda labels, probabilities, lengths: metrics.length_slices(labels, probabilities, lengths, 3),
    ):
        shuffled = figures(LABELS[order], PROBABILITIES[order], lengths[order])
        assert flat(shuffled) == pytest.approx(flat(figures(LABELS, PROBABILITIES, lengths)))


def flat(figures: dict[str, object] | list[dict[str, object]]) -> list[object]:
    return [value for row in (figures if isinstance(figures, list) else [figures]) for value in row.values()]


def test_figures_of_each_class_are_those_computed_by_hand() -> None:
    rows = metrics.per_class(LABELS, PROBABILITIES, toys.CLASSES)
    assert [list(row.values()) for row in rows] == [
        ["down", pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3],
        ["level", pytest.approx(2 / 3), 1.0, pytest.approx(0.8), 2],
        ["up", 0.0, 0.0, 0.0, 1],
    ]


def test_confusion_counts_every_sequence_once() -> None:
    rows = metrics.confusion(LABELS, PROBABILITIES, toys.CLASSES)
    counts = {(row["actual"], row["predicted"]): row["count"] for row in rows}
    assert len(counts) == 9
    expected = {("down", "down"): 2, ("down", "level"): 1, ("level", "level"): 2, ("up", "down"): 1}
    assert {pair: count for pair, count in counts.items() if count} == expected


def test_calibration_puts_each_prediction_in_the_bin_of_its_confidence() -> None:
    probabilities = float32([[0.55, 0.45], [0.58, 0.42], [0.08, 0.92], [0, 1]])
    rows = metrics.calibration(np.array([0, 1, 1, 1]), probabilities, 10)
    assert [list(row.values()) for row in rows] == [
        [pytest.approx(0.565), 0.5, 2],
        [pytest.approx(0.96), 1.0, 2],  # certainty belongs to the last bin
    ]


def random_answers(num_sequences: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, num_sequences), rng.dirichlet(np.ones(3), num_sequences).astype(np.float32)


@settings(deadline=None, max_examples=50)
@given(num_sequences=st.integers(1, 40), num_bins=st.integers(1, 12), seed=st.integers(0, 99))
def test_calibration_adds_up_to_the_accuracy(num_sequences: int, num_bins: int, seed: int) -> None:
    labels, probabilities = random_answers(num_sequences, seed)
    rows = metrics.calibration(labels, probabilities, num_bins)
    assert_adds_up(rows, labels, probabilities)
    assert [row["confidence"] for row in rows] == sorted(float(str(row["confidence"])) for row in rows)


@settings(deadline=None, max_examples=50)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40), num_slices=st.integers(1, 6), seed=st.integers(0, 99)
)
def test_length_slices_add_up_and_never_overlap(lengths: list[int], num_slices: int, seed: int) -> None:
    labels, probabilities = random_answers(len(lengths), seed)
    rows = metrics.length_slices(labels, probabilities, np.array(lengths), num_slices)
    assert_adds_up(rows, labels, probabilities)
    assert len(rows) <= num_slices
    edges = [int(str(row[edge])) for row in rows for edge in ("shortest", "longest")]
    assert edges == sorted(edges)
    inner = edges[1:-1]
    assert all(longest < shortest for longest, shortest in zip(inner[::2], inner[1::2], strict=True))
    assert (edges[0], edges[-1]) == (min(lengths), max(lengths))


def assert_adds_up(rows: list[dict[str, object]], labels: np.ndarray, probabilities: np.ndarray) -> None:
    counts, accuracies = (np.array([row[column] for row in rows]) for column in ("count", "accuracy"))
    assert counts.sum() == len(labels)
    assert (counts * accuracies).sum() == pytest.approx((probabilities.argmax(1) == labels).sum())


def test_length_slices_hold_about_as_many_sequences_each() -> None:
    labels, probabilities = random_answers(100, 0)
    rows = metrics.length_slices(labels, probabilities, np.arange(1, 101), 4)
    assert [(row["shortest"], row["longest"]) for row in rows] == [(1, 25), (26, 50), (51, 75), (76, 100)]
