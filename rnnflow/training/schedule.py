"""How the learning rate changes from step to step."""

import math

WARM_UP_SHARE = 0.3
INITIAL_DIVISOR = 25.0
FINAL_DIVISOR = 1e4


def one_cycle(step: int, num_steps: int, peak: float) -> float:
    """Return the learning rate of a step of the one-cycle schedule with cosine annealing (Smith and Topin, 2018).

    The same figures as `torch.optim.lr_scheduler.OneCycleLR` with its defaults.
    """
    initial = peak / INITIAL_DIVISOR
    warm_up_end = WARM_UP_SHARE * num_steps - 1
    if step <= warm_up_end:
        return _cosine(initial, peak, step / warm_up_end)
    return _cosine(peak, initial / FINAL_DIVISOR, (step - warm_up_end) / (num_steps - 1 - warm_up_end))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
