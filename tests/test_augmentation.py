import pytest
import torch

from rnnflow.augmentation import augmented, cropped, time_masked
from rnnflow.params import TrainParams

LENGTHS = [10, 7, 4, 1]
EVERYTHING = {"jitter": 0.1, "random_scale": 0.2, "time_mask": 0.3, "random_crop": 0.4}


def batch(num_repeats: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences whose steps count from 1, with -1 in the padding."""
    lengths = torch.tensor(LENGTHS * num_repeats)
    steps = torch.arange(1.0, 11.0).expand(len(lengths), 10)
    return torch.where(steps <= lengths[:, None], steps, -1.0)[:, :, None].repeat(1, 1, 2), lengths


def test_the_defaults_change_nothing_and_draw_nothing() -> None:
    prepared, lengths = batch()
    before = torch.get_rng_state()
    result = augmented(prepared, lengths, TrainParams(), 2)
    assert result[0] is prepared
    assert result[1] is lengths
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("is_ragged", [False, True])
def test_the_generator_decides_and_the_batch_stays_as_it_is(name: str, is_ragged: bool) -> None:
    prepared, lengths = batch()
    before = prepared.clone()
    params = TrainParams.model_validate({name: EVERYTHING[name]})
    torch.manual_seed(0)
    first, second = (augmented(prepared, lengths if is_ragged else None, params, 2)[0] for _ in range(2))
    torch.manual_seed(0)
    again, _ = augmented(prepared, lengths if is_ragged else None, params, 2)
    assert first.equal(again)
    assert not first.equal(second)
    assert prepared.equal(before)


def test_jitter_is_gaussian_noise_that_leaves_the_mask_alone() -> None:
    prepared = torch.ones(100, 50, 3)
    noisy, _ = augmented(prepared, None, TrainParams(jitter=0.5), 2)
    assert noisy[:, :, 2].equal(prepared[:, :, 2])
    noise = (noisy - prepared)[:, :, :2]
    assert noise.std().item() == pytest.approx(0.5, rel=0.05)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)


def test_a_random_scale_is_one_factor_for_each_sequence_and_feature_and_none_for_the_mask() -> None:
    prepared = torch.rand(500, 6, 3) + 1
    scaled, _ = augmented(prepared, None, TrainParams(random_scale=0.2), 2)
    factors = scaled / prepared
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert factors[:, 0, :2].std().item() == pytest.approx(0.2, rel=0.15)
    assert factors[:, 0, :2].mean().item() == pytest.approx(1, abs=0.03)
    assert not torch.equal(factors[:, 0, 0], factors[:, 0, 1])
    assert scaled[:, :, 2].equal(prepared[:, :, 2])


def test_a_crop_is_a_stretch_of_the_valid_steps_of_at_least_the_share_that_stays() -> None:
    prepared, lengths = batch(num_repeats=300)
    result, left = cropped(prepared, lengths, 0.5)
    seen = set()
    for row, before, after in zip(result[:, :, 0].tolist(), lengths.tolist(), left.tolist(), strict=True):
        first = int(row[0])
        assert row[:after] == list(range(first, first + after))
        assert first + after - 1 <= before
        assert before - before // 2 <= after <= before
        seen.add((before, first, after))
    assert {(4, first, 4 - cut) for cut in range(3) for first in range(1, cut + 2)} <= seen  # each comes up
    assert {entry for entry in seen if entry[0] == 1} == {(1, 1, 1)}


def test_a_crop_of_nearly_everything_leaves_a_step() -> None:
    prepared, lengths = batch(num_repeats=100)
    _, left = cropped(prepared, lengths, 1 - 1e-16)
    assert left.min() == 1


def test_sequences_that_fill_the_tensor_get_lengths_when_cropped() -> None:
    prepared, _ = batch()
    _, left = cropped(prepared[:1].expand(200, -1, -1), None, 0.3)
    assert set(left.tolist()) == {7, 8, 9, 10}


def test_a_time_mask_is_one_stretch_of_zeros_in_the_valid_steps_of_every_feature() -> None:
    prepared, lengths = batch(num_repeats=300)
    result = time_masked(prepared, lengths, 0.5)
    assert result[:, :, 0].equal(result[:, :, 1])
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


def test_the_stretch_lies_in_what_the_crop_has_left() -> None:
    prepared, lengths = batch(num_repeats=300)
    result, left = augmented(prepared, lengths, TrainParams(random_crop=0.5, time_mask=0.5), 2)
    assert left is not None
    for row, length in zip(result[:, :, 0].tolist(), left.tolist(), strict=True):
        assert row[:length].count(0) == row.count(0) <= length // 2
