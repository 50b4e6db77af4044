"""Forward pass, loss, back-propagation through time and the optimiser's step, for several batches in one compiled call.

A stem has calls of its own. Sums are added up in a fixed order, products with fused multiply-add, and nothing is reordered:
the bits depend neither on the run nor on whether the code was compiled or loaded, nor on the length of the CPU's vectors.
"""

from numba import types

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.adamw import clipped_adamw
from rnnflow.engines.numba.denormals import flush_denormals, restore_denormals
from rnnflow.engines.numba.head import apply_dropout, cross_entropy, head_backward, head_forward, pool
from rnnflow.engines.numba.layers import layer_backward, layer_forward, read_inputs, read_layer_below, read_stem
from rnnflow.engines.numba.simd import kernel
from rnnflow.engines.numba.target import WIDTH
from rnnflow.engines.numba.weights import pack, unpack

_FLOATS = types.float32[::1]
_DOUBLES = types.float64[::1]
_INTS = types.int64[::1]
RUN = types.void(
    types.int64[:, ::1], _FLOATS, _FLOATS, _FLOATS, types.float32[:, :, ::1], _INTS, _INTS, types.int64[:, ::1], _INTS,
    _DOUBLES, types.float64, _DOUBLES, types.float32[:, :, :, ::1], types.float32[:, ::1], types.float32[:, ::1], _DOUBLES,
    _DOUBLES, _FLOATS, _FLOATS, types.int64, types.float64, types.float64, _FLOATS, _DOUBLES,
)  # fmt: skip


@kernel
def run(
    plan, work, weights, gradient, inputs, order, lengths, bounds, labels,
    class_weights, label_smoothing, total_weights, step_mask, head_mask, logits, losses,
    learning_rates, first_moment, second_moment, num_steps, max_norm, weight_decay, decaying, sums,
):  # fmt: skip
    """Fill `losses`, and leave the gradient of the last batch in `gradient`; or, where that is empty, only fill `logits`.

    Args:
        plan: where everything is in `work`.
        work: scratch.
        weights: all parameters, in PyTorch's order.
        gradient: of the same, is filled.
        inputs: (sequence, time, feature), what stands in the padding is not read; with a stem, which has read them, not at all.
        order: the rows of `inputs`, those of each batch at its bounds, longest first.
        lengths: of the same rows, in that order, in steps of what the layers read.
        bounds: (batch, 2), the first row of each batch and the one after its last.
        labels: of the rows of `inputs`.
        class_weights: of each class, in the loss.
        label_smoothing: share of the loss that all classes have alike.
        total_weights: what the sum of the losses of each batch is divided by.
        step_mask: (layer, sequence, time, output) factors of what a layer after the first reads, or (0, 0, 0, 0).
        head_mask: (sequence, pooled) factors of what the head reads, or (0, 0).
        logits: (sequence, class), is filled; or (0, 0).
        losses: of each batch, is filled.
        learning_rates: of the step of the optimiser after each batch, or empty where none is taken.
        first_moment: of each parameter's gradient, is brought up to date.
        second_moment: of the same.
        num_steps: that the optimiser took before.
        max_norm: of the gradient, to which it is clipped.
        weight_decay: of AdamW.
        decaying: 1 for each weight that decays and 0 for the others, or empty where all decay.
        sums: room for sixteen of the optimiser's.
    """
    before = flush_denormals()
    for index in range(len(bounds)):
        start, stop = bounds[index, 0], bounds[index, 1]
        losses[index] = _forward_and_backward(
            plan, work, weights, gradient, inputs, order[start:stop], lengths[start:stop], labels,
            class_weights, label_smoothing, total_weights[index] if len(labels) else 1.0, step_mask, head_mask, logits,
        )  # fmt: skip
        if len(learning_rates):
            clipped_adamw(
                weights, gradient, first_moment, second_moment, num_steps + index + 1, learning_rates[index],
                max_norm, weight_decay, decaying, sums,
            )  # fmt: skip
    restore_denormals(before)


@kernel
def _forward_and_backward(
    plan, work, weights, gradient, inputs, order, lengths, labels,
    class_weights, label_smoothing, total_weight, step_mask, head_mask, logits,
):  # fmt: skip
    trains = len(gradient) > 0
    num_layers, num_directions = plan[0, layout.NUM_LAYERS], plan[0, layout.NUM_DIRECTIONS]
    has_stem = plan[0, layout.STEM] > 0
    for index in range(num_layers):
        for direction in range(num_directions):
            layer = plan[1 + index * num_directions + direction]
            pack(plan, layer, work, weights, index > 0, trains, index > 0 or has_stem)
            if index:
                read_layer_below(plan, index, direction, work, step_mask, order, lengths)
            elif has_stem:
                read_stem(plan, layer, direction, work, lengths)
            else:
                read_inputs(plan, layer, direction, work, inputs, order, lengths)
            layer_forward(plan, layer, work, lengths)
    pool(plan, work, lengths)
    if head_mask.shape[0]:
        apply_dropout(plan, work, head_mask, order)
    head_forward(plan, work, weights, lengths, head_mask)
    for row in range(len(order) if len(logits) else 0):  # back in the caller's order
        for index in range(plan[0, layout.CLASSES]):
            at = plan[0, layout.LOGITS] + row * WIDTH + index // WIDTH * plan[0, layout.PANEL] + index % WIDTH
            logits[order[row], index] = work[at]
    if not trains:
        return 0.0
    loss = cross_entropy(plan, work, labels, class_weights, label_smoothing, total_weight, order)
    head_backward(plan, work, gradient, lengths, head_mask, order)
    for index in range(num_layers - 1, -1, -1):
        for direction in range(num_directions):
            layer_backward(plan, index, direction, work, lengths, order, step_mask)
            layer = plan[1 + index * num_directions + direction]
            unpack(plan, layer, work, gradient, index > 0)
    return loss
