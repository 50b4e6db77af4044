"""Weights in PyTorch's layout, and laid out for the products."""

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.lanes import WIDTH, ZERO, kernel
from rnnflow.engines.numba.layout import GRU, PLANES


@kernel
def _gate_of(cell, plane, is_state):
    """Which of PyTorch's gates a plane takes from the weights of the state or of the input; -1: none."""
    if cell != GRU or plane < 2:
        return plane
    return 2 if (plane == 2) == is_state else -1


@kernel
def column_of(column, hidden, units, is_padded):
    """Where a column of PyTorch's weights is among columns of whole panels a direction."""
    return column // hidden * units + column % hidden if is_padded else column


@kernel
def pack(plan, layer, work, weights, is_padded, needs_back):
    """Lay a layer's weights out for the products."""
    cell, hidden, units = plan[0, layout.CELL], plan[0, layout.HIDDEN], plan[0, layout.UNITS]
    num_columns = units + layer[layout.INPUT_PANELS] * WIDTH
    for plane in range(PLANES[cell]):
        for is_state in (True, False):
            gate = _gate_of(cell, plane, is_state)
            if gate < 0:
                continue
            size = hidden if is_state else layer[layout.INPUTS]
            source = layer[layout.STATE_WEIGHT if is_state else layout.INPUT_WEIGHT] + gate * hidden * size
            bias = layer[layout.STATE_BIAS if is_state else layout.INPUT_BIAS] + gate * hidden
            first = 0 if is_state else units
            for unit in range(hidden):
                to = layer[layout.PACKED] + ((plane * units + unit) // WIDTH * num_columns) * WIDTH + unit % WIDTH
                back = layer[layout.PACKED_BACK] + (plane * units + unit) * WIDTH
                for column in range(size):
                    value = weights[source + unit * size + column]
                    place = first + (column if is_state else column_of(column, hidden, units, is_padded))
                    work[to + place * WIDTH] = value
                    if needs_back and (is_state or is_padded):
                        work[back + place // WIDTH * PLANES[cell] * units * WIDTH + place % WIDTH] = value
                total = layer[layout.BIAS] + plane * units + unit
                is_second = not is_state and _gate_of(cell, plane, True) >= 0
                work[total] = weights[bias + unit] + (work[total] if is_second else ZERO)


@kernel
def unpack(plan, layer, work, gradient, is_padded):
    """Bring a layer's gradient into PyTorch's layout."""
    cell, hidden, units = plan[0, layout.CELL], plan[0, layout.HIDDEN], plan[0, layout.UNITS]
    num_columns = units + layer[layout.INPUT_PANELS] * WIDTH
    for plane in range(PLANES[cell]):
        for is_state in (True, False):
            gate = _gate_of(cell, plane, is_state)
            if gate < 0:
                continue
            size = hidden if is_state else layer[layout.INPUTS]
            target = layer[layout.STATE_WEIGHT if is_state else layout.INPUT_WEIGHT] + gate * hidden * size
            bias = layer[layout.STATE_BIAS if is_state else layout.INPUT_BIAS] + gate * hidden
            first = 0 if is_state else units
            for unit in range(hidden):
                source = layer[layout.D_PACKED] + ((plane * units + unit) // WIDTH * num_columns) * WIDTH + unit % WIDTH
                for column in range(size):
                    place = first + (column if is_state else column_of(column, hidden, units, is_padded))
                    gradient[target + unit * size + column] = work[source + place * WIDTH]
                gradient[bias + unit] = work[layer[layout.D_BIAS] + plane * units + unit]
