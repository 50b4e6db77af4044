"""All trainings of a classifier: members that differ by their seed, final fits, and a resume in any of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.training.fit import Fit
from tests.training.test_loop import final_fit, toy_split, training
from tests.training.test_resume import Killed

GRU = {"cell": "gru", "hidden_size": 4}
NUM_EPOCHS = 4


def fit(members: int, resume: Callable[[str], Path | None] = lambda _: None, **recipe: Any) -> Fit:
    model = ModelParams.model_validate(GRU | {"members": members})
    settings = TrainParams.model_validate({"epochs": NUM_EPOCHS, "batch_size": 8} | recipe)
    return Fit(toy_split(), toy_split(20, seed=1), model, settings, resume=resume)


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


def member(arrays: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    """Return the weights of one."""
    prefix = f"members.{index}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def without_scaling(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if not name.startswith("preparation.")}


def test_one_member_is_a_training() -> None:
    alone = training(ModelParams.model_validate(GRU), epochs=NUM_EPOCHS).run()
    assert equal(fit(1).run(), alone)
    final = final_fit(ModelParams.model_validate(GRU), NUM_EPOCHS, epochs=NUM_EPOCHS).run()
    assert equal(fit(1, final_fit=True).run(), final)


@pytest.mark.parametrize("is_final", [False, True])
def test_the_first_member_is_the_one_without_others_and_each_draws_anew(is_final: bool) -> None:
    both = fit(2, final_fit=is_final)
    arrays = both.run()
    assert equal(member(arrays, 0), without_scaling(fit(1, final_fit=is_final).run()))
    assert all(not np.array_equal(member(arrays, 0)[name], array) for name, array in member(arrays, 1).items())
    assert both.num_parameters == sum(array.size for array in without_scaling(arrays).values())
    assert sum(both.data.class_counts) == (70 if is_final else 50)


def test_epochs_are_counted_over_all_members_and_final_fits_are_said() -> None:
    counts: list[int] = []
    said: list[str] = []
    both = fit(2, final_fit=True)
    both.run(lambda _, num_done: counts.append(num_done), said.append)
    assert counts == list(range(1, both.num_epochs + 1)) == list(range(1, 2 * NUM_EPOCHS + 1))
    assert said == [f"final fit, {NUM_EPOCHS} epochs on train and validation"] * 2
    fit(1, final_fit=True, epochs=None, steps=10).run(say=said.append)
    assert said[-1] == "final fit, 10 steps on train and validation"


@pytest.mark.parametrize("killed_after", [2, NUM_EPOCHS, NUM_EPOCHS + 3])
def test_killed_in_any_member_it_ends_with_the_same_bits(killed_after: int, tmp_path: Path) -> None:
    def resume(name: str) -> Path:
        return tmp_path / f"{name}.safetensors"

    def kill(_: object, num_done: int) -> None:
        if num_done == killed_after:
            raise Killed

    with pytest.raises(Killed):
        fit(2, resume, final_fit=True).run(kill)
    again = fit(2, resume, final_fit=True).run()
    assert equal(again, fit(2, final_fit=True).run())
