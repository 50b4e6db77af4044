"""What holds for every engine."""

import sys
from typing import Any, get_args

import numpy as np
import pytest
import torch

from rnnflow import engines
from rnnflow.classifier import parameters
from rnnflow.engines import interface
from rnnflow.engines.interface import Batch, EngineConfig
from rnnflow.params.models import Cell, ModelParams, Pooling
from rnnflow.params.train import Engine, TrainParams
from rnnflow.runtime.errors import InputError
from tests.training.test_loop import AUGMENTATION, toy_split, training

ENGINES = get_args(Engine)


def created(name: Engine, model: ModelParams, seed: int = 0) -> interface.Engine:
    task = EngineConfig(model, TrainParams(engine=name), 3, 2, np.ones(2))
    return engines.create(task, parameters.initial(model, 3, 2, np.random.default_rng(seed)), "cpu")


def batch(made: interface.Engine, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((60, 3), dtype=np.float32)
    starts, lengths = rng.integers(0, 50, 6), np.array([8, 8, 5, 3, 1, 2])
    return Batch(made.buffer(values).take(starts, 8), lengths, rng.integers(0, 2, 6), 6.0)


@pytest.mark.parametrize("cell", get_args(Cell))
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
def test_the_answers_are_those_of_the_classifier_as_it_is(name: Engine) -> None:
    engine, peer = (created(each, ModelParams(cell="gru", hidden_size=4)) for each in (name, "torch"))
    prepared = np.random.default_rng(0).standard_normal((4, 5, 3), dtype=np.float32)
    for lengths in (None, np.array([5, 2, 1, 4])):
        np.testing.assert_allclose(engine.logits(prepared, lengths), peer.logits(prepared, lengths), atol=1e-6)
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
