"""From the states of the last layer to the loss, and back."""

import math

import numpy as np

from rnnflow.engines.numba import layout
from rnnflow.engines.numba.layout import MAX, MEAN
from rnnflow.engines.numba.products import (
    clear,
    clear_rows,
    column_sums_added,
    outer_added,
    product,
    product_biased,
    whole_tiles,
)
from rnnflow.engines.numba.simd import ONE, ZERO, broadcast, kernel, larger, load, store, where_equal
from rnnflow.engines.numba.target import WIDTH
from rnnflow.engines.numba.weights import padded_column


@kernel
def pool(plan, work, lengths):
    """Make one row of each sequence's states, of both directions."""
    panel, units, pooling = plan[0, layout.PANEL], plan[0, layout.UNITS], plan[0, layout.POOLING]
    num_directions = plan[0, layout.NUM_DIRECTIONS]
    num_panels = units // WIDTH
    # Where there are a mean and a maximum, the means of all directions come first and the maxima behind them.
    beside = num_directions * num_panels * panel if pooling == MEAN + MAX else 0
    for direction in range(num_directions):
        layer = plan[1 + (plan[0, layout.NUM_LAYERS] - 1) * num_directions + direction]
        step_size = (num_panels + layer[layout.INPUT_PANELS]) * panel
        for row in range(len(lengths)):
            length = lengths[row]
            for place in range(num_panels):
                at = place * panel + row * WIDTH
                first = layer[layout.STATES] + step_size + at  # the state after the first step
                to = plan[0, layout.POOLED] + direction * num_panels * panel + at
                if not pooling:
                    store(work, to, load(work, first + (length - 1) * step_size))
                    continue
                total = load(work, first)
                largest, ties = total, broadcast(ONE)
                for step in range(1, length):
                    state = load(work, first + step * step_size)
                    total = total + state
                    if pooling & MAX:
                        # Steps with the same largest state share its gradient, as in PyTorch's `amax`.
                        now = larger(largest, state)
                        ties = where_equal(now, largest, ties, broadcast(ZERO))
                        ties = ties + where_equal(now, state, broadcast(ONE), broadcast(ZERO))
                        largest = now
                if pooling & MEAN:
                    store(work, to, total / broadcast(np.float32(length)))
                if pooling & MAX:
                    store(work, to + beside, largest)
                    store(work, plan[0, layout.TIES] + direction * num_panels * panel + at, ties)


@kernel
def apply_dropout(plan, work, mask, order):
    """Put what the head reads, with its dropout, in the place of its gradient, which is not there yet."""
    panel = plan[0, layout.PANEL]
    for row in range(len(order)):
        for column in range(mask.shape[1]):
            place = _place(plan, column)
            at = place // WIDTH * panel + row * WIDTH + place % WIDTH
            work[plan[0, layout.D_POOLED] + at] = work[plan[0, layout.POOLED] + at] * mask[order[row], column]


@kernel
def _num_pooled(plan):
    """How many vectors of states the head reads side by side."""
    return plan[0, layout.NUM_DIRECTIONS] * (2 if plan[0, layout.POOLING] == MEAN + MAX else 1)


@kernel
def _size(plan):
    """How many numbers the head reads: states, and mean and maximum of a stem."""
    return _num_pooled(plan) * plan[0, layout.HIDDEN] + 2 * plan[0, layout.SKIP_SIZE]


@kernel
def _depth(plan):
    """The same in whole panels."""
    return _num_pooled(plan) * plan[0, layout.UNITS] + 2 * (-(-plan[0, layout.SKIP_SIZE] // WIDTH) * WIDTH)


@kernel
def _place(plan, column):
    """Where a column of the head's weights is, if each vector that it reads is filled up to whole panels."""
    hidden, skip_size = plan[0, layout.HIDDEN], plan[0, layout.SKIP_SIZE]
    of_states = _num_pooled(plan) * hidden
    if column < of_states:
        return padded_column(column, hidden, plan[0, layout.UNITS])
    padded = -(-skip_size // WIDTH) * WIDTH
    return _num_pooled(plan) * plan[0, layout.UNITS] + padded_column(column - of_states, skip_size, padded)


@kernel
def head_forward(plan, work, weights, lengths, head_mask):
    """From the pooled states to the logits."""
    panel, num_classes = plan[0, layout.PANEL], plan[0, layout.CLASSES]
    num_class_panels = -(-num_classes // WIDTH)
    depth, size = _depth(plan), _size(plan)
    for column in range(size):
        place = _place(plan, column)
        for label in range(num_classes):
            # (class_panels, depth, 16) forward and (num_pooled * panels, 16 * class_panels, 16) backward
            value = weights[plan[0, layout.HEAD_WEIGHT] + label * size + column]
            work[plan[0, layout.HEAD] + (label // WIDTH * depth + place) * WIDTH + label % WIDTH] = value
            back = plan[0, layout.HEAD_BACK] + (place // WIDTH * num_class_panels * WIDTH + label) * WIDTH
            work[back + place % WIDTH] = value
    for label in range(num_classes):
        work[plan[0, layout.HEAD_BIAS] + label] = weights[plan[0, layout.HEAD_WEIGHT] + num_classes * size + label]
    source = plan[0, layout.D_POOLED] if head_mask.shape[0] else plan[0, layout.POOLED]
    product_biased(
        work, plan[0, layout.LOGITS], source, plan[0, layout.HEAD], depth * WIDTH, plan[0, layout.HEAD_BIAS],
        whole_tiles(len(lengths)), num_class_panels, depth, panel,
    )  # fmt: skip


@kernel
def cross_entropy(plan, work, labels, class_weights, label_smoothing, total_weight, order):
    """Return the cross-entropy of a batch, divided by `total_weight`, and put its gradient in the place of the logits.

    In float64: there are only as many numbers as classes, and the loss decides about early stopping.
    """
    panel, num_classes, logits = plan[0, layout.PANEL], plan[0, layout.CLASSES], plan[0, layout.LOGITS]
    smoothed = label_smoothing / num_classes
    weight_sum = 0.0
    for index in range(
        num_classes
    ):  # its own method would bring in Numba's array functions wherever the kernel is loaded
        weight_sum += class_weights[index]
    loss = 0.0
    for row in range(len(order)):
        first = logits + row * WIDTH
        label = labels[order[row]]
        own = (1.0 - label_smoothing) * class_weights[label]
        largest = -np.inf  # is subtracted, so that no exponential overflows
        for index in range(num_classes):
            value = np.float64(work[first + index // WIDTH * panel + index % WIDTH])
            largest = value if value > largest or value != value else largest
        total = 0.0
        for index in range(num_classes):
            total += math.exp(np.float64(work[first + index // WIDTH * panel + index % WIDTH]) - largest)
        log_total = largest + math.log(total)
        for index in range(num_classes):
            at = first + index // WIDTH * panel + index % WIDTH
            log_probability = np.float64(work[at]) - log_total
            share = smoothed * class_weights[index] + (own if index == label else 0.0)
            loss -= share * log_probability
            whole = own + smoothed * weight_sum
            work[at] = np.float32((whole * math.exp(log_probability) - share) / total_weight)
    return loss / total_weight


@kernel
def head_backward(plan, work, gradient, lengths, head_mask, order):
    """From the gradient of the logits to those of the head and of the pooled states."""
    panel, num_classes = plan[0, layout.PANEL], plan[0, layout.CLASSES]
    num_class_panels = -(-num_classes // WIDTH)
    rows = len(lengths)
    depth, size = _depth(plan), _size(plan)
    source = plan[0, layout.D_POOLED] if head_mask.shape[0] else plan[0, layout.POOLED]
    clear(work, plan[0, layout.D_HEAD], num_class_panels * depth * WIDTH)
    clear(work, plan[0, layout.D_HEAD_BIAS], num_class_panels * WIDTH)
    clear_rows(work, plan[0, layout.LOGITS], rows, whole_tiles(rows), num_class_panels, panel)
    outer_added(
        work, plan[0, layout.D_HEAD], depth * WIDTH, source, plan[0, layout.LOGITS], depth, num_class_panels,
        rows, panel,
    )  # fmt: skip
    column_sums_added(work, plan[0, layout.D_HEAD_BIAS], plan[0, layout.LOGITS], rows, num_class_panels, panel)
    for column in range(size):
        place = _place(plan, column)
        for label in range(num_classes):
            at = plan[0, layout.D_HEAD] + (label // WIDTH * depth + place) * WIDTH + label % WIDTH
            gradient[plan[0, layout.HEAD_WEIGHT] + label * size + column] = work[at]
    for label in range(num_classes):
        gradient[plan[0, layout.HEAD_WEIGHT] + num_classes * size + label] = work[plan[0, layout.D_HEAD_BIAS] + label]
    product(  # over what the head read with dropout, which nobody needs any more
        work, plan[0, layout.D_POOLED], plan[0, layout.LOGITS], plan[0, layout.HEAD_BACK], num_class_panels * WIDTH * WIDTH,
        whole_tiles(rows), depth // WIDTH, num_classes, panel,
    )  # fmt: skip
    _pooled_backward(plan, work, lengths, head_mask, order)


@kernel
def _pooled_backward(plan, work, lengths, head_mask, order):
    """Turn the gradient of what the head read into that of each step's state: what `pool` and dropout did, backwards."""
    panel, units = plan[0, layout.PANEL], plan[0, layout.UNITS]
    pooling, num_directions = plan[0, layout.POOLING], plan[0, layout.NUM_DIRECTIONS]
    num_panels = units // WIDTH
    beside = num_directions * num_panels * panel if pooling == MEAN + MAX else 0
    for row in range(len(lengths)):
        if head_mask.shape[0]:
            for column in range(_size(plan)):
                place = _place(plan, column)
                at = plan[0, layout.D_POOLED] + place // WIDTH * panel + row * WIDTH + place % WIDTH
                work[at] *= head_mask[order[row], column]
        for index in range(num_directions * num_panels):
            at = index * panel + row * WIDTH
            if pooling & MEAN:
                value = load(work, plan[0, layout.D_POOLED] + at) / broadcast(np.float32(lengths[row]))
                store(work, plan[0, layout.D_POOLED] + at, value)
            if pooling & MAX:
                value = load(work, plan[0, layout.D_POOLED] + beside + at) / load(work, plan[0, layout.TIES] + at)
                store(work, plan[0, layout.D_POOLED] + beside + at, value)
