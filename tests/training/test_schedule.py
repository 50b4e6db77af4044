import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from rnnflow.training.schedule import one_cycle


@pytest.mark.parametrize("peak", [0.01, 3.0])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10, 333])
def test_one_cycle_gives_the_figures_of_pytorch(num_steps: int, peak: float) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scheduler = OneCycleLR(optimiser, max_lr=peak, total_steps=num_steps, cycle_momentum=False)
    for step in range(num_steps):
        assert one_cycle(step, num_steps, peak) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9), step
        optimiser.step()
        if step < num_steps - 1:
            scheduler.step()


def test_one_cycle_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    rates = [one_cycle(step, 100, 0.5) for step in range(100)]
    assert rates.index(max(rates)) == 29
    assert max(rates) == pytest.approx(0.5)
    assert rates[:30] == sorted(rates[:30])
    assert rates[29:] == sorted(rates[29:], reverse=True)
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates[-1] == pytest.approx(0.5 / 25 / 1e4)
