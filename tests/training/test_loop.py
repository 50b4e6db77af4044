import math
from dataclasses import asdict
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest

from rnnflow.engines.numba import plan
from rnnflow.params.models import Cell, Missing, ModelParams, MultiScaleStemParams, StemParams
from rnnflow.params.train import Engine, TrainParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.dataset import SequenceDataset, joined
from rnnflow.training.batching import batch_size
from rnnflow.training.loop import Training
from rnnflow.training.schedule import one_cycle

CELLS = get_args(Cell)
ENGINES = get_args(Engine)
COMPILED_CELLS: tuple[Cell, ...] = tuple(cell for cell in CELLS if cell in plan.CELLS)
TRAINABLE = [*product(["numba"], COMPILED_CELLS), *product(["torch"], CELLS)]
"""Each engine with the cells that it has."""
AUGMENTATION: dict[str, Any] = {"jitter": 0.1, "random_scale": 0.1, "time_mask": 0.3, "random_crop": 0.3}


def toy_split(num_sequences: int = 50, seed: int = 0, min_length: int = 2, num_features: int = 2) -> SequenceDataset:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(min_length, 8, num_sequences)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = rng.standard_normal((offsets[-1], num_features), dtype=np.float32)
    labels = (np.add.reduceat(values[:, 0], offsets[:-1]) > 0).astype(np.int32)
    return SequenceDataset(values, offsets, labels, tuple(f"f{i}" for i in range(num_features)), ("no", "yes"))


def training(model: ModelParams, train: SequenceDataset | None = None, **recipe: Any) -> Training:
    settings = TrainParams.model_validate({"epochs": 6, "batch_size": 8} | recipe)
    return Training(train or toy_split(), toy_split(20, seed=1), model, settings)


def weights(trained: Training) -> bytes:
    return trained.weights.tobytes()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("steps", [1, 10, 37])
def test_a_training_takes_as_many_steps_as_it_is_told(engine: Engine, steps: int) -> None:
    run = training(ModelParams(cell="rnn", hidden_size=4), epochs=None, steps=steps, batch_size=8, engine=engine)
    run.run()
    assert run.engine.state()["num_steps"] == steps == run.chosen_step
    assert len(run.history) == math.ceil(steps / len(run.batches)) == run.last_epoch
    assert run.history[-1].learning_rate == one_cycle(steps - 1, steps, run.params.learning_rate)


@pytest.mark.parametrize("engine", ENGINES)
def test_steps_of_whole_epochs_are_those_epochs(engine: Engine) -> None:
    model = ModelParams(cell="gru", hidden_size=4)
    by_epochs = training(model, epochs=4, engine=engine)
    by_steps = training(model, epochs=None, steps=by_epochs.num_steps, engine=engine)
    by_epochs.run()
    by_steps.run()
    assert weights(by_steps) == weights(by_epochs)


def test_a_final_fit_by_steps_ends_where_validation_chose_whatever_its_epochs_hold() -> None:
    recipe: dict[str, Any] = {"epochs": None, "steps": 40, "batch_size": 8}
    model = ModelParams(cell="gru", hidden_size=4)
    run = training(model, **recipe, early_stopping_patience=1, learning_rate=0.3)
    run.run()
    assert run.chosen_step == run.best_epoch * len(run.batches) < 40
    both = joined(toy_split(), toy_split(20, seed=1))
    final = Training(both, None, model, TrainParams.model_validate(recipe), last_step=run.chosen_step)
    final.run()
    assert len(final.batches) != len(run.batches)
    assert final.engine.state()["num_steps"] == run.chosen_step


@pytest.mark.parametrize(("engine", "cell"), TRAINABLE)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(engine: Engine, cell: Cell) -> None:
    model = ModelParams(cell=cell, hidden_size=4)
    runs = [training(model, seed=seed, engine=engine) for seed in (0, 0, 1)]
    for run in runs:
        run.run()
    assert weights(runs[0]) == weights(runs[1]) != weights(runs[2])


@pytest.mark.parametrize(("engine", "cell"), TRAINABLE)
def test_a_classifier_learns(engine: Engine, cell: Cell) -> None:
    recipe: dict[str, Any] = {"engine": engine, "epochs": 20, "batch_size": 32, "learning_rate": 0.02}
    run = training(ModelParams(cell=cell, hidden_size=16), toy_split(400), **recipe)
    run.run()
    assert run.history[-1].train_loss < 0.3
    assert run.history[-1].validation_accuracy > 0.8


def test_a_stem_and_scaling_by_sequence_train() -> None:
    model = ModelParams(cell="gru", hidden_size=4, stem=StemParams(channels=3, kernel_size=3), scaling="sequence")
    run = training(model, engine="torch")
    run.run()
    assert all(np.isfinite(list(asdict(epoch).values())).all() for epoch in run.history)


@pytest.mark.parametrize("engine", ["numba", "torch"])
@pytest.mark.parametrize("missing", ["zero", "mask"])
def test_several_scalings_train_side_by_side(engine: Engine, missing: Missing) -> None:
    model = ModelParams(
        cell="gru", hidden_size=4, scaling=["global", "compressed", "sequence"], differences=True, missing=missing
    )
    run = training(model, engine=engine, jitter=0.1)
    run.run()
    assert next(iter(run.batches)).inputs.shape[2] == 3 * 2 * 2 + (2 if missing == "mask" else 0)
    assert all(np.isfinite(list(asdict(epoch).values())).all() for epoch in run.history)


def test_a_list_of_one_scaling_is_that_scaling() -> None:
    one = training(ModelParams(cell="gru", hidden_size=4, scaling="global"))
    listed = training(ModelParams(cell="gru", hidden_size=4, scaling=["global"]))
    assert {name: array.tobytes() for name, array in one.run().items()} == {
        name: array.tobytes() for name, array in listed.run().items()
    }


MULTI_SCALE: dict[str, Any] = {"kind": "multi_scale", "kernel_sizes": [3, 5], "channels": 2, "output_size": 3}
STEMMED = ModelParams(
    cell="lstm",
    hidden_size=4,
    num_layers=2,
    dropout=0.2,
    bidirectional=True,
    pooling="mean_max",
    stem=MultiScaleStemParams(**MULTI_SCALE, block_sizes=[2, 1, 1]),
)


@pytest.mark.parametrize(
    ("stem", "recipe", "message"),
    [
        ({"kernel_sizes": [3, 39]}, {}, r"kernel_sizes: 39 steps are more than sequences of at most 7 steps can fill"),
        ({"block_sizes": [2, 2, 2]}, {}, r"block_sizes \[2, 2, 2\] make one step of 8, but the longest sequence has 7"),
        ({"block_sizes": [2, 1, 1]}, {"num_processes": 2}, "train.num_processes: 2, but the norms"),
        ({"block_sizes": [2, 1, 1]}, {"cuda_graphs": True}, "train.cuda_graphs: true, but to record a batch"),
        ({"block_sizes": [2, 1, 1]}, {"batch_size": 1}, "train.batch_size: 1 leaves a batch of one sequence"),
    ],
)
def test_a_stem_that_does_not_fit_is_refused(stem: dict[str, Any], recipe: dict[str, Any], message: str) -> None:
    params = ModelParams(cell="gru", stem=MultiScaleStemParams(**(MULTI_SCALE | stem)))
    with pytest.raises(InputError, match=message):
        training(params, engine="torch", **recipe)


@pytest.mark.parametrize(("num_sequences", "size"), [(33, 13), (50, 14), (241, 13), (200, 16), (9, 16)])
def test_with_a_norm_no_sequence_is_left_alone_in_a_batch(num_sequences: int, size: int) -> None:
    recipe = TrainParams(batch_size=16)
    with_norm = ModelParams(cell="gru", stem=MultiScaleStemParams(**MULTI_SCALE))
    assert batch_size(num_sequences, with_norm, recipe) == size
    assert batch_size(num_sequences, ModelParams(cell="gru"), recipe) == 16


def test_early_stopping_returns_the_weights_of_the_best_epoch() -> None:
    run = training(ModelParams(cell="gru", hidden_size=4), epochs=40, learning_rate=0.3, early_stopping_patience=3)
    run.run()
    assert len(run.history) == run.best_epoch + 3
    assert run.weights.tobytes() == run.best_weights.tobytes()


@pytest.mark.parametrize("name", AUGMENTATION)
def test_each_augmentation_changes_what_is_learnt_and_not_what_is_validated(name: str) -> None:
    model = ModelParams(cell="gru", hidden_size=4, missing="mask")
    plain, changed = training(model), training(model, **{name: AUGMENTATION[name]})
    assert plain._validate() == changed._validate() == changed._validate()
    for run in (plain, changed):
        run.run()
    assert weights(plain) != weights(changed)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_missing_value_that_the_model_refuses_is_named_before_training(name: str) -> None:
    splits = {"train": toy_split(), "validation": toy_split(20, seed=1)}
    start = splits[name].offsets[7]
    splits[name].values[start, 1] = np.nan
    model = ModelParams(cell="rnn", hidden_size=4, missing="refuse")
    with pytest.raises(InputError, match=f"^{name} split: sequence 7: a value of feature 'f1' is missing"):
        Training(splits["train"], splits["validation"], model, TrainParams(epochs=1))


@pytest.mark.parametrize(("engine", "cell"), TRAINABLE)
def test_every_way_of_preparation_trains(engine: Engine, cell: Cell) -> None:
    split = toy_split()
    split.values[::5, 0] = np.nan
    for missing in ("zero", "forward_fill", "mask"):
        model = ModelParams(cell=cell, hidden_size=4, missing=missing, downsampling=2, differences=True)
        run = training(model, split, epochs=2, engine=engine)
        run.run()
        assert all(np.isfinite(list(asdict(epoch).values())).all() for epoch in run.history)


def final_fit(model: ModelParams, last_epoch: int, **recipe: Any) -> Training:
    settings = TrainParams.model_validate({"epochs": 6, "batch_size": 8} | recipe)
    return Training(joined(toy_split(), toy_split(20, seed=1)), None, model, settings, last_epoch=last_epoch)


def test_the_chosen_epoch_is_the_best_where_training_stops_early_and_else_the_last() -> None:
    model = ModelParams(cell="gru", hidden_size=4)
    early = training(model, epochs=40, learning_rate=0.3, early_stopping_patience=3)
    early.run()
    assert early.chosen_epoch == early.best_epoch == len(early.history) - 3
    whole = training(model, epochs=12, learning_rate=0.3)
    whole.run()
    assert whole.chosen_epoch == 12 > whole.best_epoch


def test_the_scaling_is_fitted_to_the_train_split() -> None:
    split = toy_split()
    split.values[3, 0] = np.nan
    preparation = training(ModelParams(cell="rnn", hidden_size=4), split).preparation
    np.testing.assert_allclose(preparation.mean, np.nanmean(split.values, 0), rtol=1e-5, atol=1e-6)


def test_a_constant_feature_is_not_divided_by_zero() -> None:
    split = toy_split()
    split.values[:, 1] = 7.0
    run = training(ModelParams(cell="rnn", hidden_size=4), split)
    run.run()
    assert np.isfinite(run.history[-1].train_loss)


def test_a_loss_that_is_no_number_ends_training_with_advice() -> None:
    with pytest.raises(InputError, match=r"the loss is nan in epoch \d; lower train\.learning_rate"):
        training(ModelParams(cell="rnn", hidden_size=4), learning_rate=1e38).run()


def test_a_validation_loss_that_is_no_number_ends_training_with_advice() -> None:
    run = training(ModelParams(cell="mingru", hidden_size=4, scaling="none"), engine="torch")
    assert run.validation
    run.validation.values[:] = 3e38
    with pytest.raises(InputError, match="the loss on the validation split is nan in epoch 1; lower"):
        run.run()
