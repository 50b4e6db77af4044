"""A training that was killed goes on where it was, and ends with the same bits."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnflow.classifier import safetensors_files
from rnnflow.params.models import Cell, ModelParams
from rnnflow.params.train import Engine
from rnnflow.training.loop import Epoch
from tests.training.test_loop import AUGMENTATION, ENGINES, STEMMED, TRAINABLE, final_fit, training, weights


class Killed(BaseException):
    """Stands for whatever ends a process in the middle of a training."""


def kill_after(num_epochs: int) -> Callable[[Epoch], None]:
    seen: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        seen.append(epoch)
        if len(seen) == num_epochs:
            raise Killed

    return on_epoch


@pytest.mark.parametrize(("engine", "cell"), TRAINABLE)
@pytest.mark.parametrize("killed_after", [1, 5])
def test_a_resumed_training_ends_with_the_same_bits(
    engine: Engine, cell: Cell, killed_after: int, tmp_path: Path
) -> None:
    model = ModelParams(cell=cell, hidden_size=4, num_layers=2, dropout=0.3, bidirectional=True, pooling="mean_max")
    recipe: dict[str, Any] = {"label_smoothing": 0.05, "class_weights": "balanced", "sampling": "balanced"}
    recipe |= {"engine": engine, "weight_decay": 0.01, **AUGMENTATION}
    whole = training(model, **recipe)
    whole.run()

    resume = tmp_path / "state.safetensors"
    killer = kill_after(killed_after)
    with pytest.raises(Killed):
        training(model, **recipe).run(resume, killer)
    resumed = training(model, **recipe)
    history: list[Epoch] = []
    resumed.run(resume, history.append)

    assert weights(resumed) == weights(whole)
    assert history == whole.history


def test_a_resumed_training_keeps_the_best_weights_of_before(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {"early_stopping_patience": 2, "epochs": 12, "learning_rate": 0.3}
    model = ModelParams(cell="gru", hidden_size=4)
    whole = training(model, **recipe)
    whole.run()
    assert whole.best_epoch < len(whole.history) < 12
    resume = tmp_path / "state.safetensors"
    killer = kill_after(len(whole.history) - 1)
    with pytest.raises(Killed):
        training(model, **recipe).run(resume, killer)
    resumed = training(model, **recipe)
    resumed.run(resume)
    assert weights(resumed) == weights(whole)
    assert len(resumed.history) == len(whole.history)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("killed_after", [1, 2, 4])
def test_a_training_by_steps_that_is_resumed_ends_with_the_same_bytes(
    tmp_path: Path, engine: Engine, killed_after: int
) -> None:
    model = ModelParams(cell="gru", hidden_size=4, dropout=0.2)
    recipe: dict[str, Any] = {"epochs": None, "steps": 23, "batch_size": 8, "jitter": 0.1, "engine": engine}
    whole = training(model, **recipe)
    whole.run()
    assert whole.num_steps % len(whole.batches)
    resume = tmp_path / "state.safetensors"
    killer = kill_after(killed_after)
    with pytest.raises(Killed):
        training(model, **recipe).run(resume, killer)
    resumed = training(model, **recipe)
    resumed.run(resume)
    assert weights(resumed) == weights(whole)
    assert resumed.history == whole.history


def test_only_the_remaining_epochs_are_run(tmp_path: Path) -> None:
    resume = tmp_path / "state.safetensors"
    model = ModelParams(cell="rnn", hidden_size=4)
    killer = kill_after(4)
    with pytest.raises(Killed):
        training(model).run(resume, killer)
    resumed = training(model)
    num_steps_before = resumed.engine.state()["num_steps"]
    resumed.run(resume)
    assert num_steps_before == 0
    assert resumed.engine.state()["num_steps"] == resumed.num_steps
    assert len(resumed.history) == 6


def test_a_damaged_state_is_said_and_training_starts_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ModelParams(cell="rnn", hidden_size=4)
    whole = training(model)
    whole.run()
    resume = tmp_path / "state.safetensors"
    training(model).run(resume)
    resume.write_bytes(resume.read_bytes()[:-10])
    again = training(model)
    again.run(resume)
    assert "damaged" in capsys.readouterr().out
    assert weights(again) == weights(whole)


def without(name: str, found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != name}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays, about: (without("weights", arrays), about), r"'weights': expected float32 \[42\], got none"),
        (lambda arrays, about: (arrays | {"x": np.zeros(2)}, about), r"'x': expected none, got float64 \[2\]"),
        (lambda arrays, about: (arrays | {"weights": np.zeros((6, 7), np.float32)}, about), r"got float32 \[6, 7\]"),
        (lambda arrays, about: (arrays, without("rng", about)), "rng: missing"),
        (lambda arrays, about: (arrays, about | {"rng": {"bit_generator": "PCG64"}}), "'rng': "),
        (lambda arrays, about: (arrays, about | {"history": [{"loss": 1}]}), "history.0.train_loss: missing"),
        (lambda arrays, about: (arrays, about | {"history": 9 * about["history"]}), "expected 1 to 6 epochs, got 9"),
        (lambda arrays, _: (arrays, None), "got None"),
    ],
)
def test_a_state_of_another_shape_is_set_aside_and_training_starts_over(
    engine: Engine,
    change: Callable[..., tuple[Any, Any]],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, resume = ModelParams(cell="rnn", hidden_size=4), tmp_path / "state.safetensors"
    whole = training(model, engine=engine)
    whole.run()
    with pytest.raises(Killed):
        training(model, engine=engine).run(resume, kill_after(1))
    safetensors_files.write(resume, *change(*safetensors_files.read(resume)))
    again = training(model, engine=engine)
    again.run(resume)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.search(f"not a state of this training: .*{said}.*; training starts over, and the file is kept as", line)
    assert weights(again) == weights(whole)


@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_a_resumed_training_with_norms_ends_with_the_same_bits(decay: str, tmp_path: Path) -> None:
    recipe: dict[str, Any] = {"engine": "torch", "decay": decay, "weight_decay": 0.1, **AUGMENTATION}
    whole = training(STEMMED, **recipe)
    arrays = whole.run()
    assert (arrays["stem.norms.0.running_var"] > 0).all()
    resume = tmp_path / "state.safetensors"
    killer = kill_after(2)
    with pytest.raises(Killed):
        training(STEMMED, **recipe).run(resume, killer)
    resumed = training(STEMMED, **recipe)
    resumed.run(resume)
    assert weights(resumed) == weights(whole)
    assert resumed.history == whole.history


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_resumed_training_without_validation_ends_with_the_same_bits(killed_after: int, tmp_path: Path) -> None:
    model = ModelParams(cell="gru", hidden_size=4, dropout=0.2, num_layers=2)
    whole = final_fit(model, 4, **AUGMENTATION)
    whole.run()
    resume = tmp_path / "state.safetensors"
    killer = kill_after(killed_after)
    with pytest.raises(Killed):
        final_fit(model, 4, **AUGMENTATION).run(resume, killer)
    resumed = final_fit(model, 4, **AUGMENTATION)
    resumed.run(resume)
    assert weights(resumed) == weights(whole)


@pytest.mark.parametrize(("engine", "cell"), TRAINABLE)
def test_a_training_without_validation_ends_on_its_last_epoch_and_keeps_its_weights(engine: Engine, cell: Cell) -> None:
    model = ModelParams(cell=cell, hidden_size=4, dropout=0.2, num_layers=2)
    whole = final_fit(model, 6, engine=engine)
    whole.run()
    rates = [epoch.learning_rate for epoch in whole.history]
    ended = final_fit(model, 4, early_stopping_patience=1, engine=engine)
    ended.run()
    assert [epoch.learning_rate for epoch in ended.history] == rates[:4]
    assert ended.engine.state()["num_steps"] == 4 * -(-70 // 8)
    assert ended.chosen_epoch == 4
    assert weights(ended) != weights(whole)
    stepped = final_fit(model, 6, engine=engine)
    killer = kill_after(4)
    with pytest.raises(Killed):
        stepped.run(on_epoch=killer)
    assert weights(ended) == weights(stepped)
