"""Forward pass, loss and back-propagation through time of a batch, in one compiled call.

Everything lies in one array, `work`, at places that a plan names (`plan.py` makes it): matrices in panels
(`lanes.py`), the sequences of a batch as rows, the longest first, so that the rows at work in a step are the first
ones. For each step a row holds the state that the layer comes with, and after it what the layer reads, so that one product
serves both. Units and features are filled up with zeros to whole panels; zeros they stay, in every cell.

Sums are added up in a fixed order, products with fused multiply-add, and nothing is reordered: the bits depend neither
on the run nor on whether the code was compiled or loaded, nor on the length of the CPU's vectors.
"""

import inspect
import math

import numpy as np
from numba import njit, types

from rnnflow.engines.numba.lanes import (
    ROWS,
    WIDTH,
    broadcast,
    clamp,
    fma,
    larger,
    load,
    store,
    tile,
    where_equal,
)  # fmt: skip

RNN, LSTM, GRU = range(3)
MEAN, MAX = 1, 2
"""Flags of the pooling; neither is the final state."""

# The plan, an integer each: a row for the whole, then one for each layer and direction.
CELL, NUM_LAYERS, NUM_DIRECTIONS, HIDDEN, UNITS, POOLING, CLASSES, PANEL = range(8)
(
    POOLED,
    D_POOLED,
    TIES,
    LOGITS,
    HEAD,
    HEAD_BACK,
    D_HEAD,
    HEAD_BIAS,
    D_HEAD_BIAS,
    D_STATE,
    D_MEMORY,
    D_BELOW,
    HEAD_WEIGHT,
) = range(8, 21)
INPUTS, INPUT_PANELS, STATES, GATES, MEMORY, PACKED, PACKED_BACK, BIAS, D_PACKED, D_BIAS, D_OUTPUTS = range(11)
INPUT_WEIGHT, STATE_WEIGHT, INPUT_BIAS, STATE_BIAS = range(11, 15)
PLAN_WIDTH = 21

PLANES = (1, 4, 4)
"""Of gates: RNN one, LSTM input, forget, candidate, output; GRU reset, update, candidate's part of the state, of the input."""

ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
# tanh as a quotient of polynomials in x², from Eigen (MathFunctionsImpl.h), right to some units in the last place.
TANH_BOUND = np.float32(7.90531110763549805)
P13, P11, P9, P7, P5, P3, P1 = map(np.float32, (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03))  # fmt: skip
Q6, Q4, Q2, Q0 = map(
    np.float32, (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)


def _compiled(function):
    """Let Numba compile a function, without what a type checker may have wrapped around it."""
    return njit(error_model="numpy", nogil=True)(inspect.unwrap(function))


_set = tile("zero", is_transposed=False)
_add = tile("sum", is_transposed=False)
_set_biased = tile("bias", is_transposed=False)
_add_outer = tile("sum", is_transposed=True)


@_compiled
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


@_compiled
def _sigmoid(x):
    half = broadcast(HALF)
    return fma(half, _tanh(half * x), half)


@_compiled
def _whole_tiles(rows):
    return -(-rows // ROWS) * ROWS


@_compiled
def _product(work, c, a, b, b_stride, rows, num_panels, depth, panel):
    """C = a @ b."""
    for index in range(num_panels):
        for row in range(0, rows, ROWS):
            _set(work, c + index * panel + row * WIDTH, a + row * WIDTH, panel, b + index * b_stride, depth, 0)


@_compiled
def _product_added(work, c, a, b, b_stride, rows, num_panels, depth, panel):
    """C += a @ b."""
    for index in range(num_panels):
        for row in range(0, rows, ROWS):
            _add(work, c + index * panel + row * WIDTH, a + row * WIDTH, panel, b + index * b_stride, depth, 0)


@_compiled
def _product_biased(work, c, a, b, b_stride, bias, rows, num_panels, depth, panel):
    """C = a @ b + bias."""
    for index in range(num_panels):
        for row in range(0, rows, ROWS):
            at = c + index * panel + row * WIDTH
            _set_biased(work, at, a + row * WIDTH, panel, b + index * b_stride, depth, bias + index * WIDTH)


@_compiled
def _outer_added(work, c, c_stride, a, b, num_columns, num_panels, rows, panel):
    """C += aᵀ @ b over the rows of both."""
    for index in range(num_panels):
        for column in range(0, num_columns, ROWS):
            factors = a + column // WIDTH * panel + column % WIDTH
            _add_outer(work, c + index * c_stride + column * WIDTH, factors, 0, b + index * panel, rows, 0)


@_compiled
def _column_sums_added(work, sums, a, rows, num_panels, panel):
    for index in range(num_panels):
        total = load(work, sums + index * WIDTH)
        for row in range(rows):
            total = total + load(work, a + index * panel + row * WIDTH)
        store(work, sums + index * WIDTH, total)


@_compiled
def _clear(work, at, size):
    for index in range(at, at + size):
        work[index] = 0.0


@_compiled
def _clear_rows(work, at, first, stop, num_panels, panel):
    zero = broadcast(ZERO)
    for index in range(num_panels):
        for row in range(first, stop):
            store(work, at + index * panel + row * WIDTH, zero)


@_compiled
def _gate_of(cell, plane, is_state):
    """Which of PyTorch's gates a plane takes from the weights of the state or of the input; -1: none."""
    if cell != GRU or plane < 2:
        return plane
    return 2 if (plane == 2) == is_state else -1


@_compiled
def _column_of(column, hidden, units, is_padded):
    """Where a column of PyTorch's weights is among columns of whole panels a direction."""
    return column // hidden * units + column % hidden if is_padded else column


@_compiled
def _pack(plan, layer, work, weights, is_padded, needs_back):
    """Lay a layer's weights out for the products."""
    cell, hidden, units = plan[0, CELL], plan[0, HIDDEN], plan[0, UNITS]
    num_columns = units + layer[INPUT_PANELS] * WIDTH
    for plane in range(PLANES[cell]):
        for is_state in (True, False):
            gate = _gate_of(cell, plane, is_state)
            if gate < 0:
                continue
            size = hidden if is_state else layer[INPUTS]
            source = layer[STATE_WEIGHT if is_state else INPUT_WEIGHT] + gate * hidden * size
            bias = layer[STATE_BIAS if is_state else INPUT_BIAS] + gate * hidden
            first = 0 if is_state else units
            for unit in range(hidden):
                to = layer[PACKED] + ((plane * units + unit) // WIDTH * num_columns) * WIDTH + unit % WIDTH
                back = layer[PACKED_BACK] + (plane * units + unit) * WIDTH
                for column in range(size):
                    value = weights[source + unit * size + column]
                    place = first + (column if is_state else _column_of(column, hidden, units, is_padded))
                    work[to + place * WIDTH] = value
                    if needs_back and (is_state or is_padded):
                        work[back + place // WIDTH * PLANES[cell] * units * WIDTH + place % WIDTH] = value
                total = layer[BIAS] + plane * units + unit
                is_second = not is_state and _gate_of(cell, plane, True) >= 0
                work[total] = weights[bias + unit] + (work[total] if is_second else ZERO)


@_compiled
def _unpack(plan, layer, work, gradient, is_padded):
    """Bring a layer's gradient into PyTorch's layout."""
    cell, hidden, units = plan[0, CELL], plan[0, HIDDEN], plan[0, UNITS]
    num_columns = units + layer[INPUT_PANELS] * WIDTH
    for plane in range(PLANES[cell]):
        for is_state in (True, False):
            gate = _gate_of(cell, plane, is_state)
            if gate < 0:
                continue
            size = hidden if is_state else layer[INPUTS]
            target = layer[STATE_WEIGHT if is_state else INPUT_WEIGHT] + gate * hidden * size
            bias = layer[STATE_BIAS if is_state else INPUT_BIAS] + gate * hidden
            first = 0 if is_state else units
            for unit in range(hidden):
                source = layer[D_PACKED] + ((plane * units + unit) // WIDTH * num_columns) * WIDTH + unit % WIDTH
                for column in range(size):
                    place = first + (column if is_state else _column_of(column, hidden, units, is_padded))
                    gradient[target + unit * size + column] = work[source + place * WIDTH]
                gradient[bias + unit] = work[layer[D_BIAS] + plane * units + unit]


@_compiled
def _activate(cell, work, gates, before, after, memory, next_memory, plane, rows, num_panels, panel):
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


@_compiled
def _differentiate(
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


@_compiled
def _read_inputs(plan, layer, direction, work, inputs, order, lengths):
    """Copy the batch to where the first layer reads it."""
    panel, units = plan[0, PANEL], plan[0, UNITS]
    step_size = (units // WIDTH + layer[INPUT_PANELS]) * panel
    num_features = inputs.shape[2]
    for row in range(len(order)):
        length = lengths[row]
        for step in range(length):
            time = length - 1 - step if direction else step
            to = layer[STATES] + step * step_size + units // WIDTH * panel + row * WIDTH
            for feature in range(num_features):
                work[to + feature // WIDTH * panel + feature % WIDTH] = inputs[order[row], time, feature]


@_compiled
def _read_outputs(plan, index, direction, work, mask, order, lengths):
    """Copy the states of the layer below, both directions side by side, to where a layer reads them."""
    panel, hidden, units, num_directions = plan[0, PANEL], plan[0, HIDDEN], plan[0, UNITS], plan[0, NUM_DIRECTIONS]
    layer = plan[1 + index * num_directions + direction]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[INPUT_PANELS]) * panel
    for side in range(num_directions):
        below = plan[1 + (index - 1) * num_directions + side]
        below_size = (num_panels + below[INPUT_PANELS]) * panel
        for row in range(len(order)):
            length = lengths[row]
            for time in range(length):
                step = length - 1 - time if direction else time
                below_step = length - 1 - time if side else time
                source = below[STATES] + (below_step + 1) * below_size + row * WIDTH
                to = layer[STATES] + step * step_size + (1 + side) * num_panels * panel + row * WIDTH
                for place in range(num_panels):
                    store(work, to + place * panel, load(work, source + place * panel))
                if mask.shape[1]:
                    for unit in range(hidden):
                        factor = mask[index - 1, order[row], time, side * hidden + unit]
                        work[to + unit // WIDTH * panel + unit % WIDTH] *= factor


@_compiled
def _run_layer(plan, layer, work, lengths):
    """Step through the sequences."""
    cell, units, panel = plan[0, CELL], plan[0, UNITS], plan[0, PANEL]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[INPUT_PANELS]) * panel
    plane = num_panels * panel
    stride = (units + layer[INPUT_PANELS] * WIDTH) * WIDTH
    packed, bias = layer[PACKED], layer[BIAS]
    num_inputs = layer[INPUTS] if layer[D_OUTPUTS] < 0 else layer[INPUT_PANELS] * WIDTH
    rows = len(lengths)
    _clear_rows(work, layer[STATES], 0, _whole_tiles(rows), num_panels, panel)
    if cell == LSTM:
        _clear_rows(work, layer[MEMORY], 0, _whole_tiles(rows), num_panels, panel)
    for step in range(lengths[0]):
        while lengths[rows - 1] <= step:
            rows -= 1
        tiled = _whole_tiles(rows)
        before, after = layer[STATES] + step * step_size, layer[STATES] + (step + 1) * step_size
        gates = layer[GATES] + step * PLANES[cell] * plane
        memory, next_memory = layer[MEMORY] + step * plane, layer[MEMORY] + (step + 1) * plane
        depth = units + num_inputs
        if cell == GRU:
            _product_biased(work, gates, before, packed, stride, bias, tiled, 2 * num_panels, depth, panel)
            of_state = packed + 2 * num_panels * stride
            _product_biased(
                work, gates + 2 * plane, before, of_state, stride, bias + 2 * units, tiled, num_panels, units, panel
            )
            of_input = packed + 3 * num_panels * stride + units * WIDTH
            read = before + plane
            _product_biased(
                work, gates + 3 * plane, read, of_input, stride, bias + 3 * units, tiled, num_panels, num_inputs, panel
            )
        else:
            num_products = PLANES[cell] * num_panels
            _product_biased(work, gates, before, packed, stride, bias, tiled, num_products, depth, panel)
        _activate(cell, work, gates, before, after, memory, next_memory, plane, rows, num_panels, panel)


@_compiled
def _receive(plan, index, direction, work, step, first_new, rows, after, lengths):
    """Add to the gradient of the states after a step what comes from the layer above, or from the pooling."""
    panel, pooling, num_directions = plan[0, PANEL], plan[0, POOLING], plan[0, NUM_DIRECTIONS]
    num_panels = plan[0, UNITS] // WIDTH
    plane = num_panels * panel
    d_state, d_pooled = plan[0, D_STATE], plan[0, D_POOLED] + direction * plane
    pooled, beside = plan[0, POOLED] + direction * plane, num_directions * plane if pooling == MEAN + MAX else 0
    is_top = index == plan[0, NUM_LAYERS] - 1
    for place in range(num_panels):
        if not is_top:
            outputs = plan[1 + (index + 1) * num_directions, D_OUTPUTS]
            for row in range(rows):
                time = lengths[row] - 1 - step if direction else step
                at = place * panel + row * WIDTH
                source = outputs + (time * num_directions + direction) * plane + at
                store(work, d_state + at, load(work, d_state + at) + load(work, source))
        elif pooling:
            for at in range(place * panel, place * panel + rows * WIDTH, WIDTH):
                total = load(work, d_state + at)
                if pooling & MEAN:
                    total = total + load(work, d_pooled + at)
                if pooling & MAX:
                    largest, share = load(work, pooled + beside + at), load(work, d_pooled + beside + at)
                    state = load(work, after + at)
                    total = total + where_equal(state, largest, share, broadcast(ZERO))
                store(work, d_state + at, total)
        else:
            for at in range(place * panel + first_new * WIDTH, place * panel + rows * WIDTH, WIDTH):
                store(work, d_state + at, load(work, d_pooled + at))


@_compiled
def _run_layer_back(plan, index, direction, work, lengths, order, mask):
    """Step back through the sequences, from the gradients of the states to those of weights and inputs."""
    cell, hidden, units, panel = plan[0, CELL], plan[0, HIDDEN], plan[0, UNITS], plan[0, PANEL]
    num_directions = plan[0, NUM_DIRECTIONS]
    layer = plan[1 + index * num_directions + direction]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[INPUT_PANELS]) * panel
    plane = num_panels * panel
    stride, back_stride = (units + layer[INPUT_PANELS] * WIDTH) * WIDTH, PLANES[cell] * units * WIDTH
    num_inputs = _whole_tiles(layer[INPUTS] if layer[D_OUTPUTS] < 0 else layer[INPUT_PANELS] * WIDTH)
    num_columns = units + num_inputs
    d_state, d_memory, d_below = plan[0, D_STATE], plan[0, D_MEMORY], plan[0, D_BELOW]
    _clear(work, layer[D_PACKED], PLANES[cell] * num_panels * stride)
    _clear(work, layer[D_BIAS], PLANES[cell] * units)
    _clear_rows(work, d_state, 0, _whole_tiles(len(lengths)), num_panels, panel)
    _clear_rows(work, d_memory, 0, _whole_tiles(len(lengths)), num_panels, panel)
    rows = 0
    for step in range(lengths[0] - 1, -1, -1):
        first_new = rows
        while rows < len(lengths) and lengths[rows] > step:
            rows += 1
        tiled = _whole_tiles(rows)
        before, after = layer[STATES] + step * step_size, layer[STATES] + (step + 1) * step_size
        gates = layer[GATES] + step * PLANES[cell] * plane
        memory, next_memory = layer[MEMORY] + step * plane, layer[MEMORY] + (step + 1) * plane
        _receive(plan, index, direction, work, step, first_new, rows, after, lengths)
        _differentiate(
            cell, work, gates, before, after, memory, next_memory, d_state, d_memory, plane, rows, num_panels, panel
        )
        num_products = PLANES[cell] * num_panels
        _clear_rows(work, gates, rows, tiled, num_products, panel)
        _column_sums_added(work, layer[D_BIAS], gates, rows, num_products, panel)
        packed_back, d_packed = layer[PACKED_BACK], layer[D_PACKED]
        if cell == GRU:
            _outer_added(work, d_packed, stride, before, gates, num_columns, 2 * num_panels, rows, panel)
            of_state, of_input = d_packed + 2 * num_panels * stride, d_packed + 3 * num_panels * stride
            _outer_added(work, of_state, stride, before, gates + 2 * plane, units, num_panels, rows, panel)
            _outer_added(
                work, of_input + units * WIDTH, stride, before + plane, gates + 3 * plane,
                num_inputs, num_panels, rows, panel,
            )  # fmt: skip
            _product_added(work, d_state, gates, packed_back, back_stride, tiled, num_panels, 3 * units, panel)
        else:
            _outer_added(work, d_packed, stride, before, gates, num_columns, num_products, rows, panel)
            depth = PLANES[cell] * units
            _product(work, d_state, gates, packed_back, back_stride, tiled, num_panels, depth, panel)
        if index:
            of_input = packed_back + num_panels * back_stride
            _product(
                work, d_below, gates, of_input, back_stride, tiled, layer[INPUT_PANELS], PLANES[cell] * units, panel
            )
            _hand_down(
                work, plan[1 + index * num_directions, D_OUTPUTS], d_below, direction, step, rows, lengths, order,
                mask, index, num_directions, num_panels, panel, hidden,
            )  # fmt: skip


@_compiled
def _hand_down(
    work, outputs, d_below, direction, step, rows, lengths, order,
    mask, index, num_directions, num_panels, panel, hidden,
):  # fmt: skip
    """Give the gradient of a step's inputs to the outputs of the layer below; the second direction adds to the first's."""
    for row in range(rows):
        time = lengths[row] - 1 - step if direction else step
        to = outputs + time * num_directions * num_panels * panel + row * WIDTH
        if mask.shape[1]:
            for column in range(num_directions * hidden):
                side, unit = column // hidden, column % hidden
                place = (side * num_panels + unit // WIDTH) * panel + unit % WIDTH
                work[d_below + place + row * WIDTH] *= mask[index - 1, order[row], time, column]
        for place in range(num_directions * num_panels):
            value = load(work, d_below + place * panel + row * WIDTH)
            if direction:
                value = value + load(work, to + place * panel)
            store(work, to + place * panel, value)


@_compiled
def _pool(plan, work, lengths):
    """Make one row of each sequence's states, of both directions."""
    panel, units, pooling = plan[0, PANEL], plan[0, UNITS], plan[0, POOLING]
    num_directions = plan[0, NUM_DIRECTIONS]
    num_panels = units // WIDTH
    beside = num_directions * num_panels * panel if pooling == MEAN + MAX else 0
    for direction in range(num_directions):
        layer = plan[1 + (plan[0, NUM_LAYERS] - 1) * num_directions + direction]
        step_size = (num_panels + layer[INPUT_PANELS]) * panel
        for row in range(len(lengths)):
            length = lengths[row]
            for place in range(num_panels):
                at = place * panel + row * WIDTH
                first = layer[STATES] + step_size + at
                to = plan[0, POOLED] + direction * num_panels * panel + at
                if not pooling:
                    store(work, to, load(work, first + (length - 1) * step_size))
                    continue
                total = load(work, first)
                largest, ties = total, broadcast(ONE)
                for step in range(1, length):
                    state = load(work, first + step * step_size)
                    total = total + state
                    if pooling & MAX:
                        now = larger(largest, state)
                        ties = where_equal(now, largest, ties, broadcast(ZERO))
                        ties = ties + where_equal(now, state, broadcast(ONE), broadcast(ZERO))
                        largest = now
                if pooling & MEAN:
                    store(work, to, total / broadcast(np.float32(length)))
                if pooling & MAX:
                    store(work, to + beside, largest)
                    store(work, plan[0, TIES] + direction * num_panels * panel + at, ties)


@_compiled
def _drop(plan, work, mask, order):
    """Put what the head reads, with its dropout, in the place of its gradient."""
    panel, hidden, units = plan[0, PANEL], plan[0, HIDDEN], plan[0, UNITS]
    for row in range(len(order)):
        for column in range(mask.shape[1]):
            place = _column_of(column, hidden, units, True)
            at = place // WIDTH * panel + row * WIDTH + place % WIDTH
            work[plan[0, D_POOLED] + at] = work[plan[0, POOLED] + at] * mask[order[row], column]


@_compiled
def _answer(plan, work, weights, lengths, head_mask, order):
    """From the pooled states to the logits."""
    panel, hidden, units, num_classes = plan[0, PANEL], plan[0, HIDDEN], plan[0, UNITS], plan[0, CLASSES]
    num_sides = plan[0, NUM_DIRECTIONS] * (2 if plan[0, POOLING] == MEAN + MAX else 1)
    num_class_panels = -(-num_classes // WIDTH)
    size = num_sides * hidden
    for label in range(num_classes):
        for column in range(size):
            place = _column_of(column, hidden, units, True)
            value = weights[plan[0, HEAD_WEIGHT] + label * size + column]
            work[plan[0, HEAD] + (label // WIDTH * num_sides * units + place) * WIDTH + label % WIDTH] = value
            back = plan[0, HEAD_BACK] + (place // WIDTH * num_class_panels * WIDTH + label) * WIDTH
            work[back + place % WIDTH] = value
        work[plan[0, HEAD_BIAS] + label] = weights[plan[0, HEAD_WEIGHT] + num_classes * size + label]
    source = plan[0, D_POOLED] if head_mask.shape[0] else plan[0, POOLED]
    depth = num_sides * units
    _product_biased(
        work, plan[0, LOGITS], source, plan[0, HEAD], depth * WIDTH, plan[0, HEAD_BIAS],
        _whole_tiles(len(lengths)), num_class_panels, depth, panel,
    )  # fmt: skip


@_compiled
def _loss(plan, work, labels, class_weights, label_smoothing, total_weight, order):
    """Return the cross-entropy of a batch, divided by `total_weight`, and put its gradient in the place of the logits."""
    panel, num_classes, logits = plan[0, PANEL], plan[0, CLASSES], plan[0, LOGITS]
    smoothed = label_smoothing / num_classes
    weight_sum = class_weights.sum()
    loss = 0.0
    for row in range(len(order)):
        first = logits + row * WIDTH
        label = labels[order[row]]
        own = (1.0 - label_smoothing) * class_weights[label]
        largest = -np.inf
        for index in range(num_classes):
            value = np.float64(work[first + index // WIDTH * panel + index % WIDTH])
            largest = value if value > largest or value != value else largest
        total = 0.0
        for index in range(num_classes):
            total += math.exp(np.float64(work[first + index // WIDTH * panel + index % WIDTH]) - largest)
        log_total = largest + math.log(total)
        for index in range(num_classes):
            at = first + index // WIDTH * panel + index % WIDTH
            log_probability = np.float64(work[at]) - log_total
            share = smoothed * class_weights[index] + (own if index == label else 0.0)
            loss -= share * log_probability
            whole = own + smoothed * weight_sum
            work[at] = np.float32((whole * math.exp(log_probability) - share) / total_weight)
    return loss / total_weight


@_compiled
def _answer_back(plan, work, gradient, lengths, head_mask, order):
    """From the gradient of the logits to those of the head and of the pooled states."""
    panel, hidden, units, num_classes = plan[0, PANEL], plan[0, HIDDEN], plan[0, UNITS], plan[0, CLASSES]
    pooling, num_directions = plan[0, POOLING], plan[0, NUM_DIRECTIONS]
    num_sides = num_directions * (2 if pooling == MEAN + MAX else 1)
    num_class_panels = -(-num_classes // WIDTH)
    rows = len(lengths)
    depth = num_sides * units
    source = plan[0, D_POOLED] if head_mask.shape[0] else plan[0, POOLED]
    _clear(work, plan[0, D_HEAD], num_class_panels * depth * WIDTH)
    _clear(work, plan[0, D_HEAD_BIAS], num_class_panels * WIDTH)
    _clear_rows(work, plan[0, LOGITS], rows, _whole_tiles(rows), num_class_panels, panel)
    _outer_added(work, plan[0, D_HEAD], depth * WIDTH, source, plan[0, LOGITS], depth, num_class_panels, rows, panel)
    _column_sums_added(work, plan[0, D_HEAD_BIAS], plan[0, LOGITS], rows, num_class_panels, panel)
    size = num_sides * hidden
    for label in range(num_classes):
        for column in range(size):
            place = _column_of(column, hidden, units, True)
            at = plan[0, D_HEAD] + (label // WIDTH * depth + place) * WIDTH + label % WIDTH
            gradient[plan[0, HEAD_WEIGHT] + label * size + column] = work[at]
        gradient[plan[0, HEAD_WEIGHT] + num_classes * size + label] = work[plan[0, D_HEAD_BIAS] + label]
    _product(
        work, plan[0, D_POOLED], plan[0, LOGITS], plan[0, HEAD_BACK], num_class_panels * WIDTH * WIDTH,
        _whole_tiles(rows), depth // WIDTH, num_classes, panel,
    )  # fmt: skip
    num_panels = units // WIDTH
    for row in range(rows):
        if head_mask.shape[0]:
            for column in range(size):
                place = _column_of(column, hidden, units, True)
                at = plan[0, D_POOLED] + place // WIDTH * panel + row * WIDTH + place % WIDTH
                work[at] *= head_mask[order[row], column]
        for index in range(num_directions * num_panels):
            at = index * panel + row * WIDTH
            if pooling & MEAN:
                value = load(work, plan[0, D_POOLED] + at) / broadcast(np.float32(lengths[row]))
                store(work, plan[0, D_POOLED] + at, value)
            if pooling & MAX:
                beside = num_directions * num_panels * panel if pooling == MEAN + MAX else 0
                value = load(work, plan[0, D_POOLED] + beside + at) / load(work, plan[0, TIES] + at)
                store(work, plan[0, D_POOLED] + beside + at, value)


_FLOATS = types.float32[::1]
_INTS = types.int64[::1]
RUN = types.float64(
    types.int64[:, ::1], _FLOATS, _FLOATS, _FLOATS, types.float32[:, :, ::1], _INTS, _INTS, _INTS,
    types.float64[::1], types.float64, types.float64, types.float32[:, :, :, ::1], types.float32[:, ::1],
    types.float32[:, ::1],
)  # fmt: skip
CLIPPED_ADAMW = types.void(
    _FLOATS, _FLOATS, _FLOATS, _FLOATS, types.int64, types.float64, types.float64, types.float64,
    types.float64, types.float64, types.float64,
)  # fmt: skip


@_compiled
def run(
    plan, work, weights, gradient, inputs, order, lengths, labels,
    class_weights, label_smoothing, total_weight, step_mask, head_mask, logits,
):  # fmt: skip
    """Return the loss of a batch and leave its gradient in `gradient`; or, where that is empty, only answer.

    Args:
        plan: where everything is in `work`.
        work: scratch.
        weights: all parameters, in PyTorch's order.
        gradient: of the same, is filled.
        inputs: (batch, time, feature), what stands in the padding is not read.
        order: the rows of `inputs`, longest first.
        lengths: of the same rows, in steps, in that order.
        labels: of the rows of `inputs`.
        class_weights: of each class, in the loss.
        label_smoothing: share of the loss that all classes have alike.
        total_weight: what the sum of the losses is divided by.
        step_mask: (layer, batch, time, output) factors of what a layer after the first reads, or (0, 0, 0, 0).
        head_mask: (batch, pooled) factors of what the head reads, or (0, 0).
        logits: (batch, class), is filled; or (0, 0).
    """
    trains = len(gradient) > 0
    num_directions = plan[0, NUM_DIRECTIONS]
    for index in range(plan[0, NUM_LAYERS]):
        for direction in range(num_directions):
            layer = plan[1 + index * num_directions + direction]
            _pack(plan, layer, work, weights, index > 0, trains)
            if index:
                _read_outputs(plan, index, direction, work, step_mask, order, lengths)
            else:
                _read_inputs(plan, layer, direction, work, inputs, order, lengths)
            _run_layer(plan, layer, work, lengths)
    _pool(plan, work, lengths)
    if head_mask.shape[0]:
        _drop(plan, work, head_mask, order)
    _answer(plan, work, weights, lengths, head_mask, order)
    for row in range(len(logits)):
        for index in range(plan[0, CLASSES]):
            at = plan[0, LOGITS] + row * WIDTH + index // WIDTH * plan[0, PANEL] + index % WIDTH
            logits[order[row], index] = work[at]
    if not trains:
        return 0.0
    loss = _loss(plan, work, labels, class_weights, label_smoothing, total_weight, order)
    _answer_back(plan, work, gradient, lengths, head_mask, order)
    for index in range(plan[0, NUM_LAYERS] - 1, -1, -1):
        for direction in range(num_directions):
            _run_layer_back(plan, index, direction, work, lengths, order, step_mask)
            layer = plan[1 + index * num_directions + direction]
            _unpack(plan, layer, work, gradient, index > 0)
    return loss


@_compiled
def clipped_adamw(
    weights, gradient, first_moment, second_moment, step, learning_rate, max_norm, weight_decay, beta1, beta2, epsilon
):
    """Clip the gradient's norm and take step number `step` (from 1) of AdamW."""
    sums = np.zeros(WIDTH)
    whole = len(gradient) // WIDTH * WIDTH
    for start in range(0, whole, WIDTH):
        for lane in range(WIDTH):
            sums[lane] += np.float64(gradient[start + lane]) * np.float64(gradient[start + lane])
    square = 0.0
    for lane in range(WIDTH):
        square += sums[lane]
    for index in range(whole, len(gradient)):
        square += np.float64(gradient[index]) * np.float64(gradient[index])
    ratio = max_norm / (math.sqrt(square) + 1e-6)
    scale = np.float32(1.0 if ratio >= 1.0 else ratio)  # NaN stays NaN
    decay = np.float32(1.0 - learning_rate * weight_decay)
    step_size = np.float32(learning_rate / (1.0 - beta1**step))
    correction = np.float32(1.0 / math.sqrt(1.0 - beta2**step))
    keep1, take1 = np.float32(beta1), np.float32(1.0 - beta1)
    keep2, take2 = np.float32(beta2), np.float32(1.0 - beta2)
    small = np.float32(epsilon)
    for index in range(len(weights)):
        slope = gradient[index] * scale
        first = keep1 * first_moment[index] + take1 * slope
        second = keep2 * second_moment[index] + take2 * (slope * slope)
        first_moment[index] = first
        second_moment[index] = second
        weights[index] = weights[index] * decay - step_size * first / (np.sqrt(second) * correction + small)
