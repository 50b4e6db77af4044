"""What holds for every engine."""

import sys
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from rnnflow import engines
from rnnflow.classifier import parameters
from rnnflow.engines import interface
from rnnflow.engines.interface import Batch, Bucket, EngineConfig
from rnnflow.params.models import Cell, ModelParams, Pooling
from rnnflow.params.train import Decay, Engine, TrainParams
from rnnflow.runtime.errors import InputError
from tests.training.test_loop import AUGMENTATION, COMPILED_CELLS, toy_split, training

ENGINES = get_args(Engine)


def created(name: Engine, model: ModelParams, seed: int = 0, decay: Decay = "all") -> interface.Engine:
    task = EngineConfig(model, TrainParams(engine=name, decay=decay), 3, 2, np.ones(2))
    return engines.create(task, parameters.initial(model, 3, 2, np.random.default_rng(seed)), "cpu")


def batch(made: interface.Engine, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((60, 3), dtype=np.float32)
    starts, lengths = rng.integers(0, 50, 6), np.array([8, 8, 5, 3, 1, 2])
    return Batch(made.buffer(values).take(starts, 8), lengths, rng.integers(0, 2, 6), 6.0)


@pytest.mark.parametrize("cell", COMPILED_CELLS)
@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_engines_agree_on_a_whole_training_with_everything_on(cell: Cell, pooling: Pooling) -> None:
    model = ModelParams(cell=cell, hidden_size=6, num_layers=2, bidirectional=True, dropout=0.2, pooling=pooling)
    recipe: dict[str, Any] = {"label_smoothing": 0.1, "class_weights": "balanced", "epochs": 3, **AUGMENTATION}
    runs = [training(model, toy_split(60), engine=name, **recipe) for name in ENGINES]
    for run in runs:
        run.run()
    for epochs in zip(*(run.history for run in runs), strict=True):
        losses = [(epoch.train_loss, epoch.validation_loss) for epoch in epochs]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    first, second = (run.predict(toy_split(30, seed=2)) for run in runs)
    np.testing.assert_allclose(first, second, atol=5e-3)


@pytest.mark.parametrize("name", ENGINES)
def test_a_state_taken_and_loaded_continues_alike(name: Engine) -> None:
    def advance(engine: interface.Engine) -> None:
        for seed in range(3):
            engine.loss_and_grad(batch(engine, seed))
            engine.step(0.05)

    first, second = (created(name, ModelParams(cell="lstm", hidden_size=4), seed) for seed in (0, 1))
    advance(first)
    second.load_state({key: array.copy() for key, array in first.state().items()})
    advance(first)
    advance(second)
    states = [{key: array.tobytes() for key, array in engine.state().items()} for engine in (first, second)]
    assert states[0] == states[1]


@pytest.mark.parametrize("name", ENGINES)
def test_decay_of_matrices_is_that_of_pytorch_with_biases_in_a_group_without(name: Engine) -> None:
    model = ModelParams(cell="lstm", hidden_size=4, bidirectional=True)
    engine = created(name, model, decay="matrices")
    named = parameters.views(engine.state()["weights"].copy(), parameters.shapes(model, 3, 2))
    peers = {key: torch.nn.Parameter(torch.tensor(array)) for key, array in named.items()}
    groups: list[dict[str, Any]] = [
        {
            "params": [peer for key, peer in peers.items() if ("bias" in key) == is_bias],
            "weight_decay": 0.0 if is_bias else 0.2,
        }
        for is_bias in (False, True)
    ]
    optimiser = torch.optim.AdamW(groups, lr=0.05)
    for seed in range(5):
        engine.loss_and_grad(batch(engine, seed))
        gradient = parameters.views(torch.as_tensor(engine.gradient).clone().numpy(), parameters.shapes(model, 3, 2))
        for key, peer in peers.items():
            peer.grad = torch.tensor(gradient[key])
        torch.nn.utils.clip_grad_norm_(peers.values(), 1.0)
        engine.step(0.05)
        optimiser.step()
    expected = np.concatenate([peer.detach().numpy().ravel() for peer in peers.values()])
    np.testing.assert_allclose(engine.state()["weights"], expected, atol=1e-5)
    assert np.abs(expected - _stepped(created(name, model, decay="all"))).max() > 1e-2


def _stepped(engine: interface.Engine) -> np.ndarray:
    for seed in range(5):
        engine.loss_and_grad(batch(engine, seed))
        engine.step(0.05)
    return engine.state()["weights"]


@pytest.mark.parametrize("name", ENGINES)
def test_the_answers_are_those_of_the_classifier_as_it_is(name: Engine) -> None:
    engine, peer = (created(each, ModelParams(cell="gru", hidden_size=4)) for each in (name, "torch"))
    prepared = np.random.default_rng(0).standard_normal((70, 5, 3), dtype=np.float32)  # of which a batch has 32
    for lengths in (None, np.random.default_rng(0).integers(1, 6, 70)):
        np.testing.assert_allclose(engine.logits(prepared, lengths), peer.logits(prepared, lengths), atol=1e-6)
    assert engine.logits(prepared[:0], None).shape == engine.logits(prepared[:0], np.arange(0)).shape == (0, 2)
    engine.loss_and_grad(batch(engine))
    engine.step(0.1)
    assert np.abs(engine.logits(prepared, None) - peer.logits(prepared, None)).max() > 1e-3


@pytest.mark.parametrize("name", ENGINES)
def test_the_gradients_of_shares_add_up_to_that_of_the_batch(name: Engine) -> None:
    engine = created(name, ModelParams(cell="gru", hidden_size=4))
    whole = batch(engine)
    loss = float(engine.loss_and_grad(whole))
    expected = torch.as_tensor(engine.gradient).numpy().copy()
    shares = [whole.share(rank, 4) for rank in range(4)]
    losses, gradients = [], []
    for share in shares:
        assert share is not None
        losses.append(float(engine.loss_and_grad(share)))
        gradients.append(torch.as_tensor(engine.gradient).numpy().copy())
    assert sum(losses) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(sum(gradients), expected, atol=1e-6)
    assert whole.share(6, 7) is None


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("decay", get_args(Decay))
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("lengths", [[3, 8, 5, 8, 8, 2, 7, 1], [8] * 8])
def test_steps_taken_together_change_no_bit(name: Engine, decay: Decay, dropout: float, lengths: list[int]) -> None:
    model = ModelParams(cell="lstm", hidden_size=20, num_layers=2, dropout=dropout)
    rng = np.random.default_rng(0)
    masks = [rng.random(shape, np.float32) if dropout else None for shape in ((1, 8, 8, 20), (8, 20))]
    together, alone = (created(name, model, decay=decay) for _ in range(2))
    inputs = together.buffer(rng.standard_normal((64, 3), np.float32)).take(np.arange(8) * 8, 8)
    bounds, rates = np.array([[3, 5], [5, 8], [0, 3]]), [0.1, 0.05, 0.01]
    given = Bucket(inputs, np.array(lengths), rng.integers(0, 2, 8), bounds, np.array([2.0, 3.0, 3.0]), *masks)
    losses = []
    for each, rate in zip(given, rates, strict=True):
        losses.append(float(alone.loss_and_grad(each)))
        alone.step(rate)
    of_first = together.train(given.first(2), rates[:2])
    of_rest = together.train(replace(given, bounds=bounds[2:], total_weights=given.total_weights[2:]), rates[2:])
    assert [float(loss) for loss in [*of_first, *of_rest]] == losses
    for key, array in alone.state().items():
        assert together.state()[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(("cell", "scale"), [("rnn", 1.0), ("lstm", 0.1), ("gru", 0.1)])
def test_gradients_that_vanish_over_a_long_sequence_become_zero_without_denormal_numbers(
    name: Engine, cell: Cell, scale: float
) -> None:
    engine = created(name, ModelParams(cell=cell, hidden_size=4))
    engine.load_state({"weights": scale * engine.state()["weights"]})
    for num_steps in range(100, 260, 5):
        values = np.zeros((num_steps, 3), np.float32)
        values[0] = 1.0  # the weights of the input have a gradient from the first step alone
        inputs = engine.buffer(values).take(np.zeros(2, np.int64), num_steps)
        engine.loss_and_grad(Batch(inputs, None, np.array([0, 1]), 2.0))
        engine.step(0.0)
        for array in (torch.as_tensor(engine.gradient).numpy(), *engine.state().values()):
            assert not ((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny)).any(), num_steps


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("flushes", [False, True])
def test_a_caller_computes_with_denormal_numbers_as_before(name: Engine, flushes: bool) -> None:
    engine = created(name, ModelParams(cell="gru", hidden_size=4))
    smallest = np.array([np.finfo(np.float32).tiny])
    torch.set_flush_denormal(flushes)
    try:
        engine.loss_and_grad(batch(engine))
        engine.step(0.1)
        engine.logits(np.zeros((2, 5, 3), np.float32), None)
        assert (float((smallest / 2)[0]) == 0.0) == flushes
    finally:
        torch.set_flush_denormal(False)


def test_an_engine_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("rnnflow.engines.numba")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(InputError, match=r"^train\.engine: numba is not installed .*pip install 'rnnflow\[fast\]'"):
        engines.device("numba")


def test_an_engine_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match=r"^train\.engine: there is no engine 'abacus' here"):
        engines.device("abacus")
