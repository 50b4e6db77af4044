"""Weights in PyTorch's layout, and laid out for the products.

The parameters are one flat vector in PyTorch's order, gate by gate and unit by unit. The products want panels: for each
sixteen units the weights of all columns, state first and input behind it, so that one product serves both. They are laid
out anew for every batch; at hidden 32 that is 4 % of a step, and nothing has to be kept in step with the optimiser.
"""

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.layout import GRU, PLANES
from rnnflow.engines.numba.simd import ZERO, kernel, load, store, transpose
from rnnflow.engines.numba.target import WIDTH


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
def padded_column(column, hidden, units):
    """Where a column of PyTorch's weights is, if the columns of each direction are filled up to whole panels."""
    return column // hidden * units + column % hidden


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
    num_columns, back_stride = units + layer[layout.INPUT_PANELS] * WIDTH, PLANES[cell] * units * WIDTH
    for plane in range(PLANES[cell]):
        for is_state in (True, False):
            size, weight, bias, first = _part(plan, layer, plane, is_state)
            # So many columns lie side by side in PyTorch's layout, and in whole panels here.
            num_together = hidden if is_state or is_padded else size
            for unit in range(hidden if size else 0):
                # (planes * panels, num_columns, 16) forward and (panels + inputs, planes * units, 16) backward
                row = plane * units + unit
                to = layer[layout.PACKED] + (row // WIDTH * num_columns + first) * WIDTH + row % WIDTH
                back = layer[layout.PACKED_BACK] + first // WIDTH * back_stride + row * WIDTH
                source = weight + unit * size
                stop = source + size
                while source < stop:
                    if needs_back and (is_state or has_below):
                        _copy_row(work, back, back_stride, weights, source, num_together)
                    if unit % WIDTH == 0:
                        _copy_units(
                            work, to, 1, WIDTH, weights, source, size, 1, min(WIDTH, hidden - unit), num_together
                        )
                    to += units * WIDTH
                    source += num_together
                    back += units // WIDTH * back_stride
                total = layer[layout.BIAS] + row
                is_second = not is_state and _gate_of(cell, plane, True) >= 0
                work[total] = weights[bias + unit] + (work[total] if is_second else ZERO)


@kernel
def _copy_row(work, to, stride, source, start, size):
    """Copy a row of numbers into one of panels, `stride` apart."""
    whole = size // WIDTH * WIDTH
    for column in range(0, whole, WIDTH):
        store(work, to + column // WIDTH * stride, load(source, start + column))
    for column in range(whole, size):
        work[to + whole // WIDTH * stride + column - whole] = source[start + column]


@kernel
def _copy_units(target, to, to_unit, to_column, source, start, unit, column, num_units, num_columns):
    """Copy the columns of up to sixteen units, which lie side by side in one layout and their columns in the other.

    `to_unit` and `unit` are from a unit to the next, `to_column` and `column` from a column to the next: one of each two is 1.
    """
    whole = num_columns // WIDTH * WIDTH if num_units == WIDTH else 0
    for first in range(0, whole, WIDTH):
        at, place = start + first * column, to + first * to_column
        transpose(source, at, max(unit, column), target, place, max(to_unit, to_column))
    for index in range(num_units):
        at, place = start + index * unit + whole * column, to + index * to_unit + whole * to_column
        for _ in range(whole, num_columns):
            target[place] = source[at]
            at += column
            place += to_column


@kernel
def unpack(plan, layer, work, gradient, is_padded):
    """Bring a layer's gradient into PyTorch's layout; the reverse of `pack`."""
    cell, hidden, units = plan[0, layout.CELL], plan[0, layout.HIDDEN], plan[0, layout.UNITS]
    num_columns = units + layer[layout.INPUT_PANELS] * WIDTH
    for plane in range(PLANES[cell]):
        for is_state in (True, False):
            size, weight, bias, first = _part(plan, layer, plane, is_state)
            num_together = hidden if is_state or is_padded else size
            for unit in range(0, hidden if size else 0, WIDTH):
                row, num_units = plane * units + unit, min(WIDTH, hidden - unit)
                source = layer[layout.D_PACKED] + (row // WIDTH * num_columns + first) * WIDTH + row % WIDTH
                to = weight + unit * size
                stop = to + size
                while to < stop:
                    _copy_units(gradient, to, size, 1, work, source, 1, WIDTH, num_units, num_together)
                    source += units * WIDTH
                    to += num_together
                for index in range(num_units):
                    gradient[bias + unit + index] = work[layer[layout.D_BIAS] + row + index]
