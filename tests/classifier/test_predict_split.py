from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.classifier import predict_split
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.classifier.preparation import Preparation
from rnnflow.params.models import Cell, ModelParams
from rnnflow.sequences.dataset import SequenceDataset
from tests import toys


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


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    loss, accuracy = predict_split.log_loss_and_accuracy(np.array([1]), float32([[1, 0]]))
    assert 80 < loss < 100
    assert accuracy == 0
