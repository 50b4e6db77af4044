"""The stem's convolutions, as products whose rows overlap.

The rows of a matrix are the steps of one sequence, and padding is neither computed nor read. A step of sixteen channels is
a row of sixteen numbers, so that a window of several steps is one long row that begins where its first step does. The first
stage has few channels and wide windows; its windows are written out side by side, which makes of it a convolution of one
step.
"""

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.products import clear
from rnnflow.engines.numba.simd import kernel, load, store, tile
from rnnflow.engines.numba.target import PANELS, ROWS, WIDTH

_SET, _ADD = (tile(start, is_transposed=False, num_panels=PANELS) for start in ("zero", "sum"))
_SET_ONE, _ADD_ONE = (tile(start, is_transposed=False, num_panels=1) for start in ("zero", "sum"))
_OUTER, _OUTER_ONE = (tile("sum", is_transposed=True, num_panels=num_panels) for num_panels in (PANELS, 1))


@kernel
def num_steps(stage, length):
    """How many steps a stage has of a sequence."""
    return -(-length // stage[layout.BEFORE])


@kernel
def left(stage, size):
    """How many steps of a window, or of a product, are before its own."""
    return (size - 1) // stage[layout.SIDES]


@kernel
def right(stage, size):
    """How many are after it."""
    return size - 1 - left(stage, size)


@kernel
def _column(stage, tap, channel):
    """Where the weight of a step and channel is among the rows of the packed weights."""
    if stage[layout.TAPS] == 1:
        return tap * stage[layout.STAGE_INPUTS] + channel
    return (channel // WIDTH * stage[layout.TAPS] + tap) * WIDTH + channel % WIDTH


@kernel
def pack(plan, stage, work, weights, needs_back):
    """Lay the weights of a stage out: a row for each step and channel of the window, a column for each output."""
    inputs, taps = stage[layout.STAGE_INPUTS], stage[layout.TAPS]
    depth, depth_back = stage[layout.IN_PANELS] * taps * WIDTH, stage[layout.OUT_PANELS] * taps * WIDTH
    for index in range(stage[layout.NUM_CONVS]):
        conv = plan[stage[layout.FIRST_CONV] + index]
        size = conv[layout.CONV_KERNEL]
        # Parallel convolutions are one product over the widest window; in it the narrower ones lie around the same step.
        shift = left(stage, stage[layout.KERNEL]) - left(stage, size)
        for unit in range(conv[layout.CONV_CHANNELS]):
            out = conv[layout.CONV_FIRST] + unit
            to = stage[layout.CONV_PACKED] + out // WIDTH * depth * WIDTH + out % WIDTH
            for channel in range(inputs):
                source = conv[layout.CONV_WEIGHT] + (unit * inputs + channel) * size
                for tap in range(size):
                    work[to + _column(stage, tap + shift, channel) * WIDTH] = weights[source + tap]
                    if needs_back:  # reversed: the gradient of a step comes from the windows that it lies in
                        place = (out // WIDTH * taps + taps - 1 - tap) * WIDTH + out % WIDTH
                        back = stage[layout.CONV_BACK] + channel // WIDTH * depth_back * WIDTH + channel % WIDTH
                        work[back + place * WIDTH] = weights[source + tap]
    size = stage[layout.OUT_PANELS] * WIDTH
    for channel in range(stage[layout.CHANNELS]):
        at = stage[layout.NORM_WEIGHT] + channel
        work[stage[layout.NORM] + layout.GAMMA * size + channel] = weights[at]
        work[stage[layout.NORM] + layout.BETA * size + channel] = weights[at + stage[layout.CHANNELS]]


@kernel
def unpack(plan, stage, work, gradient):
    """Bring the gradient of a stage into PyTorch's layout; running statistics have none."""
    inputs = stage[layout.STAGE_INPUTS]
    depth = stage[layout.IN_PANELS] * stage[layout.TAPS] * WIDTH
    for index in range(stage[layout.NUM_CONVS]):
        conv = plan[stage[layout.FIRST_CONV] + index]
        size = conv[layout.CONV_KERNEL]
        shift = left(stage, stage[layout.KERNEL]) - left(stage, size)
        for unit in range(conv[layout.CONV_CHANNELS]):
            out = conv[layout.CONV_FIRST] + unit
            source = stage[layout.D_CONV_PACKED] + out // WIDTH * depth * WIDTH + out % WIDTH
            for channel in range(inputs):
                to = conv[layout.CONV_WEIGHT] + (unit * inputs + channel) * size
                for tap in range(size):
                    gradient[to + tap] = work[source + _column(stage, tap + shift, channel) * WIDTH]
    size, channels = stage[layout.OUT_PANELS] * WIDTH, stage[layout.CHANNELS]
    for channel in range(channels):
        at = stage[layout.NORM_WEIGHT] + channel
        gradient[at] = work[stage[layout.NORM] + layout.D_GAMMA * size + channel]
        gradient[at + channels] = work[stage[layout.NORM] + layout.D_BETA * size + channel]
        gradient[at + 2 * channels] = 0.0
        gradient[at + 3 * channels] = 0.0


@kernel
def read_windows(stage, work, inputs, source, row, steps):
    """Write the window of each step of a sequence side by side; it sees zeros before and after the sequence."""
    num_features, kernel_size, flat = inputs.shape[2], stage[layout.KERNEL], stage[layout.FLAT]
    at = flat + left(stage, kernel_size) * num_features  # before it are zeros that nobody writes to
    for time in range(steps):
        for feature in range(num_features):
            work[at] = inputs[source, time, feature]
            at += 1
    clear(work, at, right(stage, kernel_size) * num_features + WIDTH)
    # In this one row the windows overlap, and begin at any number; products want them apart, by whole panels.
    for step in range(steps):
        to = stage[layout.IN] + row * stage[layout.IN_ROW] + step * WIDTH
        for panel in range(stage[layout.IN_PANELS]):
            window = load(work, flat + step * num_features + panel * WIDTH)
            store(work, to + panel * stage[layout.IN_PANEL], window)


@kernel
def convolve(work, c, c_panel, a, a_panel, b, steps, c_panels, a_panels, taps, adds):
    """C = windows of A @ b, or added to C; all (panels, steps, 16), and A begins where the first window does."""
    # With one step per window, all its panels are one product. With several, a panel's steps already follow each other: each
    # panel of A is a product over a long row, and the panels are added up.
    depth, stride = (a_panels * WIDTH, a_panel) if taps == 1 else (taps * WIDTH, WIDTH)
    groups = 1 if taps == 1 else a_panels
    b_stride = a_panels * taps * WIDTH * WIDTH
    whole = c_panels // PANELS * PANELS
    for group in range(groups):
        of_a, is_added = a + group * a_panel, adds or group > 0
        for index in range(0, c_panels, PANELS):
            to, of_b = c + index * c_panel, b + index * b_stride + group * depth * WIDTH
            for row in range(0, steps * WIDTH, ROWS * WIDTH):
                if index < whole and is_added:
                    _ADD(work, to + row, c_panel, of_a + row, stride, of_b, b_stride, depth, 0)
                elif index < whole:
                    _SET(work, to + row, c_panel, of_a + row, stride, of_b, b_stride, depth, 0)
                elif is_added:
                    _ADD_ONE(work, to + row, c_panel, of_a + row, stride, of_b, b_stride, depth, 0)
                else:
                    _SET_ONE(work, to + row, c_panel, of_a + row, stride, of_b, b_stride, depth, 0)


@kernel
def add_weight_gradient(stage, work, row, steps):
    """Add a sequence's share: windows of the inputsᵀ @ gradient."""
    taps, out_panels, dz_panel = stage[layout.TAPS], stage[layout.OUT_PANELS], stage[layout.DZ_PANEL]
    stride = stage[layout.IN_PANELS] * taps * WIDTH * WIDTH
    b = stage[layout.DZ] + row * stage[layout.DZ_ROW] + right(stage, taps) * WIDTH
    whole = out_panels // PANELS * PANELS
    # One place of the window after the other: shifting where A begins by a step gives the next, and nothing is copied.
    for place in range(stage[layout.IN_PANELS] * taps):
        a = (
            stage[layout.IN]
            + row * stage[layout.IN_ROW]
            + place // taps * stage[layout.IN_PANEL]
            + place % taps * WIDTH
        )
        for column in range(0, WIDTH, ROWS):
            c = stage[layout.D_CONV_PACKED] + (place * WIDTH + column) * WIDTH
            for index in range(0, whole, PANELS):
                to, of_b = c + index * stride, b + index * dz_panel
                _OUTER(work, to, stride, a + column, 0, of_b, dz_panel, steps, 0)
            for index in range(whole, out_panels):
                to, of_b = c + index * stride, b + index * dz_panel
                _OUTER_ONE(work, to, stride, a + column, 0, of_b, dz_panel, steps, 0)
