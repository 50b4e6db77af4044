import numpy as np
import pytest
import torch

from rnnflow.classifier import cells, parameters
from rnnflow.classifier.cells.mingru import recurrence
from rnnflow.params.models import ModelParams


def one_by_one(keep: torch.Tensor, add: torch.Tensor) -> torch.Tensor:
    """Return the states of the recurrence, as it is written in the paper."""
    state, states = torch.zeros_like(add[:, 0]), []
    for step in range(add.shape[1]):
        state = keep[:, step] * state + add[:, step]
        states.append(state)
    return torch.stack(states, 1)


def random(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("num_steps", [*range(1, 18), 100, 257])
def test_all_steps_together_are_the_steps_one_by_one(num_steps: int) -> None:
    keep, add = random(2, num_steps, 3)
    torch.testing.assert_close(recurrence(keep, add), one_by_one(keep, add))


def test_a_thousand_steps_are_as_exact_as_one_by_one_in_float32() -> None:
    keep, add = random(4, 1000, 8)
    keep = 1 - keep / 1000  # kept over all of the sequence
    expected = one_by_one(keep, add)
    for compute in (recurrence, one_by_one):
        torch.testing.assert_close(compute(keep.float(), add.float()).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 8])
def test_the_gradient_of_the_recurrence_is_that_of_differences(num_steps: int) -> None:
    keep, add = (values.requires_grad_() for values in random(2, num_steps, 3))
    assert torch.autograd.gradcheck(recurrence, (keep, add))


def test_the_states_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(3, 10), torch.randn(2, 7, 3)
    update, candidate = layer(inputs).split(5, 2)
    expected = one_by_one(1 - update.sigmoid(), update.sigmoid() * candidate)
    outputs, _ = cells.load("mingru").run(inputs, dict(layer.named_parameters()), True)
    torch.testing.assert_close(outputs, expected)


def test_in_bfloat16_a_state_is_kept_for_a_thousand_steps() -> None:
    weights = {"weight": torch.tensor([[0.0], [0.0]]), "bias": torch.tensor([-7.0, 1.0])}
    rounded = {name: value.bfloat16() for name, value in weights.items()}
    inputs = torch.zeros(1, 1000, 1)
    expected, _ = cells.load("mingru").run(inputs, weights, True)
    outputs, _ = cells.load("mingru").run(inputs.bfloat16(), rounded, True)
    assert 0.4 < expected[0, -1] < 0.7
    torch.testing.assert_close(outputs, expected, rtol=0.01, atol=0.0)


def test_chrono_initialisation_keeps_a_state_for_up_to_the_longest_dependency() -> None:
    model = ModelParams(cell="mingru", hidden_size=1000, max_dependency=101)
    values = parameters.views(parameters.initial(model, 3, 2, np.random.default_rng(0)), parameters.shapes(model, 3, 2))
    update, candidate = values["layers.0.forward_cell.bias"].reshape(2, -1)
    memory = np.exp(-update)  # 1 / (1 - keep) - 1, in steps
    assert memory.min() >= 1 - 1e-5
    assert memory.max() <= 100 + 1e-3
    assert memory.mean() == pytest.approx(50.5, abs=2)
    assert np.abs(candidate).max() <= 1 / np.sqrt(3)
