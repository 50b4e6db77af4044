import math

import pytest

from rnnflow.advice.model_selection import portfolio
from rnnflow.classifier import parameters
from rnnflow.params.models import ModelParams, MultiScaleStemParams
from rnnflow.params.train import TrainParams


@pytest.mark.parametrize("num_steps", [1, 2, 7, 8, 14, 15, 24, 40, 99, 150, 251, 427, 1460, 10_000])
def test_every_candidate_is_one_that_params_allow_and_no_two_are_the_same(num_steps: int) -> None:
    found = portfolio.candidates(num_steps)
    fits = [(each.params, TrainParams.model_validate(portfolio.recipe(50) | each.train)) for each in found]
    assert all(one != other for index, one in enumerate(fits) for other in fits[:index])
    for each, _ in fits:
        if isinstance(each.stem, MultiScaleStemParams):
            assert max(each.stem.kernel_sizes) <= 2 * num_steps - 1
            assert each.stem.num_averaged <= num_steps


@pytest.mark.parametrize(("num_steps", "num_features"), [(15, 12), (150, 1), (1460, 1), (100, 60)])
def test_members_of_an_ensemble_are_as_large_as_the_parameters_allow(num_steps: int, num_features: int) -> None:
    for each in portfolio.candidates(num_steps):
        several = portfolio.ensemble(each, num_features, 3)
        if several is None:
            assert num_features == 60
            continue
        assert several.kind == each.kind
        assert several.params.members == portfolio.NUM_MEMBERS
        of_one = parameters.count(parameters.shapes(several.params, num_features, 3))
        assert portfolio.NUM_MEMBERS * of_one <= portfolio.MOST_PARAMETERS
        if (size := several.params.hidden_size) < each.params.hidden_size:
            larger = several.model | {"hidden_size": size + each.params.hidden_size // 8}
            of_larger = parameters.count(parameters.shapes(ModelParams.model_validate(larger), num_features, 3))
            assert "stem" in larger or portfolio.NUM_MEMBERS * of_larger > portfolio.MOST_PARAMETERS


@pytest.mark.parametrize("num_steps", [15, 24, 100, 427])
def test_a_stem_comes_first_wherever_its_kernels_differ(num_steps: int) -> None:
    assert portfolio.candidates(num_steps)[0].name == "stem-40"
    assert not any(each.kind == "stem" for each in portfolio.candidates(portfolio.SHORTEST_FOR_STEM - 1))


@pytest.mark.parametrize("num_left", [40, 100])
@pytest.mark.parametrize("num_steps", [40, 100, 251, 427, 1460, 10_000])
def test_blocks_leave_about_as_many_steps_as_wanted(num_steps: int, num_left: int) -> None:
    sizes = portfolio.block_sizes(num_steps, num_left)
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1
    if num_steps >= num_left:
        assert num_left / 1.5 <= num_steps / math.prod(sizes) <= num_left * 1.5


def test_sequences_too_short_for_blocks_keep_their_steps() -> None:
    assert portfolio.block_sizes(10, 40) == [1, 1, 1]


@pytest.mark.parametrize(
    ("num_sequences", "batch_size", "steps"), [(36, 16, 1000), (800, 16, 1000), (3200, 32, 1000), (64_000, 32, 20_000)]
)
def test_a_recipe_counts_steps_and_large_data_gets_more_of_them(
    num_sequences: int, batch_size: int, steps: int
) -> None:
    recipe = TrainParams.model_validate(portfolio.recipe(num_sequences))
    assert (recipe.batch_size, recipe.steps, recipe.epochs) == (batch_size, steps, None)


def test_augmentation_is_switched_on_and_off_and_said_in_the_name() -> None:
    (lstm,) = [each for each in portfolio.candidates(30) if each.kind == "lstm"]
    assert (lstm.name, lstm.train) == ("lstm-30-noisy-cropped", {"jitter": 0.3, "random_crop": 0.1})
    calm = portfolio.toggled(lstm, "noisy")
    assert (calm.name, calm.train, calm.model) == ("lstm-30-cropped", {"random_crop": 0.1}, lstm.model)
    stem = portfolio.candidates(30)[0]
    assert not stem.train
    assert portfolio.toggled(portfolio.toggled(stem, "noisy"), "noisy") == stem


def test_several_models_as_one_are_not_multiplied_again() -> None:
    several = portfolio.ensemble(portfolio.candidates(30)[0], 1, 3)
    assert several
    assert portfolio.ensemble(several, 1, 3) is None


def test_a_recipe_sets_all_that_augmentation_changes_so_that_params_of_before_do_not_stay_under_another_name() -> None:
    recipe = portfolio.recipe(50)
    for name, setting in portfolio.AUGMENTATIONS.items():
        assert setting.keys() <= recipe.keys(), name
        assert not setting.items() <= recipe.items(), name
