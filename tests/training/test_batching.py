from typing import Any, get_args

import numpy as np
import pytest

from rnnflow import engines
from rnnflow.classifier import parameters
from rnnflow.classifier.preparation import Preparation
from rnnflow.engines.interface import Batch, EngineConfig
from rnnflow.params.models import ModelParams
from rnnflow.params.train import Engine, TrainParams
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training import batching, fit_preparation
from rnnflow.training.batching import BatchLoader, class_weights, dropout_mask
from tests.training.test_loop import AUGMENTATION, toy_split

ENGINES = get_args(Engine)
BATCH_SIZE = 4
PLAIN = ModelParams(cell="rnn", hidden_size=4)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def loader(train: SequenceDataset, model: ModelParams = PLAIN, seed: int = 0, **recipe: Any) -> BatchLoader:
    settings = TrainParams.model_validate({"batch_size": BATCH_SIZE} | recipe)
    size = len(train.features), len(train.classes)
    config = EngineConfig(model, settings, *size, class_weights(train.class_counts, settings))
    engine = engines.create(config, parameters.initial(model, *size, generator()), "cpu")
    preparation = Preparation(model, len(train.features))
    fit_preparation.fit(preparation, train)
    return BatchLoader(train, preparation, config, engine, generator(seed))


def equally_long(num_sequences: int, num_steps: int = 5) -> SequenceDataset:
    values = generator().standard_normal((num_sequences * num_steps, 2), np.float32)
    offsets = np.arange(num_sequences + 1) * num_steps
    labels = (np.arange(num_sequences) % 2).astype(np.int32)
    return SequenceDataset(values, offsets, labels, ("f0", "f1"), ("no", "yes"))


def lengths_of(batch: Batch) -> list[int]:
    num_steps = batch.inputs.shape[1]
    return [num_steps] * len(batch.labels) if batch.lengths is None else batch.lengths.tolist()


def epoch(batches: BatchLoader) -> list[Batch]:
    """Return the batches of an epoch, each by itself."""
    return [batch for together in batches for batch in together]


def rows_of(batches: BatchLoader) -> list[bytes]:
    """Return every sequence of an epoch, without its padding."""
    return [
        np.asarray(sequence[:length]).tobytes()
        for batch in epoch(batches)
        for sequence, length in zip(batch.inputs, lengths_of(batch), strict=True)
    ]


def random_parts(batches: BatchLoader) -> list[tuple[bytes, ...]]:
    """Return all that is random about the batches of an epoch."""
    parts = [(batch.inputs, batch.labels, batch.step_mask, batch.head_mask) for batch in epoch(batches)]
    return [tuple(b"" if part is None else np.asarray(part).tobytes() for part in batch) for batch in parts]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("is_ragged", [False, True])
def test_an_epoch_has_every_prepared_sequence_once_with_its_label(engine: Engine, is_ragged: bool) -> None:
    split = toy_split(53) if is_ragged else equally_long(53)
    batches = loader(split, ModelParams(cell="rnn", hidden_size=4, scaling="none"), engine=engine)
    expected = [values.tobytes() for values in np.split(split.values, split.offsets[1:-1])]
    labels = dict(zip(expected, split.labels.tolist(), strict=True))
    assert len(batches) == 14
    first, second = rows_of(batches), rows_of(batches)
    assert sorted(first) == sorted(second) == sorted(expected)
    assert first != second
    for batch in epoch(batches):
        for sequence, length, label in zip(batch.inputs, lengths_of(batch), batch.labels, strict=True):
            assert labels[np.asarray(sequence[:length]).tobytes()] == label


def test_all_batches_but_the_last_one_are_full() -> None:
    for split in (toy_split(53), equally_long(53)):
        batches = loader(split)
        sizes = [len(batch.labels) for batch in epoch(batches)]
        assert len(sizes) == len(batches)
        assert sorted(sizes) == [1] + [BATCH_SIZE] * 13


def test_ragged_batches_are_trimmed_to_their_longest_and_the_others_have_no_lengths() -> None:
    batches = epoch(loader(toy_split(200)))
    assert len({batch.inputs.shape[1] for batch in batches}) > 1
    for batch in batches:
        num_steps = batch.inputs.shape[1]
        assert max(lengths_of(batch)) == num_steps
        assert batch.lengths is None or min(lengths_of(batch)) < num_steps
    assert {batch.lengths is None for batch in batches} == {False, True}
    assert all(batch.lengths is None for batch in epoch(loader(equally_long(20))))


def test_the_batches_of_a_ragged_bucket_come_in_random_order() -> None:
    longest = [[max(lengths_of(batch)) for batch in epoch(loader(toy_split(32), seed=seed))] for seed in range(5)]
    assert any(lengths != sorted(lengths) for lengths in longest)


def test_with_a_norm_short_and_long_sequences_share_a_batch_and_an_epoch_has_other_batches_than_the_one_before() -> (
    None
):
    stem = {"kind": "multi_scale", "kernel_sizes": [1], "channels": 2, "output_size": 2, "block_sizes": [1, 1, 1]}
    split = toy_split(32)  # one bucket
    by_length = {tuple(sorted(lengths_of(batch))) for batch in epoch(loader(split))}
    batches = loader(split, ModelParams.model_validate({"cell": "rnn", "hidden_size": 4, "stem": stem}))
    first, second = ({tuple(sorted(lengths_of(batch))) for batch in epoch(batches)} for _ in range(2))
    assert first.isdisjoint(by_length)
    assert first != second


def test_what_is_downsampled_goes_in_batches_of_what_is_left() -> None:
    split = toy_split()
    batches = loader(split, ModelParams(cell="rnn", hidden_size=4, downsampling=3))
    seen = [length for batch in epoch(batches) for length in lengths_of(batch)]
    assert sorted(seen) == sorted((-(-split.lengths // 3)).tolist())


def test_balanced_sampling_draws_every_class_equally_often() -> None:
    split = toy_split(60)
    split.labels[:] = np.arange(60) % 10 == 0
    labels = np.concatenate([batch.labels for batch in epoch(loader(split, sampling="balanced"))])
    assert np.bincount(labels).tolist() == [30, 30]


def test_a_crop_shortens_equally_long_sequences() -> None:
    lengths = [
        length for batch in epoch(loader(equally_long(100, 10), random_crop=0.3)) for length in lengths_of(batch)
    ]
    assert set(lengths) == {7, 8, 9, 10}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", AUGMENTATION)
def test_each_augmentation_changes_the_inputs_and_not_the_prepared_sequences(name: str, engine: Engine) -> None:
    split = toy_split()
    plain, augmented = loader(split, engine=engine), loader(split, engine=engine, **{name: AUGMENTATION[name]})
    before = augmented.sequences.values.copy()
    assert sorted(rows_of(plain)) != sorted(rows_of(augmented))
    np.testing.assert_array_equal(augmented.sequences.values, before)


def test_the_generator_decides_all_that_is_random_about_an_epoch() -> None:
    model = ModelParams(cell="gru", hidden_size=4, num_layers=2, dropout=0.5, missing="mask")
    batches = loader(toy_split(), model, **AUGMENTATION)
    first, second = random_parts(batches), random_parts(batches)
    again = loader(toy_split(), model, **AUGMENTATION)
    state = again.rng.bit_generator.state
    assert random_parts(again) == first != second
    again.rng.bit_generator.state = state
    assert random_parts(again) == first


@pytest.mark.parametrize("num_layers", [1, 3])
def test_dropout_has_a_mask_between_layers_and_one_before_the_head(num_layers: int) -> None:
    model = ModelParams(
        cell="gru", hidden_size=4, num_layers=num_layers, dropout=0.5, bidirectional=True, pooling="mean_max"
    )
    for batch in epoch(loader(toy_split(), model)):
        batch_size, num_steps = batch.inputs.shape[:2]
        assert batch.head_mask is not None
        assert batch.head_mask.shape == (batch_size, 16)
        if num_layers == 1:
            assert batch.step_mask is None
        else:
            assert batch.step_mask is not None
            assert batch.step_mask.shape == (num_layers - 1, batch_size, num_steps, 8)


def test_without_dropout_there_are_no_masks() -> None:
    masks = [(batch.step_mask, batch.head_mask) for batch in epoch(loader(toy_split()))]
    assert masks == [(None, None)] * 13


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_is_zero_for_a_share_and_keeps_the_mean(share: float) -> None:
    factors = dropout_mask((2, 50, 400), share, generator())
    assert factors.shape == (2, 50, 400)
    assert factors.dtype == np.float32
    assert np.unique(factors).tolist() == [0, np.float32(1 / (1 - share))]
    assert (factors == 0).mean() == pytest.approx(share, abs=0.01)
    assert factors.mean() == pytest.approx(1, abs=0.05)


def test_the_generator_decides_what_dropout_drops() -> None:
    rng = generator()
    first, second = (dropout_mask((100,), 0.5, rng) for _ in range(2))
    np.testing.assert_array_equal(first, dropout_mask((100,), 0.5, generator()))
    assert not np.array_equal(first, second)


def test_balanced_class_weights_give_each_class_the_same_weight() -> None:
    totals = class_weights([30, 10, 20], TrainParams(class_weights="balanced")) * [30, 10, 20]
    np.testing.assert_allclose(totals, [20, 20, 20])


def test_a_class_without_sequences_has_no_weight() -> None:
    assert class_weights([4, 0, 4], TrainParams(class_weights="balanced")).tolist() == [2 / 3, 0, 2 / 3]


def test_without_balance_every_class_has_the_weight_one() -> None:
    assert class_weights([30, 0], TrainParams()).tolist() == [1, 1]


def test_a_batch_knows_the_sum_of_its_weights() -> None:
    split = toy_split(60)
    split.labels[:] = np.arange(60) % 10 == 0
    batches = loader(split, class_weights="balanced")
    for batch in epoch(batches):
        assert batch.total_weight == pytest.approx(batches.class_weights[batch.labels].sum())


@pytest.mark.parametrize("recipe", [{}, {"sampling": "balanced"}, {"jitter": 0.1}, {"random_crop": 0.4}])
@pytest.mark.parametrize("model", [PLAIN, ModelParams(cell="gru", hidden_size=3, num_layers=2, dropout=0.5)])
def test_how_many_batches_are_gathered_at_once_decides_about_nothing_else(
    model: ModelParams, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = equally_long(12 * BATCH_SIZE + 1)
    many = loader(train, model, **recipe)
    monkeypatch.setattr(batching, "GATHERED_STATES", 0)
    few = loader(train, model, **recipe)
    for _ in range(2):
        assert random_parts(many) == random_parts(few)
    has_draws = not {"jitter", "random_crop"}.isdisjoint(recipe)
    assert (many.bucket_size > few.bucket_size == 8) != has_draws


def test_large_batches_are_gathered_no_more_at_once_than_before() -> None:
    assert loader(equally_long(3, num_steps=60_000)).bucket_size == 8
