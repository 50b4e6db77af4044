"""The fields of the plan, which says where in the scratch array everything of a batch lies; README.md draws it.

`plan.py` fills them in, every kernel reads them. Numba compiles such module constants into the code, while it could not
index a plan of names. Shapes are in numbers of float32; a matrix of `rows` sequences is in panels of sixteen columns,
`(panels, rows, 16)`, where `panels` belong to the units and `inputs` to what the layer reads (both rounded up).
"""

RNN, LSTM, GRU = range(3)
MEAN, MAX = 1, 2
"""Flags of the pooling; neither is the final state."""

# Row 0 of the plan: sizes of the whole classifier, then the places of what there is once.
(
    CELL,
    NUM_LAYERS,
    NUM_DIRECTIONS,
    HIDDEN,  # units, as the architecture has it
    UNITS,  # the same, rounded up to whole panels: 16 * panels
    POOLING,
    CLASSES,
    PANEL,  # numbers of a panel: 16 * rows, the rows rounded up to whole tiles
) = range(8)
(
    POOLED,  # (num_pooled * panels, rows, 16) what the head reads: a vector a direction, two with mean and max
    D_POOLED,  # the same shape; with dropout the head reads it from here before it becomes the gradient
    TIES,  # (num_directions * panels, rows, 16) how many steps have the largest state, in max pooling
    LOGITS,  # (class_panels, rows, 16) and then their gradient
    HEAD,  # (class_panels, num_pooled * units, 16) weights, for the product forward
    HEAD_BACK,  # (num_pooled * panels, 16 * class_panels, 16) their transpose, for the product backward
    D_HEAD,  # as HEAD
    HEAD_BIAS,  # (class_panels, 16)
    D_HEAD_BIAS,  # (class_panels, 16)
    D_STATE,  # (panels, rows, 16) gradient of the state at the step that the backward pass has reached
    D_CELL_STATE,  # (panels, rows, 16) the same of the LSTM's cell state
    D_BELOW,  # (num_directions * panels, rows, 16) gradient of what the layer read in that step
    HEAD_WEIGHT,  # where the head's weights begin among the parameters, its biases behind them
    STEM,  # row of the stem's first stage; 0: there is no stem
    SKIP_SIZE,  # channels whose mean and maximum go past the layers to the head; 0: there are none
    SKIP,  # (2 * skip_panels, rows, 16) mean and maximum, behind the states in POOLED
    D_SKIP,  # the same place in D_POOLED
    SKIP_TIES,  # (skip_panels, rows, 16) how many steps have the maximum
) = range(8, 26)

# A row for each layer and direction: a step's inputs, and the places of its own arrays.
(
    INPUTS,  # how many features or states the layer reads in a step
    INPUT_PANELS,  # the same in panels: inputs
    STATES,  # (num_steps + 1, panels + inputs, rows, 16) the state before each step, and beside it what is read in it
    GATES,  # (num_steps, planes * panels, rows, 16) gates, and after the backward step the gradients of their sums
    CELL_STATES,  # (num_steps + 1, panels, rows, 16) LSTM only
    PACKED,  # (planes * panels, units + 16 * inputs, 16) weights of state and input, for the product forward
    PACKED_BACK,  # (panels + inputs, planes * units, 16) their transpose, for the product backward
    BIAS,  # (planes * panels, 16) sum of both biases
    D_PACKED,  # as PACKED
    D_BIAS,  # as BIAS
    D_OUTPUTS,  # (num_steps, num_directions * panels, rows, 16) gradient of what the layer below puts out; -1: none below
) = range(11)
# Where the layer's parameters begin among all of them.
INPUT_WEIGHT, STATE_WEIGHT, INPUT_BIAS, STATE_BIAS = range(11, 15)

NUM_STAGES = 3
# A row for each stage of a stem, and one for what the layers read of it, which has inputs alone. Its arrays hold the steps of
# each sequence by itself; `left` and `right` are the steps of a window before and after its own.
(
    STAGE_INPUTS,  # channels that it reads
    CHANNELS,  # that it gives
    IN_PANELS,  # of what its product reads in a step: channels, or a whole window of them
    OUT_PANELS,
    KERNEL,  # steps of the widest convolution
    TAPS,  # steps that its product sees in a row: the same, or 1 where windows are written out
    BLOCK,  # steps averaged into one behind it
    BEFORE,  # and by all that is before it
    IN,  # (sequence, in_panels, left + steps + right, 16) zeros around the steps
    IN_ROW,  # numbers of a sequence in it
    IN_PANEL,  # and of a panel
    D_IN,  # (sequence, in_panels, steps, 16) gradient
    D_IN_ROW,
    Z,  # (sequence, out_panels, steps, 16) what the convolutions give
    Z_ROW,
    Z_PANEL,  # also of D_IN
    DZ,  # (sequence, out_panels, right + steps + left, 16) gradient, zeros around the steps
    DZ_ROW,
    DZ_PANEL,
    CONV_PACKED,  # (out_panels, in_panels * taps * 16, 16) weights, for the product forward
    CONV_BACK,  # (in_panels, out_panels * taps * 16, 16) their transpose with the steps reversed
    D_CONV_PACKED,  # as CONV_PACKED
    NORM,  # (6, out_panels, 16) figures of the norm, as below
    NORM_WEIGHT,  # where those of its parameters begin: weight, bias, running mean, running variance
    FIRST_CONV,  # row of its first convolution
    NUM_CONVS,  # side by side
    FLAT,  # one sequence with zeros around it, from which windows are written out
    SIDES,  # of its step on which a window lies: 2, or 1 if it ends with it
) = range(28)
GAMMA, BETA, MEAN_OF, INVERSE, D_GAMMA, D_BETA = range(6)
# A row for each of their convolutions.
CONV_WEIGHT, CONV_KERNEL, CONV_CHANNELS, CONV_FIRST = range(4)  # the last: its first channel among those of the stage

PLAN_WIDTH = 28

PLANES = (1, 4, 4)
"""Matrices of gates a step, by cell: RNN the state; LSTM input, forget, candidate, output; GRU reset, update, and the
candidate's sums of the state and of the input apart, since the reset gate multiplies only the first."""
