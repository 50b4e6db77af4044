"""The multi-scale stem: convolutions as matrix products, batch norm over valid steps, block means; and all of it backwards.

Here the rows of a matrix are the steps of one sequence, and padding is neither computed nor read. A step of sixteen channels
is a row of sixteen numbers, so that a window of several steps is one long row that begins where its first step does: a
convolution is a product whose rows overlap. The first stage has few channels and wide windows; its windows are written out
side by side, which makes of it a convolution of one step.
"""

import numpy as np

from rnnflow.classifier.stems.multi_scale import EPSILON, MOMENTUM
from rnnflow.engines.numba import layout
from rnnflow.engines.numba.products import clear
from rnnflow.engines.numba.simd import (
    ONE,
    PANELS,
    ROWS,
    WIDTH,
    ZERO,
    broadcast,
    fma,
    kernel,
    larger,
    load,
    store,
    tile,
    where_equal,
)  # fmt: skip

NUM_STAGES = 3
MOVED = np.float32(MOMENTUM)
_SET, _ADD = (tile(start, is_transposed=False, num_panels=PANELS) for start in ("zero", "sum"))
_SET_ONE, _ADD_ONE = (tile(start, is_transposed=False, num_panels=1) for start in ("zero", "sum"))
_OUTER, _OUTER_ONE = (tile("sum", is_transposed=True, num_panels=num_panels) for num_panels in (PANELS, 1))


@kernel
def stem_forward(plan, work, weights, inputs, order, lengths, trains):
    """Fill what the layers read, and what the head reads beside them; in training, move the running statistics."""
    first = plan[0, layout.STEM]
    for index in range(NUM_STAGES):
        stage, above = plan[first + index], plan[first + index + 1]
        _pack(plan, stage, work, weights, trains and index > 0)
        for row in range(len(lengths)):
            steps = num_steps(stage, lengths[row])
            if index == 0:
                _read_windows(stage, work, inputs, order[row], row, steps)
            _convolve(
                work, stage[layout.Z] + row * stage[layout.Z_ROW], stage[layout.Z_PANEL],
                stage[layout.IN] + row * stage[layout.IN_ROW], stage[layout.IN_PANEL], stage[layout.CONV_PACKED],
                steps, stage[layout.OUT_PANELS], stage[layout.IN_PANELS], stage[layout.TAPS], False,
            )  # fmt: skip
        _find_moments(stage, work, weights, lengths, trains)
        for row in range(len(lengths)):
            _block_means(stage, above, work, row, num_steps(stage, lengths[row]), index == NUM_STAGES - 1)
    _pool_skip(plan, plan[first + NUM_STAGES - 1], work, lengths)


@kernel
def stem_backward(plan, work, gradient, lengths):
    """From the gradients of what the layers and the head read to those of the weights."""
    first = plan[0, layout.STEM]
    for index in range(NUM_STAGES - 1, -1, -1):
        stage, above = plan[first + index], plan[first + index + 1]
        depth = stage[layout.IN_PANELS] * stage[layout.TAPS] * WIDTH
        size = stage[layout.OUT_PANELS] * WIDTH
        clear(work, stage[layout.D_CONV_PACKED], size * depth)
        clear(work, stage[layout.NORM] + layout.D_GAMMA * size, 2 * size)
        for row in range(len(lengths)):
            _output_gradient(plan, stage, above, work, row, lengths[row], index == NUM_STAGES - 1)
        total = 0
        for length in lengths:
            total += num_steps(stage, length)
        for row in range(len(lengths)):
            steps = num_steps(stage, lengths[row])
            _norm_gradient(stage, work, row, steps, total)
            _add_weight_gradient(stage, work, row, steps)
            if index:
                _convolve(
                    work, stage[layout.D_IN] + row * stage[layout.D_IN_ROW], stage[layout.Z_PANEL],
                    stage[layout.DZ] + row * stage[layout.DZ_ROW], stage[layout.DZ_PANEL], stage[layout.CONV_BACK],
                    steps, stage[layout.IN_PANELS], stage[layout.OUT_PANELS], stage[layout.TAPS], index == NUM_STAGES - 1,
                )  # fmt: skip
        _unpack(plan, stage, work, gradient)


@kernel
def num_steps(stage, length):
    """How many steps a stage has of a sequence."""
    return -(-length // stage[layout.BEFORE])


@kernel
def _column(stage, tap, channel):
    """Where the weight of a step and channel is among the rows of the packed weights."""
    if stage[layout.TAPS] == 1:
        return tap * stage[layout.STAGE_INPUTS] + channel
    return (channel // WIDTH * stage[layout.TAPS] + tap) * WIDTH + channel % WIDTH


@kernel
def _pack(plan, stage, work, weights, needs_back):
    """Lay the weights of a stage out: a row for each step and channel of the window, a column for each output."""
    inputs, taps = stage[layout.STAGE_INPUTS], stage[layout.TAPS]
    depth, depth_back = stage[layout.IN_PANELS] * taps * WIDTH, stage[layout.OUT_PANELS] * taps * WIDTH
    for index in range(stage[layout.NUM_CONVS]):
        conv = plan[stage[layout.FIRST_CONV] + index]
        size = conv[layout.CONV_KERNEL]
        shift = (stage[layout.KERNEL] - size) // 2
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
def _unpack(plan, stage, work, gradient):
    """Bring the gradient of a stage into PyTorch's layout; running statistics have none."""
    inputs = stage[layout.STAGE_INPUTS]
    depth = stage[layout.IN_PANELS] * stage[layout.TAPS] * WIDTH
    for index in range(stage[layout.NUM_CONVS]):
        conv = plan[stage[layout.FIRST_CONV] + index]
        size = conv[layout.CONV_KERNEL]
        shift = (stage[layout.KERNEL] - size) // 2
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
def _read_windows(stage, work, inputs, source, row, steps):
    """Write the window around each step of a sequence side by side; it sees zeros before and after the sequence."""
    num_features, half, flat = inputs.shape[2], stage[layout.KERNEL] // 2, stage[layout.FLAT]
    at = flat + half * num_features  # before it are zeros that nobody writes to
    for time in range(steps):
        for feature in range(num_features):
            work[at] = inputs[source, time, feature]
            at += 1
    clear(work, at, half * num_features + WIDTH)
    for step in range(steps):
        to = stage[layout.IN] + row * stage[layout.IN_ROW] + step * WIDTH
        for panel in range(stage[layout.IN_PANELS]):
            window = load(work, flat + step * num_features + panel * WIDTH)
            store(work, to + panel * stage[layout.IN_PANEL], window)


@kernel
def _convolve(work, c, c_panel, a, a_panel, b, steps, c_panels, a_panels, taps, adds):
    """C = windows of A @ b, or added to C; all (panels, steps, 16), and A begins half a window before its first step."""
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
def _add_weight_gradient(stage, work, row, steps):
    """Add a sequence's share: windows of the inputsᵀ @ gradient."""
    taps, out_panels, dz_panel = stage[layout.TAPS], stage[layout.OUT_PANELS], stage[layout.DZ_PANEL]
    stride = stage[layout.IN_PANELS] * taps * WIDTH * WIDTH
    b = stage[layout.DZ] + row * stage[layout.DZ_ROW] + taps // 2 * WIDTH
    whole = out_panels // PANELS * PANELS
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


@kernel
def _find_moments(stage, work, weights, lengths, trains):
    """Set mean and inverse deviation of each channel: of the batch, which the running ones then follow, or those."""
    channels, size, norm = stage[layout.CHANNELS], stage[layout.OUT_PANELS] * WIDTH, stage[layout.NORM]
    running = stage[layout.NORM_WEIGHT] + 2 * channels
    mean, inverse = norm + layout.MEAN_OF * size, norm + layout.INVERSE * size
    if trains:
        _add_moments(stage, work, lengths, mean, False)
        _add_moments(stage, work, lengths, inverse, True)
    for channel in range(channels):
        if trains:
            old, of_old = weights[running + channel], weights[running + channels + channel]
            weights[running + channel] = old + MOVED * (work[mean + channel] - old)
            weights[running + channels + channel] = of_old + MOVED * (work[inverse + channel] - of_old)
        else:
            work[mean + channel] = weights[running + channel]
            work[inverse + channel] = weights[running + channels + channel]
        work[inverse + channel] = np.float32(1.0 / np.sqrt(np.float64(work[inverse + channel]) + EPSILON))


@kernel
def _add_moments(stage, work, lengths, to, is_variance):
    """Set the mean over all valid steps, or the variance around it; sums of the sequences first, then of these."""
    size = stage[layout.OUT_PANELS] * WIDTH
    for panel in range(stage[layout.OUT_PANELS]):
        mean = load(work, stage[layout.NORM] + layout.MEAN_OF * size + panel * WIDTH)
        total, count = broadcast(ZERO), 0
        for row in range(len(lengths)):
            steps = num_steps(stage, lengths[row])
            at = stage[layout.Z] + row * stage[layout.Z_ROW] + panel * stage[layout.Z_PANEL]
            summed = broadcast(ZERO)
            for step in range(steps):
                value = load(work, at + step * WIDTH)
                summed = fma(value - mean, value - mean, summed) if is_variance else summed + value
            total = total + summed
            count += steps
        store(work, to + panel * WIDTH, total / broadcast(np.float32(count)))


@kernel
def _normal(stage, work, row, panel, step):
    """A channel's values less its mean, over its deviation."""
    size, at = stage[layout.OUT_PANELS] * WIDTH, stage[layout.NORM] + panel * WIDTH
    z = stage[layout.Z] + row * stage[layout.Z_ROW] + panel * stage[layout.Z_PANEL] + step * WIDTH
    return (load(work, z) - load(work, at + layout.MEAN_OF * size)) * load(work, at + layout.INVERSE * size)


@kernel
def _activated(stage, work, normal, panel):
    """The same, scaled, shifted and rectified."""
    size, at = stage[layout.OUT_PANELS] * WIDTH, stage[layout.NORM] + panel * WIDTH
    value = fma(normal, load(work, at + layout.GAMMA * size), load(work, at + layout.BETA * size))
    return larger(value, broadcast(ZERO))


@kernel
def _output(stage, work, row, panel, step, is_residual):
    """What a stage gives for a step."""
    value = _activated(stage, work, _normal(stage, work, row, panel, step), panel)
    if is_residual:
        at = stage[layout.IN] + row * stage[layout.IN_ROW] + panel * stage[layout.IN_PANEL]
        value = value + load(work, at + (step + stage[layout.TAPS] // 2) * WIDTH)
    return value


@kernel
def _block_means(stage, above, work, row, steps, is_residual):
    """Average blocks of steps to where the next stage, or the layers, read them; zeros follow the last."""
    block, half = stage[layout.BLOCK], above[layout.TAPS] // 2
    num_blocks = -(-steps // block)
    for panel in range(stage[layout.OUT_PANELS]):
        to = above[layout.IN] + row * above[layout.IN_ROW] + panel * above[layout.IN_PANEL] + half * WIDTH
        for index in range(num_blocks):
            stop = min(steps, (index + 1) * block)
            total = broadcast(ZERO)
            for step in range(index * block, stop):
                total = total + _output(stage, work, row, panel, step, is_residual)
            store(work, to + index * WIDTH, total / broadcast(np.float32(stop - index * block)))
        clear(work, to + num_blocks * WIDTH, half * WIDTH)


@kernel
def _pool_skip(plan, stage, work, lengths):
    """Mean and maximum of the last stage over time, for the head."""
    panels, panel_size = stage[layout.OUT_PANELS], plan[0, layout.PANEL]
    for row in range(len(lengths)):
        steps = num_steps(stage, lengths[row])
        for panel in range(panels):
            total = largest = _output(stage, work, row, panel, 0, True)
            ties = broadcast(ONE)
            for step in range(1, steps):
                value = _output(stage, work, row, panel, step, True)
                total = total + value
                now = larger(largest, value)  # equal ones share the gradient, as in `pool`
                ties = where_equal(now, largest, ties, broadcast(ZERO))
                ties = ties + where_equal(now, value, broadcast(ONE), broadcast(ZERO))
                largest = now
            at = panel * panel_size + row * WIDTH
            store(work, plan[0, layout.SKIP] + at, total / broadcast(np.float32(steps)))
            store(work, plan[0, layout.SKIP] + panels * panel_size + at, largest)
            store(work, plan[0, layout.SKIP_TIES] + at, ties)


@kernel
def _output_gradient(plan, stage, above, work, row, length, is_residual):
    """Bring the gradient of a sequence's outputs to before the ReLU, and add up those of the norm's weights."""
    steps, block, panel_size = num_steps(stage, length), stage[layout.BLOCK], plan[0, layout.PANEL]
    size = stage[layout.OUT_PANELS] * WIDTH
    zero = broadcast(ZERO)
    for panel in range(stage[layout.OUT_PANELS]):
        source = above[layout.D_IN] + row * above[layout.D_IN_ROW] + panel * above[layout.Z_PANEL]
        to = stage[layout.DZ] + row * stage[layout.DZ_ROW] + panel * stage[layout.DZ_PANEL]
        to += stage[layout.TAPS] // 2 * WIDTH
        past = stage[layout.D_IN] + row * stage[layout.D_IN_ROW] + panel * stage[layout.Z_PANEL]
        norm = stage[layout.NORM] + panel * WIDTH
        d_gamma, d_beta = zero, zero
        skip = panel * panel_size + row * WIDTH
        for step in range(steps):
            index = step // block
            count = min(steps, (index + 1) * block) - index * block
            d_output = load(work, source + index * WIDTH) / broadcast(np.float32(count))
            normal = _normal(stage, work, row, panel, step)
            value = _activated(stage, work, normal, panel)
            if is_residual:
                maxima = stage[layout.OUT_PANELS] * panel_size + skip
                d_mean = load(work, plan[0, layout.D_SKIP] + skip) / broadcast(np.float32(steps))
                d_max = load(work, plan[0, layout.D_SKIP] + maxima) / load(work, plan[0, layout.SKIP_TIES] + skip)
                output = _output(stage, work, row, panel, step, True)
                largest = load(work, plan[0, layout.SKIP] + maxima)
                d_output = d_output + d_mean + where_equal(output, largest, d_max, zero)
                store(work, past + step * WIDTH, d_output)
            d_value = where_equal(value, zero, zero, d_output)
            store(work, to + step * WIDTH, d_value)
            d_gamma = fma(d_value, normal, d_gamma)
            d_beta = d_beta + d_value
        at = norm + layout.D_GAMMA * size
        store(work, at, load(work, at) + d_gamma)
        at = norm + layout.D_BETA * size
        store(work, at, load(work, at) + d_beta)


@kernel
def _norm_gradient(stage, work, row, steps, count):
    """Bring the gradient of a sequence through the norm, whose moments are those of `count` steps; zeros follow it."""
    size, half = stage[layout.OUT_PANELS] * WIDTH, stage[layout.TAPS] // 2
    for panel in range(stage[layout.OUT_PANELS]):
        norm = stage[layout.NORM] + panel * WIDTH
        factor = load(work, norm + layout.GAMMA * size) * load(work, norm + layout.INVERSE * size)
        share = broadcast(np.float32(count))
        d_gamma = load(work, norm + layout.D_GAMMA * size) / share
        d_beta = load(work, norm + layout.D_BETA * size) / share
        at = stage[layout.DZ] + row * stage[layout.DZ_ROW] + panel * stage[layout.DZ_PANEL] + half * WIDTH
        for step in range(steps):
            normal = _normal(stage, work, row, panel, step)
            store(work, at + step * WIDTH, factor * (load(work, at + step * WIDTH) - d_beta - normal * d_gamma))
        clear(work, at + steps * WIDTH, half * WIDTH)
