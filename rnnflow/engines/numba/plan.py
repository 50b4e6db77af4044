"""Where everything of a batch lies in one array of scratch: what the kernels call the plan."""

import numpy as np
from jaxtyping import Int64

from rnnflow.engines.numba import layout as k
from rnnflow.engines.numba.lanes import ROWS, WIDTH
from rnnflow.parameters import NUM_GATES
from rnnflow.params import ModelParams

CELLS = {"rnn": k.RNN, "lstm": k.LSTM, "gru": k.GRU}
POOLINGS = {"last": 0, "mean": k.MEAN, "max": k.MAX, "mean_max": k.MEAN + k.MAX}


def make(
    params: ModelParams, num_inputs: int, num_classes: int, batch_size: int, num_steps: int
) -> tuple[Int64[np.ndarray, "part field"], int]:
    """Return the plan for batches up to a size and length, and how many numbers of scratch it needs.

    Args:
        params: the architecture, without stem.
        num_inputs: features of a prepared step.
        num_classes: at least two.
        batch_size: sequences.
        num_steps: of the longest.
    """
    units = _whole_panels(params.hidden_size)
    num_directions = 2 if params.bidirectional else 1
    panel = -(-batch_size // ROWS) * ROWS * WIDTH
    plane = units // WIDTH * panel
    planes = k.PLANES[CELLS[params.cell]]
    sides = params.pooled_size // params.hidden_size
    classes = _whole_panels(num_classes)
    gates = NUM_GATES[params.cell] * params.hidden_size
    plan = np.zeros((1 + params.num_layers * num_directions, k.PLAN_WIDTH), np.int64)
    scratch, weights = _Places(), _Places()

    for index, layer in enumerate(plan[1:]):
        is_first = index < num_directions
        inputs = num_inputs if is_first else params.output_size
        padded = _whole_panels(num_inputs) if is_first else num_directions * units
        columns = units + padded
        layer[k.INPUTS], layer[k.INPUT_PANELS] = inputs, padded // WIDTH
        layer[k.STATES] = scratch.take((num_steps + 1) * columns // WIDTH * panel)
        layer[k.GATES] = scratch.take(num_steps * planes * plane)
        layer[k.MEMORY] = scratch.take((num_steps + 1) * plane) if params.cell == "lstm" else 0
        layer[k.PACKED] = scratch.take(planes * units * columns)
        layer[k.PACKED_BACK] = scratch.take(planes * units * columns)
        layer[k.D_PACKED] = scratch.take(planes * units * columns)
        layer[k.BIAS] = scratch.take(planes * units)
        layer[k.D_BIAS] = scratch.take(planes * units)
        layer[k.D_OUTPUTS] = -1 if is_first else scratch.take(num_steps * num_directions * plane)
        layer[k.INPUT_WEIGHT] = weights.take(gates * inputs)
        layer[k.STATE_WEIGHT] = weights.take(gates * params.hidden_size)
        layer[k.INPUT_BIAS] = weights.take(gates)
        layer[k.STATE_BIAS] = weights.take(gates)

    whole = plan[0]
    whole[k.CELL], whole[k.POOLING] = CELLS[params.cell], POOLINGS[params.pooling]
    whole[k.NUM_LAYERS], whole[k.NUM_DIRECTIONS] = params.num_layers, num_directions
    whole[k.HIDDEN], whole[k.UNITS], whole[k.CLASSES], whole[k.PANEL] = params.hidden_size, units, num_classes, panel
    whole[k.POOLED], whole[k.D_POOLED] = scratch.take(sides * plane), scratch.take(sides * plane)
    whole[k.TIES] = scratch.take(num_directions * plane)
    whole[k.LOGITS] = scratch.take(classes // WIDTH * panel)
    for field in (k.HEAD, k.HEAD_BACK, k.D_HEAD):
        whole[field] = scratch.take(classes * sides * units)
    whole[k.HEAD_BIAS], whole[k.D_HEAD_BIAS] = scratch.take(classes), scratch.take(classes)
    whole[k.D_STATE], whole[k.D_MEMORY] = scratch.take(plane), scratch.take(plane)
    whole[k.D_BELOW] = scratch.take(num_directions * plane)
    whole[k.HEAD_WEIGHT] = weights.taken
    return plan, scratch.taken


def _whole_panels(size: int) -> int:
    return -(-size // WIDTH) * WIDTH


class _Places:
    """Hands out one stretch after another."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, size: int) -> int:
        start = self.taken
        self.taken += size
        return start
