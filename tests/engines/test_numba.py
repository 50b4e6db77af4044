from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow import engines
from rnnflow.classifier import parameters
from rnnflow.classifier.model import SequenceClassifier, restored
from rnnflow.engines.interface import Batch, EngineConfig
from rnnflow.engines.numba.engine import NumbaEngine
from rnnflow.params.models import Cell, ModelParams, Pooling, StemParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime.errors import InputError
from tests.training.test_loop import COMPILED_CELLS

NUM_FEATURES, NUM_CLASSES = 3, 4
LARGEST_ERROR = 5e-6
"""Of a gradient, against float64 autograd, as a share of the largest."""


def task(model: ModelParams, num_features: int = NUM_FEATURES, **recipe: Any) -> EngineConfig:
    class_weights = np.linspace(0.5, 1.5, NUM_CLASSES)
    return EngineConfig(model, TrainParams.model_validate(recipe), num_features, NUM_CLASSES, class_weights)


def weights(made: EngineConfig) -> np.ndarray:
    return parameters.initial(made.model, made.num_features, made.num_classes, np.random.default_rng(0))


def engine(made: EngineConfig) -> NumbaEngine:
    created = engines.create(made, weights(made), "cpu")
    assert isinstance(created, NumbaEngine)
    return created


def batch(
    made: EngineConfig, lengths: list[int], dropout: float = 0.0, seed: int = 0, garbage: float = np.nan
) -> Batch:
    """A batch with garbage in the padding, and dropout masks where wanted."""
    rng = np.random.default_rng(seed)
    valid, model = np.array(lengths), made.model
    inputs = rng.standard_normal((len(lengths), max(lengths), made.num_features), dtype=np.float32)
    inputs[np.arange(max(lengths)) >= valid[:, None]] = garbage
    labels = rng.integers(0, NUM_CLASSES, len(lengths))
    step_mask = head_mask = None
    if dropout:
        shape = (model.num_layers - 1, len(lengths), model.num_layer_steps(max(lengths)), model.output_size)
        step_mask = ((rng.random(shape) > dropout) / (1 - dropout)).astype(np.float32)
        head_mask = ((rng.random((len(lengths), model.pooled_size)) > dropout) / (1 - dropout)).astype(np.float32)
    is_ragged = min(lengths) < max(lengths)
    total = float(made.class_weights[labels].sum())
    return Batch(inputs, valid if is_ragged else None, labels, total, step_mask, head_mask)


def by_autograd(made: EngineConfig, given: Batch, dtype: torch.dtype = torch.float64) -> tuple[float, np.ndarray]:
    """Loss and gradient."""
    shapes = parameters.shapes(made.model, made.num_features, made.num_classes)
    arrays = parameters.views(weights(made), shapes)
    unscaled = SequenceClassifier(made.model, made.num_features, made.num_classes).preparation.arrays()
    model = restored({**unscaled, **arrays}, made.model, made.num_features, made.num_classes).to(dtype)
    assert isinstance(model, SequenceClassifier)
    masks = [None if mask is None else torch.from_numpy(mask).to(dtype) for mask in (given.step_mask, given.head_mask)]
    inputs = torch.from_numpy(np.nan_to_num(given.inputs, nan=0.0)).to(dtype)
    lengths = None if given.lengths is None else torch.from_numpy(given.lengths)
    logits = model.classify(inputs, lengths, *masks, is_training=True)
    loss = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(given.labels), torch.from_numpy(made.class_weights).to(dtype),
        label_smoothing=made.train.label_smoothing,
    )  # fmt: skip
    loss.backward()
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in model.parameters()]
    return loss.item(), np.concatenate([gradient.numpy().ravel() for gradient in gradients])


def assert_right(made: EngineConfig, given: Batch) -> None:
    expected_loss, expected = by_autograd(made, given)
    trained = engine(made)
    trained.gradient[:] = np.nan
    assert trained.loss_and_grad(given) == pytest.approx(expected_loss, rel=1e-5)
    error = np.abs(trained.gradient - expected).max()
    if error > LARGEST_ERROR * np.abs(expected).max():  # a norm over two values that nearly agree magnifies rounding
        _, rounded = by_autograd(made, given, torch.float32)
        assert error <= 4 * np.abs(rounded - expected).max()


@pytest.mark.parametrize(
    ("cell", "num_layers", "bidirectional", "pooling"),
    [*product(COMPILED_CELLS, [1, 2], [False, True], get_args(Pooling))],
)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_autograd(
    cell: Cell, num_layers: int, bidirectional: bool, pooling: Pooling, dropout: float
) -> None:
    for hidden_size, lengths in ((5, [9, 1, 4, 9, 7]), (20, [6] * 9), (32, [12, 3, 1])):
        model = ModelParams(
            cell=cell, num_layers=num_layers, bidirectional=bidirectional, pooling=pooling, hidden_size=hidden_size
        )
        made = task(model, label_smoothing=0.1)
        assert_right(made, batch(made, lengths, dropout))


@settings(deadline=None, max_examples=40)
@given(
    cell=st.sampled_from(COMPILED_CELLS),
    hidden_size=st.integers(1, 40),
    num_features=st.integers(1, 35),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=20),
    num_layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    pooling=st.sampled_from(get_args(Pooling)),
    dropout=st.sampled_from([0.0, 0.5]),
)
def test_gradients_are_right_at_any_size(
    cell: Cell,
    hidden_size: int,
    num_features: int,
    lengths: list[int],
    num_layers: int,
    bidirectional: bool,
    pooling: Pooling,
    dropout: float,
) -> None:
    model = ModelParams(
        cell=cell, hidden_size=hidden_size, num_layers=num_layers, bidirectional=bidirectional, pooling=pooling
    )
    made = task(model, num_features)
    assert_right(made, batch(made, lengths, dropout))


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_equal_largest_states_share_the_gradient_as_in_pytorch(pooling: Pooling) -> None:
    made = task(ModelParams(cell="rnn", hidden_size=4, pooling=pooling))
    given = batch(made, [6, 6])
    given.inputs[:] = 50.0  # every state is -1 or 1
    expected_loss, _ = by_autograd(made, given)
    assert engine(made).loss_and_grad(given) == pytest.approx(expected_loss, rel=1e-5)


@pytest.mark.parametrize("cell", COMPILED_CELLS)
def test_one_engine_takes_batches_of_all_sizes_one_after_another(cell: Cell) -> None:
    made = task(ModelParams(cell=cell, hidden_size=6, num_layers=2, bidirectional=True, pooling="mean_max"))
    used = engine(made)
    for seed, lengths in enumerate([[4, 2], [30, 8, 8, 1, 2, 25, 3], [1], [5] * 40, [2, 30]]):
        given = batch(made, lengths, dropout=0.3, seed=seed)
        fresh = engine(made)
        assert used.loss_and_grad(given) == fresh.loss_and_grad(given)
        assert used.gradient.tobytes() == fresh.gradient.tobytes()


@pytest.mark.parametrize("cell", COMPILED_CELLS)
@pytest.mark.parametrize("pooling", get_args(Pooling))
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_value_that_is_no_number_is_never_hidden(cell: Cell, pooling: Pooling, bidirectional: bool) -> None:
    made = task(ModelParams(cell=cell, hidden_size=6, pooling=pooling, bidirectional=bidirectional))
    for row, step in ((0, 0), (0, 8), (1, 3), (2, 0)):
        for value in (np.nan, np.inf):
            given = batch(made, [9, 4, 1])
            given.inputs[row, step, 1] = value
            loss = engine(made).loss_and_grad(given)
            assert np.isnan(loss) or np.isinf(value)  # a saturated cell answers infinity with a number, as PyTorch's
        given.inputs[row, step, 1] = np.nan
        logits = engine(made).logits(given.inputs, given.lengths)
        assert np.isnan(logits).all(1).tolist() == [other == row for other in range(3)]


@pytest.mark.parametrize("cell", COMPILED_CELLS)
def test_what_stands_in_the_padding_changes_no_bit(cell: Cell) -> None:
    made = task(ModelParams(cell=cell, hidden_size=6, num_layers=2, bidirectional=True, pooling="mean_max"))
    found = []
    for garbage in (np.nan, np.inf, 1e30, 0.0):
        used = engine(made)
        used.loss_and_grad(batch(made, [7, 2, 5], garbage=garbage))
        found.append(used.gradient.tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("max_grad_norm", [0.05, 100.0])
def test_a_step_is_clipping_and_adamw(weight_decay: float, max_grad_norm: float) -> None:
    made = task(ModelParams(cell="gru", hidden_size=7), weight_decay=weight_decay, max_grad_norm=max_grad_norm)
    used = engine(made)
    peer = torch.nn.Parameter(torch.from_numpy(weights(made)))
    optimiser = torch.optim.AdamW([peer], lr=0.01, weight_decay=weight_decay)
    for seed in range(5):
        used.loss_and_grad(batch(made, [5, 3], seed=seed))
        peer.grad = torch.from_numpy(used.gradient.copy())
        torch.nn.utils.clip_grad_norm_([peer], max_grad_norm)
        optimiser.step()
        used.step(0.01)
    np.testing.assert_allclose(used.weights, peer.detach().numpy(), rtol=1e-4, atol=1e-6)


STEM = ModelParams(cell="gru", stem=StemParams(channels=4))


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (task(ModelParams(cell="mingru")), r"cell mingru \(models\.….cell\)"),
        (task(STEM), r"a stem of kind convolutions \(models\.….stem\)"),
        (task(ModelParams(cell="gru"), precision="bfloat16"), r"precision bfloat16 \(train\.precision\)"),
        (task(ModelParams(cell="gru"), cuda_graphs=True), r"CUDA graphs \(train\.cuda_graphs\)"),
        (task(ModelParams(cell="gru"), num_threads=2), r"2 threads \(train\.num_threads\)"),
    ],
)
def test_what_it_lacks_is_said(made: EngineConfig, name: str) -> None:
    with pytest.raises(InputError, match=f"^train.engine: numba does not support {name}; .* choose engine torch$"):
        engine(made)


def test_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_DEVICE", "cuda")
    with pytest.raises(InputError, match=r"RNNFLOW_DEVICE is cuda, but train\.engine numba runs on the CPU"):
        engines.device("numba")
    monkeypatch.setenv("RNNFLOW_DEVICE", "auto")
    assert engines.device("numba") == "cpu"
