"""Makes the rows of the plan for a multi-scale stem: one row per stage, one for what the layers read, one for each convolution."""

import math

import numpy as np

from rnnflow.classifier.stems import multi_scale
from rnnflow.engines.numba import layout as k
from rnnflow.engines.numba.allocator import Allocator, rounded_up
from rnnflow.engines.numba.target import ROWS, WIDTH
from rnnflow.params.models import MultiScaleStemParams
from rnnflow.runtime.array_types import Int64


def make(
    params: MultiScaleStemParams, num_inputs: int, batch_size: int, num_steps: int, first_row: int,
    scratch: Allocator, weights: Allocator,
) -> Int64[np.ndarray, "part field"]:  # fmt: skip
    """Return the rows for batches up to a size and length; the shapes are those of `layout.py`.

    Args:
        params: the stem.
        num_inputs: features of a prepared step.
        batch_size: sequences.
        num_steps: of the longest.
        first_row: where these rows begin in the plan.
        scratch: hands out places in the scratch.
        weights: hands out places among the parameters.
    """
    shapes = multi_scale.MultiScale(params, num_inputs).shapes()
    kernels = [shape for shape in shapes.values() if len(shape) == 3]
    stages = [kernels[:-2], kernels[-2:-1], kernels[-1:]]
    rows = np.zeros((len(stages) + 1 + len(kernels), k.PLAN_WIDTH), np.int64)
    averaged, conv = 1, len(stages) + 1
    rows[:conv, k.SIDES] = 1 if params.causal else 2
    for index, (convolutions, block) in enumerate(zip(stages, params.block_sizes, strict=True)):
        stage = rows[index]
        stage[k.BEFORE], stage[k.BLOCK], stage[k.FIRST_CONV] = averaged, block, first_row + conv
        stage[k.NUM_CONVS] = len(convolutions)
        for channels, inputs, size in convolutions:
            rows[conv, : k.CONV_FIRST + 1] = weights.take(channels * inputs * size), size, channels, stage[k.CHANNELS]
            stage[k.CHANNELS] += channels
            stage[k.STAGE_INPUTS], stage[k.KERNEL] = inputs, max(size, stage[k.KERNEL])
            conv += 1
        _place_stage(stage, batch_size, -(-num_steps // averaged), index == 0, scratch)
        averaged *= block
    layers = rows[len(stages)]
    layers[k.STAGE_INPUTS], layers[k.TAPS], layers[k.BEFORE] = params.output_size, 1, averaged
    _place_inputs(
        layers, rounded_up(params.output_size, WIDTH) // WIDTH, batch_size, -(-num_steps // averaged), scratch
    )
    for stage in rows[: len(stages)]:
        stage[k.NORM_WEIGHT] = weights.take(4 * int(stage[k.CHANNELS]))
    return rows


def _place_stage(
    stage: Int64[np.ndarray, " field"], batch_size: int, num_steps: int, is_first: bool, scratch: Allocator
) -> None:
    kernel, inputs = int(stage[k.KERNEL]), int(stage[k.STAGE_INPUTS])
    if is_first:  # its windows are written out
        stage[k.FLAT] = scratch.take(rounded_up((num_steps + kernel) * inputs + 2 * WIDTH, WIDTH))
        stage[k.TAPS], inputs = 1, inputs * kernel
    else:
        stage[k.TAPS] = kernel
    out_panels = rounded_up(int(stage[k.CHANNELS]), WIDTH) // WIDTH
    stage[k.OUT_PANELS] = out_panels
    _place_inputs(stage, rounded_up(inputs, WIDTH) // WIDTH, batch_size, num_steps, scratch)
    stage[k.Z_ROW] = out_panels * stage[k.Z_PANEL]
    stage[k.Z] = scratch.take(batch_size * int(stage[k.Z_ROW]))
    stage[k.DZ_PANEL], stage[k.DZ_ROW] = stage[k.IN_PANEL], out_panels * stage[k.IN_PANEL]
    stage[k.DZ] = scratch.take(batch_size * int(stage[k.DZ_ROW]))
    size = math.prod(map(int, (stage[k.IN_PANELS], stage[k.TAPS], out_panels))) * WIDTH * WIDTH
    for field in (k.CONV_PACKED, k.CONV_BACK, k.D_CONV_PACKED):
        stage[field] = scratch.take(size)
    stage[k.NORM] = scratch.take(6 * out_panels * WIDTH)


def _place_inputs(
    stage: Int64[np.ndarray, " field"], panels: int, batch_size: int, num_steps: int, scratch: Allocator
) -> None:
    """What a stage reads, and its gradient. Products work on whole tiles of steps, and read as far."""
    tiled = rounded_up(num_steps, ROWS)
    stage[k.IN_PANELS], stage[k.Z_PANEL] = panels, tiled * WIDTH
    stage[k.IN_PANEL] = (tiled + int(stage[k.TAPS])) * WIDTH
    stage[k.IN_ROW], stage[k.D_IN_ROW] = panels * stage[k.IN_PANEL], panels * stage[k.Z_PANEL]
    stage[k.IN] = scratch.take(batch_size * int(stage[k.IN_ROW]))
    stage[k.D_IN] = scratch.take(batch_size * int(stage[k.D_IN_ROW]))
