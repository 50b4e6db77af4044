"""The three cells: from the products of a step to its gates and state, and back to their gradients.

The loops run panel by panel and row by row, sixteen units of one sequence at a time; what is stored in a gate's place is
what the backward pass reads there.
"""

import numpy as np

from rnnflow.engines.numba.layout import LSTM, RNN
from rnnflow.engines.numba.simd import HALF, ONE, broadcast, clamp, fma, kernel, load, store
from rnnflow.engines.numba.target import WIDTH

# tanh as a quotient of polynomials in x², from Eigen (MathFunctionsImpl.h), right to some units in the last place. The
# C library's tanh works on one number at a time and differs in its last bits from one version to the next.
TANH_BOUND = np.float32(7.90531110763549805)
P13, P11, P9, P7, P5, P3, P1 = map(np.float32, (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03))  # fmt: skip
Q6, Q4, Q2, Q0 = map(
    np.float32, (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)


@kernel
def _tanh(x):
    x = clamp(x, TANH_BOUND)  # beyond, the polynomials run away and tanh is 1 in float32
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
    half = broadcast(HALF)  # sigmoid(x) = (1 + tanh(x / 2)) / 2: no exponential, no overflow
    return fma(half, _tanh(half * x), half)


@kernel
def cell_forward(cell, work, gates, state, next_state, cell_state, next_cell_state, plane, rows, num_panels, panel):
    """From the products of a step, which lie in the place of its gates, to the gates and the state after it.

    Args:
        cell: RNN, LSTM or GRU.
        work: scratch; the following are places in it.
        gates: (planes, panels, rows, 16) of this step.
        state: (panels, rows, 16) before the step.
        next_state: the same after it.
        cell_state: of the LSTM, before the step.
        next_cell_state: the same after it.
        plane: numbers from one gate to the next.
        rows: sequences that have this step.
        num_panels: of the units.
        panel: numbers from one panel to the next.
    """
    for index in range(num_panels):
        for at in range(index * panel, index * panel + rows * WIDTH, WIDTH):
            first = load(work, gates + at)
            if cell == RNN:
                store(work, next_state + at, _tanh(first))
            elif cell == LSTM:
                input_gate, forget_gate = _sigmoid(first), _sigmoid(load(work, gates + plane + at))
                candidate = _tanh(load(work, gates + 2 * plane + at))
                output_gate = _sigmoid(load(work, gates + 3 * plane + at))
                new_cell_state = fma(forget_gate, load(work, cell_state + at), input_gate * candidate)
                store(work, gates + at, input_gate)
                store(work, gates + plane + at, forget_gate)
                store(work, gates + 2 * plane + at, candidate)
                store(work, gates + 3 * plane + at, output_gate)
                store(work, next_cell_state + at, new_cell_state)
                store(work, next_state + at, output_gate * _tanh(new_cell_state))
            else:
                reset_gate, update_gate = _sigmoid(first), _sigmoid(load(work, gates + plane + at))
                from_state = load(work, gates + 2 * plane + at)
                candidate = _tanh(fma(reset_gate, from_state, load(work, gates + 3 * plane + at)))
                store(work, gates + at, reset_gate)
                store(work, gates + plane + at, update_gate)
                store(work, gates + 3 * plane + at, candidate)
                store(work, next_state + at, fma(update_gate, load(work, state + at) - candidate, candidate))


@kernel
def cell_backward(
    cell, work, gates, state, next_state, cell_state, next_cell_state, d_state, d_cell_state,
    plane, rows, num_panels, panel,
):  # fmt: skip
    """From the gradient of the state after a step to those of its products, which take the place of the gates.

    In `d_state` and `d_cell_state` remains what reaches the state before the step directly; what reaches it through the
    products is up to the caller. The arguments are those of `cell_forward`.
    """
    one = broadcast(ONE)
    for index in range(num_panels):
        for at in range(index * panel, index * panel + rows * WIDTH, WIDTH):
            d_next_state = load(work, d_state + at)
            if cell == RNN:
                new_state = load(work, next_state + at)
                store(work, gates + at, d_next_state * (one - new_state * new_state))
            elif cell == LSTM:
                input_gate, forget_gate = load(work, gates + at), load(work, gates + plane + at)
                candidate, output_gate = load(work, gates + 2 * plane + at), load(work, gates + 3 * plane + at)
                # Computed again: to keep it would cost a fifth array to write and to read.
                squashed = _tanh(load(work, next_cell_state + at))
                d_cell = fma(d_next_state * output_gate, one - squashed * squashed, load(work, d_cell_state + at))
                store(work, gates + at, d_cell * candidate * (input_gate * (one - input_gate)))
                store(
                    work, gates + plane + at, d_cell * load(work, cell_state + at) * (forget_gate * (one - forget_gate))
                )
                store(work, gates + 2 * plane + at, d_cell * input_gate * (one - candidate * candidate))
                store(work, gates + 3 * plane + at, d_next_state * squashed * (output_gate * (one - output_gate)))
                store(work, d_cell_state + at, d_cell * forget_gate)
            else:
                reset_gate, update_gate = load(work, gates + at), load(work, gates + plane + at)
                from_state, candidate = load(work, gates + 2 * plane + at), load(work, gates + 3 * plane + at)
                d_candidate = d_next_state * (one - update_gate) * (one - candidate * candidate)
                change = load(work, state + at) - candidate
                store(work, gates + at, d_candidate * from_state * (reset_gate * (one - reset_gate)))
                store(work, gates + plane + at, d_next_state * change * (update_gate * (one - update_gate)))
                store(work, gates + 2 * plane + at, d_candidate * reset_gate)
                store(work, gates + 3 * plane + at, d_candidate)
                store(work, d_state + at, d_next_state * update_gate)
