"""A layer in one direction: what it reads, its steps through the sequences, and the steps back.

The rows of a batch are sorted by length, longest first, so that the sequences that have a step are always the first rows:
padding is neither computed nor read. The reverse direction reads each sequence from its own end.
"""

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.cells import cell_backward, cell_forward
from rnnflow.engines.numba.layout import GRU, LSTM, MAX, MEAN, NUM_STAGES, PLANES
from rnnflow.engines.numba.products import (
    clear,
    clear_rows,
    column_sums_added,
    outer_added,
    product,
    product_added,
    product_biased,
    whole_tiles,
)
from rnnflow.engines.numba.simd import ZERO, broadcast, kernel, load, store, where_equal
from rnnflow.engines.numba.target import WIDTH


@kernel
def read_inputs(plan, layer, direction, work, inputs, order, lengths):
    """Copy the batch to where the first layer reads it."""
    panel, units = plan[0, layout.PANEL], plan[0, layout.UNITS]
    step_size = (units // WIDTH + layer[layout.INPUT_PANELS]) * panel
    num_features = inputs.shape[2]
    for row in range(len(order)):
        length = lengths[row]
        for step in range(length):
            time = length - 1 - step if direction else step
            to = layer[layout.STATES] + step * step_size + units // WIDTH * panel + row * WIDTH
            for feature in range(num_features):
                work[to + feature // WIDTH * panel + feature % WIDTH] = inputs[order[row], time, feature]


@kernel
def read_stem(plan, layer, direction, work, lengths):
    """Copy what the stem gives to where the first layer reads it."""
    panel, num_panels = plan[0, layout.PANEL], plan[0, layout.UNITS] // WIDTH
    stem = plan[plan[0, layout.STEM] + NUM_STAGES]
    step_size = (num_panels + layer[layout.INPUT_PANELS]) * panel
    for row in range(len(lengths)):
        for step in range(lengths[row]):
            time = lengths[row] - 1 - step if direction else step
            source = stem[layout.IN] + row * stem[layout.IN_ROW] + time * WIDTH
            to = layer[layout.STATES] + step * step_size + num_panels * panel + row * WIDTH
            for place in range(layer[layout.INPUT_PANELS]):
                store(work, to + place * panel, load(work, source + place * stem[layout.IN_PANEL]))


@kernel
def read_layer_below(plan, index, direction, work, mask, order, lengths):
    """Copy the states of the layer below, both directions side by side, to where a layer reads them."""
    panel, hidden = plan[0, layout.PANEL], plan[0, layout.HIDDEN]
    units, num_directions = plan[0, layout.UNITS], plan[0, layout.NUM_DIRECTIONS]
    layer = plan[1 + index * num_directions + direction]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[layout.INPUT_PANELS]) * panel
    for below_direction in range(num_directions):
        below = plan[1 + (index - 1) * num_directions + below_direction]
        below_size = (num_panels + below[layout.INPUT_PANELS]) * panel
        first = below[layout.STATES] + below_size  # the state after the first step
        first_input = layer[layout.STATES] + (1 + below_direction) * num_panels * panel
        rows = len(order)
        for time in range(lengths[0]):
            while lengths[rows - 1] <= time:
                rows -= 1
            for place in range(num_panels):
                for row in range(rows):  # which lie side by side
                    # Each direction counts its steps in the order in which it takes them.
                    step = lengths[row] - 1 - time if direction else time
                    below_step = lengths[row] - 1 - time if below_direction else time
                    at = place * panel + row * WIDTH
                    store(work, first_input + step * step_size + at, load(work, first + below_step * below_size + at))
            for row in range(rows if mask.shape[1] else 0):
                step = lengths[row] - 1 - time if direction else time
                to = first_input + step * step_size + row * WIDTH
                for unit in range(hidden):
                    factor = mask[index - 1, order[row], time, below_direction * hidden + unit]
                    work[to + unit // WIDTH * panel + unit % WIDTH] *= factor


@kernel
def _num_inputs(layer):
    """How many columns a product reads beside the state: the features, or the layer below in whole panels."""
    return layer[layout.INPUTS] if layer[layout.D_OUTPUTS] < 0 else layer[layout.INPUT_PANELS] * WIDTH


@kernel
def layer_forward(plan, layer, work, lengths):
    """Step through the sequences."""
    cell, units, panel = plan[0, layout.CELL], plan[0, layout.UNITS], plan[0, layout.PANEL]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[layout.INPUT_PANELS]) * panel
    plane = num_panels * panel
    num_inputs = _num_inputs(layer)
    rows = len(lengths)
    clear_rows(work, layer[layout.STATES], 0, whole_tiles(rows), num_panels, panel)
    if cell == LSTM:
        clear_rows(work, layer[layout.CELL_STATES], 0, whole_tiles(rows), num_panels, panel)
    for step in range(lengths[0]):
        while lengths[rows - 1] <= step:
            rows -= 1
        state, next_state = layer[layout.STATES] + step * step_size, layer[layout.STATES] + (step + 1) * step_size
        gates = layer[layout.GATES] + step * PLANES[cell] * plane
        cell_state = layer[layout.CELL_STATES] + step * plane
        _gate_products(plan, layer, work, gates, state, num_inputs, whole_tiles(rows))
        cell_forward(
            cell, work, gates, state, next_state, cell_state, cell_state + plane, plane, rows, num_panels, panel
        )


@kernel
def _gate_products(plan, layer, work, gates, state, num_inputs, tiled):
    """Fill the gates of a step with the products of weights and `[state, input]`, biases included."""
    cell, units, panel = plan[0, layout.CELL], plan[0, layout.UNITS], plan[0, layout.PANEL]
    num_panels = units // WIDTH
    plane = num_panels * panel
    packed, bias = layer[layout.PACKED], layer[layout.BIAS]
    stride = (units + layer[layout.INPUT_PANELS] * WIDTH) * WIDTH  # of a panel of weights: (units + 16 * inputs, 16)
    depth = units + num_inputs
    if cell == GRU:
        # Of the candidate's two planes, one has weights of the state alone and the other of the input alone.
        product_biased(work, gates, state, packed, stride, bias, tiled, 2 * num_panels, depth, panel)
        of_state = packed + 2 * num_panels * stride
        product_biased(
            work, gates + 2 * plane, state, of_state, stride, bias + 2 * units, tiled, num_panels, units, panel
        )
        of_input = packed + 3 * num_panels * stride + units * WIDTH
        inputs = state + plane
        product_biased(
            work, gates + 3 * plane, inputs, of_input, stride, bias + 3 * units, tiled, num_panels, num_inputs, panel
        )
    else:
        product_biased(work, gates, state, packed, stride, bias, tiled, PLANES[cell] * num_panels, depth, panel)


@kernel
def layer_backward(plan, index, direction, work, lengths, order, mask):
    """Step back through the sequences, from the gradients of the states to those of weights and inputs."""
    cell, units, panel = plan[0, layout.CELL], plan[0, layout.UNITS], plan[0, layout.PANEL]
    num_directions = plan[0, layout.NUM_DIRECTIONS]
    layer = plan[1 + index * num_directions + direction]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[layout.INPUT_PANELS]) * panel
    plane = num_panels * panel
    num_products = PLANES[cell] * num_panels
    d_state, d_cell_state = plan[0, layout.D_STATE], plan[0, layout.D_CELL_STATE]
    clear(work, layer[layout.D_PACKED], num_products * (units + layer[layout.INPUT_PANELS] * WIDTH) * WIDTH)
    clear(work, layer[layout.D_BIAS], PLANES[cell] * units)
    clear_rows(work, d_state, 0, whole_tiles(len(lengths)), num_panels, panel)
    clear_rows(work, d_cell_state, 0, whole_tiles(len(lengths)), num_panels, panel)
    rows = 0
    for step in range(lengths[0] - 1, -1, -1):
        first_new = rows  # sequences from here on have their last step now
        while rows < len(lengths) and lengths[rows] > step:
            rows += 1
        state, next_state = layer[layout.STATES] + step * step_size, layer[layout.STATES] + (step + 1) * step_size
        gates = layer[layout.GATES] + step * PLANES[cell] * plane
        cell_state = layer[layout.CELL_STATES] + step * plane
        _add_output_gradient(plan, index, direction, work, step, first_new, rows, next_state, lengths)
        cell_backward(
            cell, work, gates, state, next_state, cell_state, cell_state + plane, d_state, d_cell_state,
            plane, rows, num_panels, panel,
        )  # fmt: skip
        # A sequence that ends before this step has no gradient yet, and products of whole tiles must not give it one.
        clear_rows(work, gates, rows, whole_tiles(rows), num_products, panel)
        column_sums_added(work, layer[layout.D_BIAS], gates, rows, num_products, panel)
        _add_weight_gradient(plan, layer, work, gates, state, rows)
        if step:
            _previous_state_gradient(plan, layer, work, gates, whole_tiles(rows))
        if index:
            _add_gradient_below(plan, index, direction, work, gates, step, rows, lengths, order, mask)
        elif plan[0, layout.STEM]:
            _add_gradient_of_stem(plan, layer, direction, work, gates, step, rows, lengths)


@kernel
def _add_output_gradient(plan, index, direction, work, step, first_new, rows, next_state, lengths):
    """Add to the gradient of the states after a step what comes from the layer above, or from the pooling."""
    panel, pooling, num_directions = plan[0, layout.PANEL], plan[0, layout.POOLING], plan[0, layout.NUM_DIRECTIONS]
    num_panels = plan[0, layout.UNITS] // WIDTH
    plane = num_panels * panel
    d_state, d_pooled = plan[0, layout.D_STATE], plan[0, layout.D_POOLED] + direction * plane
    # Where there are a mean and a maximum, those of all directions come first and these behind them.
    pooled, beside = plan[0, layout.POOLED] + direction * plane, num_directions * plane if pooling == MEAN + MAX else 0
    is_top = index == plan[0, layout.NUM_LAYERS] - 1
    for place in range(num_panels):
        if not is_top:
            d_outputs = plan[1 + (index + 1) * num_directions, layout.D_OUTPUTS]
            for row in range(rows):
                time = lengths[row] - 1 - step if direction else step
                at = place * panel + row * WIDTH
                source = d_outputs + (time * num_directions + direction) * plane + at
                store(work, d_state + at, load(work, d_state + at) + load(work, source))
        elif pooling:
            for at in range(place * panel, place * panel + rows * WIDTH, WIDTH):
                total = load(work, d_state + at)
                if pooling & MEAN:
                    total = total + load(work, d_pooled + at)
                if pooling & MAX:
                    largest, share = load(work, pooled + beside + at), load(work, d_pooled + beside + at)
                    state = load(work, next_state + at)
                    total = total + where_equal(state, largest, share, broadcast(ZERO))
                store(work, d_state + at, total)
        else:  # the head reads the final state: it begins the gradient of each sequence
            for at in range(place * panel + first_new * WIDTH, place * panel + rows * WIDTH, WIDTH):
                store(work, d_state + at, load(work, d_pooled + at))


@kernel
def _add_weight_gradient(plan, layer, work, gates, state, rows):
    """Add a step's share of the gradient of the weights: `[state, input]ᵀ @ d_gates`."""
    cell, units, panel = plan[0, layout.CELL], plan[0, layout.UNITS], plan[0, layout.PANEL]
    num_panels = units // WIDTH
    plane = num_panels * panel
    stride = (units + layer[layout.INPUT_PANELS] * WIDTH) * WIDTH
    num_inputs = whole_tiles(_num_inputs(layer))  # here the columns are the rows of the tiles
    d_packed = layer[layout.D_PACKED]
    if cell == GRU:  # the planes are those of `_gate_products`
        outer_added(work, d_packed, stride, state, gates, units + num_inputs, 2 * num_panels, rows, panel)
        of_state, of_input = d_packed + 2 * num_panels * stride, d_packed + 3 * num_panels * stride
        outer_added(work, of_state, stride, state, gates + 2 * plane, units, num_panels, rows, panel)
        outer_added(
            work, of_input + units * WIDTH, stride, state + plane, gates + 3 * plane,
            num_inputs, num_panels, rows, panel,
        )  # fmt: skip
    else:
        outer_added(work, d_packed, stride, state, gates, units + num_inputs, PLANES[cell] * num_panels, rows, panel)


@kernel
def _previous_state_gradient(plan, layer, work, gates, tiled):
    """Bring the gradient of the gates to the state before the step."""
    cell, units, panel = plan[0, layout.CELL], plan[0, layout.UNITS], plan[0, layout.PANEL]
    num_panels = units // WIDTH
    back, stride = layer[layout.PACKED_BACK], PLANES[cell] * units * WIDTH
    if cell == GRU:
        # Part of it went past the gates and is in `d_state` already; the last plane knows only the input.
        product_added(work, plan[0, layout.D_STATE], gates, back, stride, tiled, num_panels, 3 * units, panel)
    else:
        product(work, plan[0, layout.D_STATE], gates, back, stride, tiled, num_panels, PLANES[cell] * units, panel)


@kernel
def _add_gradient_below(plan, index, direction, work, gates, step, rows, lengths, order, mask):
    """Bring the gradient of the gates to the outputs of the layer below; the second direction adds to the first's."""
    cell, units, panel = plan[0, layout.CELL], plan[0, layout.UNITS], plan[0, layout.PANEL]
    hidden, num_directions = plan[0, layout.HIDDEN], plan[0, layout.NUM_DIRECTIONS]
    layer = plan[1 + index * num_directions + direction]
    num_panels = units // WIDTH
    d_below, d_outputs = plan[0, layout.D_BELOW], plan[1 + index * num_directions, layout.D_OUTPUTS]
    depth = PLANES[cell] * units
    of_input = layer[layout.PACKED_BACK] + num_panels * depth * WIDTH
    num_inputs = layer[layout.INPUT_PANELS]
    product(work, d_below, gates, of_input, depth * WIDTH, whole_tiles(rows), num_inputs, depth, panel)
    for row in range(rows):
        # Backwards a sequence begins with its own last step, so that the rows of one product belong to different times.
        time = lengths[row] - 1 - step if direction else step
        to = d_outputs + time * num_directions * num_panels * panel + row * WIDTH
        if mask.shape[1]:  # of dropout between layers; it goes by unit, without the zeros that fill up the panels
            for column in range(num_directions * hidden):
                below_direction, unit = column // hidden, column % hidden
                place = (below_direction * num_panels + unit // WIDTH) * panel + unit % WIDTH
                work[d_below + place + row * WIDTH] *= mask[index - 1, order[row], time, column]
        for place in range(num_directions * num_panels):
            value = load(work, d_below + place * panel + row * WIDTH)
            if direction:
                value = value + load(work, to + place * panel)
            store(work, to + place * panel, value)


@kernel
def _add_gradient_of_stem(plan, layer, direction, work, gates, step, rows, lengths):
    """Bring the gradient of the gates to what the stem gave; the second direction adds to the first's."""
    panel, num_panels = plan[0, layout.PANEL], plan[0, layout.UNITS] // WIDTH
    stem, d_below = plan[plan[0, layout.STEM] + NUM_STAGES], plan[0, layout.D_BELOW]
    depth = PLANES[plan[0, layout.CELL]] * plan[0, layout.UNITS]
    of_input, num_inputs = layer[layout.PACKED_BACK] + num_panels * depth * WIDTH, layer[layout.INPUT_PANELS]
    product(work, d_below, gates, of_input, depth * WIDTH, whole_tiles(rows), num_inputs, depth, panel)
    for row in range(rows):
        time = lengths[row] - 1 - step if direction else step
        to = stem[layout.D_IN] + row * stem[layout.D_IN_ROW] + time * WIDTH
        for place in range(num_inputs):
            value, at = load(work, d_below + place * panel + row * WIDTH), to + place * stem[layout.Z_PANEL]
            store(work, at, value + load(work, at) if direction else value)
