"""Weights in PyTorch's layout, and laid out for the products.

The parameters are one flat vector in PyTorch's order, gate by gate and unit by unit. The products want panels: for each
sixteen units the weights of all columns, state first and input behind it, so that one product serves both. They are laid
out anew in every call; at hidden 32 that is a tenth of a step, and nothing has to be kept in step with the optimiser.
"""

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.layout import GRU, PLANES
from rnnflow.engines.numba.simd import WIDTH, ZERO, kernel


@kernel
def _gate_of(cell, plane, is_state):
    """Which of PyTorch's gates a plane takes from the weights of the state or of the input; -1: none.

    Only the GRU's candidate differs: its plane 2 holds the products of the state, its plane 3 those of the input.
    """
    if cell != GRU or plane < 2:
        return plane
    return 2 if (plane == 2) == is_state else -1


@kernel
def _part(plan, layer, plane, is_state):
    """What a plane takes from the weights of the state or of the input, which is nothing where the size is 0.

    Returns the columns of a unit's weights, where those of its gate begin, where its biases do, and the first of its
    columns among those of the plane.
    """
    hidden = plan[0, layout.HIDDEN]
    gate = _gate_of(plan[0, layout.CELL], plane, is_state)
    if gate < 0:
        return 0, 0, 0, 0
    if is_state:
        weight, bias = layer[layout.STATE_WEIGHT], layer[layout.STATE_BIAS]
        return hidden, weight + gate * hidden * hidden, bias + gate * hidden, 0
    size = layer[layout.INPUTS]
    weight, bias = layer[layout.INPUT_WEIGHT], layer[layout.INPUT_BIAS]
    return size, weight + gate * hidden * size, bias + gate * hidden, plan[0, layout.UNITS]


@kernel
def padded_column(column, hidden, units, is_padded):
    """Where a column of PyTorch's weights is, if the columns of each direction are filled up to whole panels."""
    return column // hidden * units + column % hidden if is_padded else column


@kernel
def pack(plan, layer, work, weights, is_padded, needs_back, has_below):
    """Lay a layer's weights out for the products.

    Args:
        plan: of the whole.
        layer: its row of the plan.
        work: scratch.
        weights: all parameters.
        is_padded: whether the layer reads the states of another one, each direction in whole panels.
        needs_back: whether a backward pass follows.
        has_below: whether what it reads has a gradient, which data has not.
    """
    cell, hidden, units = plan[0, layout.CELL], plan[0, layout.HIDDEN], plan[0, layout.UNITS]
    num_columns = units + layer[layout.INPUT_PANELS] * WIDTH
    for plane in range(PLANES[cell]):
        for is_state in (True, False):
            size, weight, bias, first = _part(plan, layer, plane, is_state)
            for unit in range(hidden if size else 0):
                # (planes * panels, num_columns, 16) forward and (panels + inputs, planes * units, 16) backward
                to = layer[layout.PACKED] + ((plane * units + unit) // WIDTH * num_columns) * WIDTH + unit % WIDTH
                back = layer[layout.PACKED_BACK] + (plane * units + unit) * WIDTH
                for column in range(size):
                    value = weights[weight + unit * size + column]
                    place = first + (column if is_state else padded_column(column, hidden, units, is_padded))
                    work[to + place * WIDTH] = value
                    if needs_back and (is_state or has_below):
                        work[back + place // WIDTH * PLANES[cell] * units * WIDTH + place % WIDTH] = value
                total = layer[layout.BIAS] + plane * units + unit
                is_second = not is_state and _gate_of(cell, plane, True) >= 0
                work[total] = weights[bias + unit] + (work[total] if is_second else ZERO)


@kernel
def unpack(plan, layer, work, gradient, is_padded):
    """Bring a layer's gradient into PyTorch's layout; the reverse of `pack`."""
    cell, hidden, units = plan[0, layout.CELL], plan[0, layout.HIDDEN], plan[0, layout.UNITS]
    num_columns = units + layer[layout.INPUT_PANELS] * WIDTH
    for plane in range(PLANES[cell]):
        for is_state in (True, False):
            size, weight, bias, first = _part(plan, layer, plane, is_state)
            for unit in range(hidden if size else 0):
                source = layer[layout.D_PACKED] + ((plane * units + unit) // WIDTH * num_columns) * WIDTH + unit % WIDTH
                for column in range(size):
                    place = first + (column if is_state else padded_column(column, hidden, units, is_padded))
                    gradient[weight + unit * size + column] = work[source + place * WIDTH]
                gradient[bias + unit] = work[layer[layout.D_BIAS] + plane * units + unit]
