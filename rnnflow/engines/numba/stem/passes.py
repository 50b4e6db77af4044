"""The way through the stem, and back: two compiled calls, before and after that of the layers.

They are calls of their own, so that a classifier without a stem does not wait until its code is compiled.
"""

import numpy as np
from numba import types

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.denormals import flush_denormals, restore_denormals
from rnnflow.engines.numba.layout import NUM_STAGES
from rnnflow.engines.numba.products import clear
from rnnflow.engines.numba.simd import ONE, ZERO, broadcast, fma, kernel, larger, load, store, where_equal
from rnnflow.engines.numba.stem.convolutions import (
    add_weight_gradient,
    convolve,
    left,
    num_steps,
    pack,
    read_windows,
    right,
    unpack,
)
from rnnflow.engines.numba.stem.norm import activated, find_moments, norm_gradient, normal_of
from rnnflow.engines.numba.target import WIDTH

_PLAN, _FLOATS, _INTS = types.int64[:, ::1], types.float32[::1], types.int64[::1]
STEM_FORWARD = types.void(_PLAN, _FLOATS, _FLOATS, types.float32[:, :, ::1], _INTS, _INTS, types.int64)
STEM_BACKWARD = types.void(_PLAN, _FLOATS, _FLOATS, _INTS)


@kernel
def stem_forward(plan, work, weights, inputs, order, lengths, trains):
    """Fill what the layers read, and what the head reads beside them; in training, move the running statistics.

    Args:
        plan: where everything is in `work`.
        work: scratch.
        weights: all parameters, the running statistics among them.
        inputs: (batch, time, feature), what stands in the padding is not read.
        order: the rows of `inputs`, longest first.
        lengths: of the same rows, in steps of `inputs`, in that order.
        trains: whether the moments are those of the batch.
    """
    before = flush_denormals()
    _forward(plan, work, weights, inputs, order, lengths, trains)
    restore_denormals(before)


@kernel
def stem_backward(plan, work, gradient, lengths):
    """From the gradients of what the layers and the head read, which are in `work`, to those of the weights."""
    before = flush_denormals()
    _backward(plan, work, gradient, lengths)
    restore_denormals(before)


@kernel
def _forward(plan, work, weights, inputs, order, lengths, trains):
    first = plan[0, layout.STEM]
    for index in range(NUM_STAGES):
        stage, above = plan[first + index], plan[first + index + 1]
        pack(plan, stage, work, weights, trains and index > 0)
        for row in range(len(lengths)):
            steps = num_steps(stage, lengths[row])
            if index == 0:
                read_windows(stage, work, inputs, order[row], row, steps)
            convolve(
                work, stage[layout.Z] + row * stage[layout.Z_ROW], stage[layout.Z_PANEL],
                stage[layout.IN] + row * stage[layout.IN_ROW], stage[layout.IN_PANEL], stage[layout.CONV_PACKED],
                steps, stage[layout.OUT_PANELS], stage[layout.IN_PANELS], stage[layout.TAPS], False,
            )  # fmt: skip
        find_moments(stage, work, weights, lengths, trains)
        for row in range(len(lengths)):
            _block_means(stage, above, work, row, num_steps(stage, lengths[row]), index == NUM_STAGES - 1)
    _pool_skip(plan, plan[first + NUM_STAGES - 1], work, lengths)


@kernel
def _backward(plan, work, gradient, lengths):
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
            norm_gradient(stage, work, row, steps, total)
            add_weight_gradient(stage, work, row, steps)
            if index:
                convolve(
                    work, stage[layout.D_IN] + row * stage[layout.D_IN_ROW], stage[layout.Z_PANEL],
                    stage[layout.DZ] + row * stage[layout.DZ_ROW], stage[layout.DZ_PANEL], stage[layout.CONV_BACK],
                    steps, stage[layout.IN_PANELS], stage[layout.OUT_PANELS], stage[layout.TAPS], index == NUM_STAGES - 1,
                )  # fmt: skip
        unpack(plan, stage, work, gradient)


@kernel
def _output(stage, work, row, panel, step, is_residual):
    """What a stage gives for a step."""
    value = activated(stage, work, normal_of(stage, work, row, panel, step), panel)
    if is_residual:
        at = stage[layout.IN] + row * stage[layout.IN_ROW] + panel * stage[layout.IN_PANEL]
        value = value + load(work, at + (step + left(stage, stage[layout.TAPS])) * WIDTH)
    return value


@kernel
def _block_means(stage, above, work, row, steps, is_residual):
    """Average blocks of steps to where the next stage, or the layers, read them; zeros follow the last."""
    block, taps = stage[layout.BLOCK], above[layout.TAPS]
    num_blocks = -(-steps // block)
    for panel in range(stage[layout.OUT_PANELS]):
        to = above[layout.IN] + row * above[layout.IN_ROW] + panel * above[layout.IN_PANEL]
        to += left(above, taps) * WIDTH
        for index in range(num_blocks):
            stop = min(steps, (index + 1) * block)
            total = broadcast(ZERO)
            for step in range(index * block, stop):
                total = total + _output(stage, work, row, panel, step, is_residual)
            store(work, to + index * WIDTH, total / broadcast(np.float32(stop - index * block)))
        clear(work, to + num_blocks * WIDTH, right(above, taps) * WIDTH)


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
        to += right(stage, stage[layout.TAPS]) * WIDTH
        past = stage[layout.D_IN] + row * stage[layout.D_IN_ROW] + panel * stage[layout.Z_PANEL]
        norm = stage[layout.NORM] + panel * WIDTH
        d_gamma, d_beta = zero, zero
        skip = panel * panel_size + row * WIDTH
        for step in range(steps):
            index = step // block
            # What comes back to the mean of a block is shared by its steps, of which the last block may have fewer.
            count = min(steps, (index + 1) * block) - index * block
            d_output = load(work, source + index * WIDTH) / broadcast(np.float32(count))
            normal = normal_of(stage, work, row, panel, step)
            value = activated(stage, work, normal, panel)
            if is_residual:  # the head also read the mean and the maximum of these outputs over all steps
                maxima = stage[layout.OUT_PANELS] * panel_size + skip
                d_mean = load(work, plan[0, layout.D_SKIP] + skip) / broadcast(np.float32(steps))
                d_max = load(work, plan[0, layout.D_SKIP] + maxima) / load(work, plan[0, layout.SKIP_TIES] + skip)
                output = _output(stage, work, row, panel, step, True)
                largest = load(work, plan[0, layout.SKIP] + maxima)
                d_output = d_output + d_mean + where_equal(output, largest, d_max, zero)
                store(work, past + step * WIDTH, d_output)  # the way past the convolution, which adds to it
            d_value = where_equal(value, zero, zero, d_output)
            store(work, to + step * WIDTH, d_value)
            d_gamma = fma(d_value, normal, d_gamma)
            d_beta = d_beta + d_value
        at = norm + layout.D_GAMMA * size
        store(work, at, load(work, at) + d_gamma)
        at = norm + layout.D_BETA * size
        store(work, at, load(work, at) + d_beta)
