"""The step of the optimiser."""

import math

import numpy as np
from numba import types

from rnnflow.engines.interface import BETAS, EPSILON
from rnnflow.engines.numba.denormals import flush_denormals, restore_denormals
from rnnflow.engines.numba.simd import kernel
from rnnflow.engines.numba.target import WIDTH

_FLOATS = types.float32[::1]
BETA1, BETA2 = BETAS
CLIPPED_ADAMW = types.void(
    _FLOATS, _FLOATS, _FLOATS, _FLOATS, types.int64, types.float64, types.float64, types.float64,
    _FLOATS, types.float64[::1],
)  # fmt: skip


@kernel
def clipped_adamw(
    weights, gradient, first_moment, second_moment, step, learning_rate, max_norm, weight_decay, decaying, sums
):  # fmt: skip
    """Clip the gradient's norm and take step number `step` (from 1) of AdamW.

    `decaying` is 1 for each weight that decays and 0 for the others, or empty where all decay; `sums` is room for sixteen.
    """
    # Sixteen sums side by side, in float64 and in a fixed order: the compiler may use vectors, the bits stay the same.
    for index in range(WIDTH):
        sums[index] = 0.0
    before = flush_denormals()
    whole = len(gradient) // WIDTH * WIDTH
    for start in range(0, whole, WIDTH):
        for index in range(WIDTH):
            sums[index] += np.float64(gradient[start + index]) * np.float64(gradient[start + index])
    square = 0.0
    for index in range(WIDTH):
        square += sums[index]
    for index in range(whole, len(gradient)):
        square += np.float64(gradient[index]) * np.float64(gradient[index])
    ratio = max_norm / (math.sqrt(square) + 1e-6)
    scale = np.float32(1.0 if ratio >= 1.0 else ratio)  # NaN stays NaN
    decay = np.float32(1.0 - learning_rate * weight_decay)
    if len(decaying):
        decay = np.float32(1.0)
        share = np.float32(learning_rate * weight_decay)
        for index in range(len(weights)):
            weights[index] *= np.float32(1.0) - share * decaying[index]
    step_size = np.float32(learning_rate / (1.0 - BETA1**step))
    correction = np.float32(1.0 / math.sqrt(1.0 - BETA2**step))
    keep1, take1 = np.float32(BETA1), np.float32(1.0 - BETA1)
    keep2, take2 = np.float32(BETA2), np.float32(1.0 - BETA2)
    small = np.float32(EPSILON)
    # As PyTorch's fused kernel; the decay of the weight is applied before its step (Loshchilov and Hutter, 2019).
    for index in range(len(weights)):
        clipped = gradient[index] * scale
        first = keep1 * first_moment[index] + take1 * clipped
        second = keep2 * second_moment[index] + take2 * (clipped * clipped)
        first_moment[index] = first
        second_moment[index] = second
        weights[index] = weights[index] * decay - step_size * first / (np.sqrt(second) * correction + small)
    restore_denormals(before)
