from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow import engines
from rnnflow.classifier import parameters
from rnnflow.params.models import Cell, ModelParams, MultiScaleStemParams
from tests import toys
from tests.engines.test_numba import assert_right, batch, engine, task, weights
from tests.training.test_loop import COMPILED_CELLS, training
from tests.training.test_loop import STEMMED as SMALL
from tests.training.test_resume import Killed, kill_after

STEM = MultiScaleStemParams(kind="multi_scale", kernel_sizes=[3, 9], block_sizes=[2, 2, 1])
STEMMED = ModelParams(cell="lstm", bidirectional=True, pooling="mean_max", stem=STEM)


@pytest.mark.parametrize("cell", COMPILED_CELLS)
def test_gradients_are_those_of_autograd(cell: Cell) -> None:
    for lengths in ([40] * 5, [33, 1, 17, 50]):
        made = task(STEMMED.model_copy(update={"cell": cell, "num_layers": 2}), label_smoothing=0.1)
        assert_right(made, batch(made, lengths, dropout=0.3))


@settings(deadline=None, max_examples=20)
@given(
    stem=toys.multi_scale_stems(st.booleans()),
    channels=st.integers(1, 20),
    output_size=st.integers(1, 40),
    num_features=st.integers(1, 20),
    lengths=st.lists(st.integers(4, 20), min_size=2, max_size=9),
    bidirectional=st.booleans(),
    hidden_size=st.integers(1, 20),
)
def test_gradients_are_right_at_any_size(
    stem: MultiScaleStemParams, channels: int, output_size: int, num_features: int, lengths: list[int],
    bidirectional: bool, hidden_size: int,
) -> None:  # fmt: skip
    stem = stem.model_copy(update={"channels": channels, "output_size": output_size})
    model = ModelParams(cell="gru", hidden_size=hidden_size, bidirectional=bidirectional, pooling="mean", stem=stem)
    made = task(model, num_features)
    assert_right(made, batch(made, lengths))


def test_it_answers_and_moves_the_running_statistics_as_pytorch_does() -> None:
    ours, peer = (
        engines.create(task(STEMMED, engine=name), weights(task(STEMMED)), "cpu") for name in ("numba", "torch")
    )
    for seed, lengths in enumerate([[30, 12, 5], [8] * 6]):
        given = batch(task(STEMMED), lengths, seed=seed, garbage=0.0)
        ours.loss_and_grad(given)
        peer.loss_and_grad(given.__class__(**{**vars(given), "inputs": peer.array(given.inputs)}))
        np.testing.assert_allclose(ours.state()["weights"], peer.state()["weights"], rtol=1e-5, atol=1e-6)
        found, expected = (each.logits(given.inputs, given.lengths) for each in (ours, peer))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_what_stands_in_the_padding_or_was_there_before_changes_no_bit(causal: bool) -> None:
    made = task(STEMMED.model_copy(update={"stem": STEM.model_copy(update={"causal": causal})}))
    found = []
    for garbage in (np.nan, 1e30, 0.0):
        used = engine(made)
        used.loss_and_grad(batch(made, [60] * 8, seed=1))  # leaves its own numbers in the scratch
        used.load_state({"weights": weights(made)})
        used.loss_and_grad(batch(made, [27, 2, 15], garbage=garbage))
        found.append(used.gradient.tobytes() + used.weights.tobytes())
    fresh = engine(made)
    fresh.loss_and_grad(batch(made, [27, 2, 15]))
    assert {fresh.gradient.tobytes() + fresh.weights.tobytes()} == set(found)


def test_weight_decay_leaves_running_statistics_alone() -> None:
    made = task(STEMMED, weight_decay=0.5)
    used = engine(made)
    used.loss_and_grad(batch(made, [20, 20]))
    before = used.weights.copy()
    used.step(0.1)
    shapes = parameters.shapes(STEMMED, made.num_features, made.num_classes)
    old, new = parameters.views(before, shapes), parameters.views(used.weights, shapes)
    same = {name for name in shapes if np.array_equal(old[name], new[name])}
    assert same == {name for name in shapes if parameters.is_statistic(name)}


def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Any) -> None:
    whole = training(SMALL, engine="numba")
    whole.run()
    resume, killer = tmp_path / "state.safetensors", kill_after(3)
    with pytest.raises(Killed):
        training(SMALL, engine="numba").run(resume, killer)
    resumed = training(SMALL, engine="numba")
    resumed.run(resume)
    assert resumed.weights.tobytes() == whole.weights.tobytes()
