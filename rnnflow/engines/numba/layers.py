"""A layer in one direction: what it reads, its steps through the sequences, and the steps back."""

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.cells import activate, differentiate
from rnnflow.engines.numba.lanes import WIDTH, ZERO, broadcast, kernel, load, store, where_equal
from rnnflow.engines.numba.layout import GRU, LSTM, MAX, MEAN, PLANES
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
def read_outputs(plan, index, direction, work, mask, order, lengths):
    """Copy the states of the layer below, both directions side by side, to where a layer reads them."""
    panel, hidden = plan[0, layout.PANEL], plan[0, layout.HIDDEN]
    units, num_directions = plan[0, layout.UNITS], plan[0, layout.NUM_DIRECTIONS]
    layer = plan[1 + index * num_directions + direction]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[layout.INPUT_PANELS]) * panel
    for side in range(num_directions):
        below = plan[1 + (index - 1) * num_directions + side]
        below_size = (num_panels + below[layout.INPUT_PANELS]) * panel
        for row in range(len(order)):
            length = lengths[row]
            for time in range(length):
                step = length - 1 - time if direction else time
                below_step = length - 1 - time if side else time
                source = below[layout.STATES] + (below_step + 1) * below_size + row * WIDTH
                to = layer[layout.STATES] + step * step_size + (1 + side) * num_panels * panel + row * WIDTH
                for place in range(num_panels):
                    store(work, to + place * panel, load(work, source + place * panel))
                if mask.shape[1]:
                    for unit in range(hidden):
                        factor = mask[index - 1, order[row], time, side * hidden + unit]
                        work[to + unit // WIDTH * panel + unit % WIDTH] *= factor


@kernel
def run_layer(plan, layer, work, lengths):
    """Step through the sequences."""
    cell, units, panel = plan[0, layout.CELL], plan[0, layout.UNITS], plan[0, layout.PANEL]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[layout.INPUT_PANELS]) * panel
    plane = num_panels * panel
    stride = (units + layer[layout.INPUT_PANELS] * WIDTH) * WIDTH
    packed, bias = layer[layout.PACKED], layer[layout.BIAS]
    num_inputs = layer[layout.INPUTS] if layer[layout.D_OUTPUTS] < 0 else layer[layout.INPUT_PANELS] * WIDTH
    rows = len(lengths)
    clear_rows(work, layer[layout.STATES], 0, whole_tiles(rows), num_panels, panel)
    if cell == LSTM:
        clear_rows(work, layer[layout.MEMORY], 0, whole_tiles(rows), num_panels, panel)
    for step in range(lengths[0]):
        while lengths[rows - 1] <= step:
            rows -= 1
        tiled = whole_tiles(rows)
        before, after = layer[layout.STATES] + step * step_size, layer[layout.STATES] + (step + 1) * step_size
        gates = layer[layout.GATES] + step * PLANES[cell] * plane
        memory, next_memory = layer[layout.MEMORY] + step * plane, layer[layout.MEMORY] + (step + 1) * plane
        depth = units + num_inputs
        if cell == GRU:
            product_biased(work, gates, before, packed, stride, bias, tiled, 2 * num_panels, depth, panel)
            of_state = packed + 2 * num_panels * stride
            product_biased(
                work, gates + 2 * plane, before, of_state, stride, bias + 2 * units, tiled, num_panels, units, panel
            )
            of_input = packed + 3 * num_panels * stride + units * WIDTH
            read = before + plane
            product_biased(
                work, gates + 3 * plane, read, of_input, stride, bias + 3 * units, tiled, num_panels, num_inputs, panel
            )
        else:
            num_products = PLANES[cell] * num_panels
            product_biased(work, gates, before, packed, stride, bias, tiled, num_products, depth, panel)
        activate(cell, work, gates, before, after, memory, next_memory, plane, rows, num_panels, panel)


@kernel
def _receive(plan, index, direction, work, step, first_new, rows, after, lengths):
    """Add to the gradient of the states after a step what comes from the layer above, or from the pooling."""
    panel, pooling, num_directions = plan[0, layout.PANEL], plan[0, layout.POOLING], plan[0, layout.NUM_DIRECTIONS]
    num_panels = plan[0, layout.UNITS] // WIDTH
    plane = num_panels * panel
    d_state, d_pooled = plan[0, layout.D_STATE], plan[0, layout.D_POOLED] + direction * plane
    pooled, beside = plan[0, layout.POOLED] + direction * plane, num_directions * plane if pooling == MEAN + MAX else 0
    is_top = index == plan[0, layout.NUM_LAYERS] - 1
    for place in range(num_panels):
        if not is_top:
            outputs = plan[1 + (index + 1) * num_directions, layout.D_OUTPUTS]
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


@kernel
def run_layer_back(plan, index, direction, work, lengths, order, mask):
    """Step back through the sequences, from the gradients of the states to those of weights and inputs."""
    cell, hidden = plan[0, layout.CELL], plan[0, layout.HIDDEN]
    units, panel = plan[0, layout.UNITS], plan[0, layout.PANEL]
    num_directions = plan[0, layout.NUM_DIRECTIONS]
    layer = plan[1 + index * num_directions + direction]
    num_panels = units // WIDTH
    step_size = (num_panels + layer[layout.INPUT_PANELS]) * panel
    plane = num_panels * panel
    stride, back_stride = (units + layer[layout.INPUT_PANELS] * WIDTH) * WIDTH, PLANES[cell] * units * WIDTH
    num_inputs = whole_tiles(
        layer[layout.INPUTS] if layer[layout.D_OUTPUTS] < 0 else layer[layout.INPUT_PANELS] * WIDTH
    )
    num_columns = units + num_inputs
    d_state, d_memory, d_below = plan[0, layout.D_STATE], plan[0, layout.D_MEMORY], plan[0, layout.D_BELOW]
    clear(work, layer[layout.D_PACKED], PLANES[cell] * num_panels * stride)
    clear(work, layer[layout.D_BIAS], PLANES[cell] * units)
    clear_rows(work, d_state, 0, whole_tiles(len(lengths)), num_panels, panel)
    clear_rows(work, d_memory, 0, whole_tiles(len(lengths)), num_panels, panel)
    rows = 0
    for step in range(lengths[0] - 1, -1, -1):
        first_new = rows
        while rows < len(lengths) and lengths[rows] > step:
            rows += 1
        tiled = whole_tiles(rows)
        before, after = layer[layout.STATES] + step * step_size, layer[layout.STATES] + (step + 1) * step_size
        gates = layer[layout.GATES] + step * PLANES[cell] * plane
        memory, next_memory = layer[layout.MEMORY] + step * plane, layer[layout.MEMORY] + (step + 1) * plane
        _receive(plan, index, direction, work, step, first_new, rows, after, lengths)
        differentiate(
            cell, work, gates, before, after, memory, next_memory, d_state, d_memory, plane, rows, num_panels, panel
        )
        num_products = PLANES[cell] * num_panels
        clear_rows(work, gates, rows, tiled, num_products, panel)
        column_sums_added(work, layer[layout.D_BIAS], gates, rows, num_products, panel)
        packed_back, d_packed = layer[layout.PACKED_BACK], layer[layout.D_PACKED]
        if cell == GRU:
            outer_added(work, d_packed, stride, before, gates, num_columns, 2 * num_panels, rows, panel)
            of_state, of_input = d_packed + 2 * num_panels * stride, d_packed + 3 * num_panels * stride
            outer_added(work, of_state, stride, before, gates + 2 * plane, units, num_panels, rows, panel)
            outer_added(
                work, of_input + units * WIDTH, stride, before + plane, gates + 3 * plane,
                num_inputs, num_panels, rows, panel,
            )  # fmt: skip
            product_added(work, d_state, gates, packed_back, back_stride, tiled, num_panels, 3 * units, panel)
        else:
            outer_added(work, d_packed, stride, before, gates, num_columns, num_products, rows, panel)
            depth = PLANES[cell] * units
            product(work, d_state, gates, packed_back, back_stride, tiled, num_panels, depth, panel)
        if index:
            of_input = packed_back + num_panels * back_stride
            product(
                work, d_below, gates, of_input, back_stride, tiled, layer[layout.INPUT_PANELS],
                PLANES[cell] * units, panel,
            )  # fmt: skip
            _hand_down(
                work, plan[1 + index * num_directions, layout.D_OUTPUTS], d_below, direction, step, rows, lengths, order,
                mask, index, num_directions, num_panels, panel, hidden,
            )  # fmt: skip


@kernel
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
