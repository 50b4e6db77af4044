"""How a batch lies in one array of scratch: the fields of the plan that `plan.py` makes and every kernel reads.

Matrices are in panels (`lanes.py`), the sequences of a batch as rows, the longest first, so that the rows at work in a step
are the first ones. For each step a row holds the state that the layer comes with, and after it what the layer reads, so
that one product serves both. Units and features are filled up with zeros to whole panels; zeros they stay, in every cell.
"""

RNN, LSTM, GRU = range(3)
MEAN, MAX = 1, 2
"""Flags of the pooling; neither is the final state."""

# The plan, an integer each: a row for the whole, then one for each layer and direction.
CELL, NUM_LAYERS, NUM_DIRECTIONS, HIDDEN, UNITS, POOLING, CLASSES, PANEL = range(8)
(
    POOLED,
    D_POOLED,
    TIES,
    LOGITS,
    HEAD,
    HEAD_BACK,
    D_HEAD,
    HEAD_BIAS,
    D_HEAD_BIAS,
    D_STATE,
    D_MEMORY,
    D_BELOW,
    HEAD_WEIGHT,
) = range(8, 21)
INPUTS, INPUT_PANELS, STATES, GATES, MEMORY, PACKED, PACKED_BACK, BIAS, D_PACKED, D_BIAS, D_OUTPUTS = range(11)
INPUT_WEIGHT, STATE_WEIGHT, INPUT_BIAS, STATE_BIAS = range(11, 15)
PLAN_WIDTH = 21

PLANES = (1, 4, 4)
"""Of gates: RNN one, LSTM input, forget, candidate, output; GRU reset, update, candidate's part of the state, of the input."""
