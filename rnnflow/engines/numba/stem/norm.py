"""The stem's batch norm over the valid steps of a batch, and its ReLU."""

import numpy as np

from rnnflow.classifier.stems.multi_scale import EPSILON, MOMENTUM
from rnnflow.engines.numba import layout
from rnnflow.engines.numba.products import clear
from rnnflow.engines.numba.simd import ZERO, broadcast, fma, kernel, larger, load, store
from rnnflow.engines.numba.stem.convolutions import left, num_steps, right
from rnnflow.engines.numba.target import WIDTH

MOVED = np.float32(MOMENTUM)


@kernel
def find_moments(stage, work, weights, lengths, trains):
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
        # Computed in float64 and rounded once.
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
                # Around the mean in a second pass: the difference of two large sums would lose small variances.
                summed = fma(value - mean, value - mean, summed) if is_variance else summed + value
            total = total + summed
            count += steps
        store(work, to + panel * WIDTH, total / broadcast(np.float32(count)))


@kernel
def normal_of(stage, work, row, panel, step):
    """A channel's values less its mean, over its deviation."""
    size, at = stage[layout.OUT_PANELS] * WIDTH, stage[layout.NORM] + panel * WIDTH
    z = stage[layout.Z] + row * stage[layout.Z_ROW] + panel * stage[layout.Z_PANEL] + step * WIDTH
    return (load(work, z) - load(work, at + layout.MEAN_OF * size)) * load(work, at + layout.INVERSE * size)


@kernel
def activated(stage, work, normal, panel):
    """The same, scaled, shifted and rectified."""
    size, at = stage[layout.OUT_PANELS] * WIDTH, stage[layout.NORM] + panel * WIDTH
    value = fma(normal, load(work, at + layout.GAMMA * size), load(work, at + layout.BETA * size))
    return larger(value, broadcast(ZERO))


@kernel
def norm_gradient(stage, work, row, steps, count):
    """Bring the gradient of a sequence through the norm, whose moments are those of `count` steps; zeros follow it."""
    size, taps = stage[layout.OUT_PANELS] * WIDTH, stage[layout.TAPS]
    for panel in range(stage[layout.OUT_PANELS]):
        norm = stage[layout.NORM] + panel * WIDTH
        factor = load(work, norm + layout.GAMMA * size) * load(work, norm + layout.INVERSE * size)
        share = broadcast(np.float32(count))
        d_gamma = load(work, norm + layout.D_GAMMA * size) / share
        d_beta = load(work, norm + layout.D_BETA * size) / share
        at = stage[layout.DZ] + row * stage[layout.DZ_ROW] + panel * stage[layout.DZ_PANEL] + right(stage, taps) * WIDTH
        # The mean and the deviation move with each value: what all steps have in common goes back as nothing.
        for step in range(steps):
            normal = normal_of(stage, work, row, panel, step)
            store(work, at + step * WIDTH, factor * (load(work, at + step * WIDTH) - d_beta - normal * d_gamma))
        clear(work, at + steps * WIDTH, left(stage, taps) * WIDTH)
