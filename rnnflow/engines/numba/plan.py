"""Makes the plan: where everything of a batch lies in one array of scratch."""

import math
from collections.abc import Iterator

import numpy as np

from rnnflow.classifier import cells
from rnnflow.engines.numba import layout as k
from rnnflow.engines.numba.allocator import Allocator, rounded_up
from rnnflow.engines.numba.stem import plan as stem_plan
from rnnflow.engines.numba.target import ROWS, WIDTH
from rnnflow.params.models import ModelParams, MultiScaleStemParams
from rnnflow.runtime.array_types import Float32, Float64, Int64

CELLS = {"rnn": k.RNN, "lstm": k.LSTM, "gru": k.GRU}
"""The cells that there are kernels for; their gates lie as `rnnflow.classifier.cells` orders them."""
ALIGNMENT = WIDTH
"""In numbers: every size here is a multiple, so that no vector lies across two lines of the CPU's cache, 64 bytes each."""
STEPS_AT_ONCE = 32
"""Whose states are copied."""
POOLINGS = {"last": 0, "mean": k.MEAN, "max": k.MAX, "mean_max": k.MEAN + k.MAX}


def make(
    params: ModelParams, num_inputs: int, num_classes: int, batch_size: int, num_steps: int
) -> tuple[Int64[np.ndarray, "part field"], int]:
    """Return the plan for batches up to a size and length, and how many numbers of scratch it needs.

    Args:
        params: the architecture.
        num_inputs: features of a prepared step.
        num_classes: at least two.
        batch_size: sequences.
        num_steps: of the longest.
    """
    num_directions = 2 if params.bidirectional else 1
    rows = rounded_up(batch_size, ROWS)
    num_layer_rows = params.num_layers * num_directions
    scratch, weights = Allocator(), Allocator()
    stem = np.empty((0, k.PLAN_WIDTH), np.int64)
    if isinstance(params.stem, MultiScaleStemParams):
        stem = stem_plan.make(params.stem, num_inputs, batch_size, num_steps, 1 + num_layer_rows, scratch, weights)
        num_inputs, num_steps = params.stem.output_size, params.num_layer_steps(num_steps)
    plan = np.concatenate([np.zeros((1 + num_layer_rows, k.PLAN_WIDTH), np.int64), stem])
    for index, layer in enumerate(plan[1 : 1 + num_layer_rows]):
        _place_layer(layer, params, index // num_directions, num_inputs, rows, num_steps, scratch, weights)
    _place_whole(plan[0], params, num_classes, rows, scratch)
    plan[0, k.STEM] = 1 + num_layer_rows if len(stem) else 0
    plan[0, k.HEAD_WEIGHT] = weights.size  # behind those of the layers
    return plan, scratch.size


def states(
    plan: Int64[np.ndarray, "part field"],
    scratch: Float32[np.ndarray, " number"],
    params: ModelParams,
    num_steps: int,
    batch_size: int,
) -> Iterator[Float64[np.ndarray, "step batch unit"]]:
    """Yield the last layer's states after some steps at a time, as the forward pass left them, of a model in one direction.

    Args:
        plan: of the forward pass.
        scratch: the same.
        params: the architecture.
        num_steps: of the longest sequence.
        batch_size: sequences; they are in the order of that pass.
    """
    layer, panel = plan[params.num_layers], plan[0, k.PANEL]
    num_panels = plan[0, k.UNITS] // WIDTH
    step_size = (num_panels + layer[k.INPUT_PANELS]) * panel
    first = layer[k.STATES] + step_size  # behind the state before the first step
    by_step = scratch[first : first + num_steps * step_size].reshape(num_steps, -1)[:, : num_panels * panel]
    panels = by_step.reshape(num_steps, num_panels, -1, WIDTH)[:, :, :batch_size].swapaxes(1, 2)
    for start in range(0, num_steps, STEPS_AT_ONCE):
        units = (
            panels[start : start + STEPS_AT_ONCE]
            .astype(np.float64, order="C")
            .reshape(-1, batch_size, num_panels * WIDTH)
        )
        yield units[:, :, : params.hidden_size]


def head(
    plan: Int64[np.ndarray, "part field"], weights: Float64[np.ndarray, " parameter"], params: ModelParams
) -> tuple[Float64[np.ndarray, "pooled class"], Float64[np.ndarray, " class"]]:
    """Return the head's matrix and biases."""
    num_classes = plan[0, k.CLASSES]
    matrix, biases = np.split(weights[plan[0, k.HEAD_WEIGHT] :], [num_classes * params.pooled_size])
    return matrix.reshape(num_classes, -1).T, biases


def _place_layer(
    layer: Int64[np.ndarray, " field"], params: ModelParams, index: int, num_inputs: int, rows: int, num_steps: int,
    scratch: Allocator, weights: Allocator,
) -> None:  # fmt: skip
    """Fill in the row of a layer in one direction; the shapes are those of `layout.py`."""
    num_directions = 2 if params.bidirectional else 1
    units = rounded_up(params.hidden_size, WIDTH)
    planes = k.PLANES[CELLS[params.cell]]
    inputs = params.output_size if index else num_inputs
    # Each direction of the layer below is rounded up by itself, so that its panels can be copied whole.
    padded_inputs = num_directions * units if index else rounded_up(num_inputs, WIDTH)
    columns = units + padded_inputs
    layer[k.INPUTS], layer[k.INPUT_PANELS] = inputs, padded_inputs // WIDTH
    layer[k.STATES] = scratch.take((num_steps + 1) * columns * rows)
    layer[k.GATES] = scratch.take(num_steps * planes * units * rows)
    layer[k.CELL_STATES] = scratch.take((num_steps + 1) * units * rows) if params.cell == "lstm" else 0
    layer[k.PACKED] = scratch.take(planes * units * columns)
    layer[k.PACKED_BACK] = scratch.take(planes * units * columns)
    layer[k.D_PACKED] = scratch.take(planes * units * columns)
    layer[k.BIAS] = scratch.take(planes * units)
    layer[k.D_BIAS] = scratch.take(planes * units)
    layer[k.D_OUTPUTS] = scratch.take(num_steps * num_directions * units * rows) if index else -1
    shapes = cells.load(params.cell).shapes(inputs, params.hidden_size).values()
    fields = (k.INPUT_WEIGHT, k.STATE_WEIGHT, k.INPUT_BIAS, k.STATE_BIAS)  # in PyTorch's order
    for field, shape in zip(fields, shapes, strict=True):
        layer[field] = weights.take(math.prod(shape))


def _place_whole(
    whole: Int64[np.ndarray, " field"], params: ModelParams, num_classes: int, rows: int, scratch: Allocator
) -> None:
    """Fill in row 0; the shapes are those of `layout.py`."""
    num_directions = 2 if params.bidirectional else 1
    skip_size = params.stem.skip_size // 2 if params.stem else 0
    num_pooled = (params.pooled_size - 2 * skip_size) // params.hidden_size
    units, classes = rounded_up(params.hidden_size, WIDTH), rounded_up(num_classes, WIDTH)
    matrix, pooled = units * rows, num_pooled * units + 2 * rounded_up(skip_size, WIDTH)
    whole[k.CELL], whole[k.POOLING] = CELLS[params.cell], POOLINGS[params.pooling]
    whole[k.NUM_LAYERS], whole[k.NUM_DIRECTIONS] = params.num_layers, num_directions
    whole[k.HIDDEN], whole[k.UNITS] = params.hidden_size, units
    whole[k.CLASSES], whole[k.PANEL] = num_classes, rows * WIDTH
    whole[k.POOLED], whole[k.D_POOLED] = scratch.take(pooled * rows), scratch.take(pooled * rows)
    whole[k.SKIP_SIZE], whole[k.SKIP_TIES] = skip_size, scratch.take(rounded_up(skip_size, WIDTH) * rows)
    whole[k.SKIP], whole[k.D_SKIP] = whole[k.POOLED] + num_pooled * matrix, whole[k.D_POOLED] + num_pooled * matrix
    whole[k.TIES] = scratch.take(num_directions * matrix)
    whole[k.LOGITS] = scratch.take(classes * rows)
    for field in (k.HEAD, k.HEAD_BACK, k.D_HEAD):
        whole[field] = scratch.take(classes * pooled)
    whole[k.HEAD_BIAS], whole[k.D_HEAD_BIAS] = scratch.take(classes), scratch.take(classes)
    whole[k.D_STATE], whole[k.D_CELL_STATE] = scratch.take(matrix), scratch.take(matrix)
    whole[k.D_BELOW] = scratch.take(max(num_directions * units, rounded_up(skip_size, WIDTH)) * rows)
