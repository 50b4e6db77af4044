import numpy as np
import pytest

from rnnflow import engines
from rnnflow.classifier import parameters
from rnnflow.engines.interface import Engine, EngineConfig
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.training.augmentation import Augmentation, crop, draw

LENGTHS = [10, 7, 4, 1]
EVERYTHING = {"jitter": 0.1, "random_scale": 0.2, "time_mask": 0.3}
MODEL = ModelParams(cell="rnn", hidden_size=1)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module", params=["torch", "numba"])
def engine(request: pytest.FixtureRequest) -> Engine:
    task = EngineConfig(MODEL, TrainParams(engine=request.param), 1, 2, np.ones(2))
    return engines.create(task, parameters.initial(MODEL, 1, 2, generator()), "cpu")


def batch(num_repeats: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sequences whose steps count from 1, with -1 in the padding."""
    lengths = np.array(LENGTHS * num_repeats)
    steps = np.arange(1.0, 11.0, dtype=np.float32)
    valid = np.where(steps <= lengths[:, None], steps, np.float32(-1))
    return valid[:, :, None].repeat(2, axis=2), lengths


def augmented(prepared: np.ndarray, augmentation: Augmentation, engine: Engine) -> np.ndarray:
    """Return a batch after its augmentation; it must stay as it is itself."""
    before = prepared.copy()
    result = np.asarray(augmentation.apply(engine.array(prepared), engine))
    np.testing.assert_array_equal(prepared, before)
    assert result.dtype == np.float32
    return result


def test_the_defaults_change_nothing_and_draw_nothing(engine: Engine) -> None:
    prepared, lengths = batch()
    rng = generator()
    before = rng.bit_generator.state
    augmentation = draw(lengths, TrainParams(), 2, 2, rng)
    assert augmentation == Augmentation(None, None, None)
    inputs = engine.array(prepared)
    assert augmentation.apply(inputs, engine) is inputs
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("is_ragged", [False, True])
def test_the_generator_decides_and_the_batch_stays_as_it_is(name: str, is_ragged: bool, engine: Engine) -> None:
    prepared, lengths = batch()
    lengths = lengths if is_ragged else np.full(len(LENGTHS), 10)
    params = TrainParams.model_validate({name: EVERYTHING[name]})
    rng = generator()
    first, second = (augmented(prepared, draw(lengths, params, 2, 2, rng), engine) for _ in range(2))
    again = augmented(prepared, draw(lengths, params, 2, 2, generator()), engine)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_jitter_is_gaussian_noise_that_leaves_the_mask_alone(engine: Engine) -> None:
    prepared = np.ones((100, 50, 3), np.float32)
    noisy = augmented(prepared, draw(np.full(100, 50), TrainParams(jitter=0.5), 2, 3, generator()), engine)
    np.testing.assert_array_equal(noisy[:, :, 2], prepared[:, :, 2])
    noise = (noisy - prepared)[:, :, :2]
    assert noise.std() == pytest.approx(0.5, rel=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.02)


def test_a_random_scale_is_one_factor_for_each_sequence_and_feature_and_none_for_the_mask(engine: Engine) -> None:
    prepared = generator(1).random((500, 6, 3), np.float32) + 1
    scaled = augmented(prepared, draw(np.full(500, 6), TrainParams(random_scale=0.2), 2, 3, generator()), engine)
    factors = scaled / prepared
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-5, atol=1e-6)
    assert factors[:, 0, :2].std() == pytest.approx(0.2, rel=0.15)
    assert factors[:, 0, :2].mean() == pytest.approx(1, abs=0.03)
    assert not np.array_equal(factors[:, 0, 0], factors[:, 0, 1])
    np.testing.assert_array_equal(scaled[:, :, 2], prepared[:, :, 2])


def test_a_crop_is_a_stretch_of_the_valid_steps_of_at_least_the_share_that_stays() -> None:
    lengths = np.array(LENGTHS * 300)
    starts = np.arange(len(lengths)) * 100
    places, left = crop(starts, lengths, 0.5, generator())
    seen = set()
    for start, before, place, after in zip(starts, lengths.tolist(), places, left.tolist(), strict=True):
        first = int(place - start) + 1
        assert first >= 1
        assert first + after - 1 <= before
        assert before - before // 2 <= after <= before
        seen.add((before, first, after))
    assert {(4, first, 4 - cut) for cut in range(3) for first in range(1, cut + 2)} <= seen  # each comes up
    assert {entry for entry in seen if entry[0] == 1} == {(1, 1, 1)}


def test_the_generator_decides_what_is_cropped_and_the_whole_lengths_stay() -> None:
    starts, lengths = np.arange(50) * 10, np.full(50, 10)
    rng = generator()
    first, second = (crop(starts, lengths, 0.5, rng) for _ in range(2))
    again = crop(starts, lengths, 0.5, generator())
    for part, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(part, same)
    assert not np.array_equal(first, second)
    assert starts.tolist() == list(range(0, 500, 10))
    assert set(lengths.tolist()) == {10}


def test_a_crop_of_nearly_everything_leaves_a_step() -> None:
    _, left = crop(np.zeros(400, np.int64), np.array(LENGTHS * 100), 1 - 1e-16, generator())
    assert left.min() == 1


def test_sequences_of_one_length_get_several_when_cropped() -> None:
    _, left = crop(np.zeros(200, np.int64), np.full(200, 10), 0.3, generator())
    assert set(left.tolist()) == {7, 8, 9, 10}


def test_a_time_mask_is_one_stretch_of_zeros_in_the_valid_steps_of_every_feature(engine: Engine) -> None:
    prepared, lengths = batch(num_repeats=300)
    result = augmented(prepared, draw(lengths, TrainParams(time_mask=0.5), 2, 2, generator()), engine)
    np.testing.assert_array_equal(result[:, :, 0], result[:, :, 1])
    np.testing.assert_array_equal(result[result != 0], prepared[result != 0])
    starts, ends = set(), set()
    for row, length in zip(result[:, :, 0].tolist(), lengths.tolist(), strict=True):
        blanked = [step for step, value in enumerate(row) if value == 0]
        assert len(blanked) <= length // 2
        assert not blanked or blanked == list(range(blanked[0], blanked[-1] + 1))
        assert not blanked or blanked[-1] < length
        if length == 10 and blanked:
            starts.add(blanked[0])
            ends.add(blanked[-1])
    assert starts == ends == set(range(10))


def test_the_mask_is_blanked_with_what_it_is_about(engine: Engine) -> None:
    prepared = np.ones((200, 10, 3), np.float32)
    result = augmented(prepared, draw(np.full(200, 10), TrainParams(time_mask=0.5), 2, 3, generator()), engine)
    assert (result == 0).any()
    np.testing.assert_array_equal(result[:, :, 2], result[:, :, 0])


def test_the_stretch_lies_in_what_the_crop_has_left(engine: Engine) -> None:
    prepared, lengths = batch(num_repeats=300)
    rng = generator()
    starts = np.arange(len(lengths)) * 10
    spare = np.full((10, 2), -1, np.float32)
    buffer = engine.buffer(np.concatenate([prepared.reshape(-1, 2), spare]))
    places, left = crop(starts, lengths, 0.5, rng)
    inputs = buffer.take(places, int(left.max()))
    params = TrainParams(random_crop=0.5, time_mask=0.5)
    result = np.asarray(draw(left, params, 2, 2, rng).apply(inputs, engine))
    for row, place, start, length in zip(result[:, :, 0].tolist(), places, starts, left.tolist(), strict=True):
        assert row[:length].count(0) == row.count(0) <= length // 2
        counted = range(int(place - start) + 1, int(place - start) + 1 + length)
        assert all(value in (0, count) for value, count in zip(row[:length], counted, strict=True))


def test_what_is_drawn_together_is_done_in_the_order_scale_noise_mask(engine: Engine) -> None:
    prepared, lengths = batch(num_repeats=10)
    augmentation = draw(lengths, TrainParams.model_validate(EVERYTHING), 2, 2, generator())
    assert augmentation.factors is not None
    assert augmentation.noise is not None
    assert augmentation.time_mask is not None
    expected = (prepared * augmentation.factors + augmentation.noise) * augmentation.time_mask
    np.testing.assert_allclose(augmented(prepared, augmentation, engine), expected, rtol=1e-6, atol=1e-7)
