"""The three cells: from the products of a step to its gates and state, and back to their gradients."""

import numpy as np

from rnnflow.engines.numba.lanes import HALF, ONE, WIDTH, broadcast, clamp, fma, kernel, load, store
from rnnflow.engines.numba.layout import LSTM, RNN

# tanh as a quotient of polynomials in x², from Eigen (MathFunctionsImpl.h), right to some units in the last place.
TANH_BOUND = np.float32(7.90531110763549805)
P13, P11, P9, P7, P5, P3, P1 = map(np.float32, (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03))  # fmt: skip
Q6, Q4, Q2, Q0 = map(
    np.float32, (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)


@kernel
def _tanh(x):
    x = clamp(x, TANH_BOUND)
    square = x * x
    p = fma(square, broadcast(P13), broadcast(P11))
    p = fma(square, p, broadcast(P9))
    p = fma(square, p, broadcast(P7))
    p = fma(square, p, broadcast(P5))
    p = fma(square, p, broadcast(P3))
    p = fma(square, p, broadcast(P1))
    q = fma(square, broadcast(Q6), broadcast(Q4))
    q = fma(square, q, broadcast(Q2))
    q = fma(square, q, broadcast(Q0))
    return x * p / q


@kernel
def _sigmoid(x):
    half = broadcast(HALF)
    return fma(half, _tanh(half * x), half)


@kernel
def activate(cell, work, gates, before, after, memory, next_memory, plane, rows, num_panels, panel):
    """From the products of a step to its gates and the state after it."""
    for index in range(num_panels):
        for at in range(index * panel, index * panel + rows * WIDTH, WIDTH):
            first = load(work, gates + at)
            if cell == RNN:
                store(work, after + at, _tanh(first))
            elif cell == LSTM:
                enters, forgets = _sigmoid(first), _sigmoid(load(work, gates + plane + at))
                candidate = _tanh(load(work, gates + 2 * plane + at))
                shows = _sigmoid(load(work, gates + 3 * plane + at))
                kept = fma(forgets, load(work, memory + at), enters * candidate)
                store(work, gates + at, enters)
                store(work, gates + plane + at, forgets)
                store(work, gates + 2 * plane + at, candidate)
                store(work, gates + 3 * plane + at, shows)
                store(work, next_memory + at, kept)
                store(work, after + at, shows * _tanh(kept))
            else:
                resets, updates = _sigmoid(first), _sigmoid(load(work, gates + plane + at))
                of_state = load(work, gates + 2 * plane + at)
                candidate = _tanh(fma(resets, of_state, load(work, gates + 3 * plane + at)))
                store(work, gates + at, resets)
                store(work, gates + plane + at, updates)
                store(work, gates + 3 * plane + at, candidate)
                store(work, after + at, fma(updates, load(work, before + at) - candidate, candidate))


@kernel
def differentiate(
    cell, work, gates, before, after, memory, next_memory, d_state, d_memory, plane, rows, num_panels, panel
):
    """From the gradient of the state after a step to those of its products, in the place of the gates.

    What reaches the state before the step past the products stays in `d_state` and `d_memory`.
    """
    one = broadcast(ONE)
    for index in range(num_panels):
        for at in range(index * panel, index * panel + rows * WIDTH, WIDTH):
            d_after = load(work, d_state + at)
            if cell == RNN:
                state = load(work, after + at)
                store(work, gates + at, d_after * (one - state * state))
            elif cell == LSTM:
                enters, forgets = load(work, gates + at), load(work, gates + plane + at)
                candidate, shows = load(work, gates + 2 * plane + at), load(work, gates + 3 * plane + at)
                seen = _tanh(load(work, next_memory + at))
                d_kept = fma(d_after * shows, one - seen * seen, load(work, d_memory + at))
                store(work, gates + at, d_kept * candidate * (enters * (one - enters)))
                store(work, gates + plane + at, d_kept * load(work, memory + at) * (forgets * (one - forgets)))
                store(work, gates + 2 * plane + at, d_kept * enters * (one - candidate * candidate))
                store(work, gates + 3 * plane + at, d_after * seen * (shows * (one - shows)))
                store(work, d_memory + at, d_kept * forgets)
            else:
                resets, updates = load(work, gates + at), load(work, gates + plane + at)
                of_state, candidate = load(work, gates + 2 * plane + at), load(work, gates + 3 * plane + at)
                d_candidate = d_after * (one - updates) * (one - candidate * candidate)
                change = load(work, before + at) - candidate
                store(work, gates + at, d_candidate * of_state * (resets * (one - resets)))
                store(work, gates + plane + at, d_after * change * (updates * (one - updates)))
                store(work, gates + 2 * plane + at, d_candidate * resets)
                store(work, gates + 3 * plane + at, d_candidate)
                store(work, d_state + at, d_after * updates)
