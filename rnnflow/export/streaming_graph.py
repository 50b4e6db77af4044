"""The classifier as a graph that goes on from where it was: steps and state in, probabilities and new state out.

The nodes are those of the whole-sequence graph, by the same functions, with a memory of the steps before. What is new is
down-sampling in chunks: the steps of a block may come in several calls, and the block at hand is looked at before it is
complete, as the last one of a sequence is.
"""

import numpy as np

from rnnflow.classifier.preparation import Preparation
from rnnflow.export.memory import Memory
from rnnflow.export.nodes import Nodes
from rnnflow.export.preparation_nodes import Steps, centred, known_values


def stream_steps(graph: Nodes, preparation: Preparation, sequence: str, lengths: str) -> tuple[Steps, Steps | None]:
    """Add what comes before the scaling; return the complete steps, and at most one that is not complete yet."""
    values, sizes = centred(graph, preparation, sequence, lengths)
    size = preparation.params.downsampling
    if size == 1:
        return Steps(values, sizes, lengths), None
    blocks = Blocks(graph, sequence, lengths, size)
    pairs = [
        blocks.means(each, f"blocks.{kind}", preparation.num_features)
        for each, kind in zip(values, preparation.params.scalings, strict=True)
    ]
    complete, partial = ([pair[index] for pair in pairs] for index in range(2))
    return Steps(complete, sizes, blocks.num_complete), Steps(partial, sizes, blocks.num_partial)


class Blocks:
    """Blocks of `size` steps, the first of which goes on where the last call ended.

    Args:
        graph: is added to.
        steps: values (batch, time, feature), for the number of their steps.
        lengths: valid steps of each sequence.
        size: steps of a block.
        phase: names the part of the state that counts the steps of the block at hand.
    """

    def __init__(self, graph: Nodes, steps: str, lengths: str, size: int, phase: str = "blocks.phase") -> None:
        assert graph.memory
        self._graph, self._memory, self._lengths, self._size = graph, graph.memory, lengths, size
        one, by = graph.constant([1]), graph.constant([size])
        begun = graph.add("Squeeze", [graph.memory.read(phase, 1), one])
        begun = graph.add("Cast", [begun], to=_INT64)
        num_steps = graph.num_steps(steps)
        total = graph.add("Add", [begun, graph.bounded_lengths(steps, lengths)])
        self.num_complete = graph.add("Div", [total, by])
        rest = graph.add("Mod", [total, by])
        self.num_partial = graph.add("Min", [rest, one])
        graph.memory.write(phase, graph.add("Unsqueeze", [graph.number(rest), one]))
        # Step i of the first block is step i - begun of the input, which has `size` steps more in front of it.
        # There is always a block behind the complete ones: the one at hand, or one without steps.
        num_blocks = graph.add(
            "Add", [graph.add("Div", [graph.add("Add", [num_steps, graph.constant([size - 1])]), by]), one]
        )
        places = graph.up_to(graph.add("Mul", [num_blocks, by]))
        shift = graph.add("Unsqueeze", [graph.add("Sub", [by, begun]), one])
        self._places = graph.add("Unsqueeze", [graph.add("Add", [places, shift]), graph.constant([2])])
        self._later_blocks = graph.add("Sub", [num_blocks, one])

    def means(self, values: str, name: str, num_features: int) -> tuple[str, str]:
        """Return the means of the complete blocks, and that of the block at hand (batch, 1, feature)."""
        graph, axis = self._graph, self._graph.constant([1])
        known = known_values(graph, values, graph.valid_steps(values, self._lengths))
        filled = graph.add("Where", [known, values, graph.constant(0.0)])
        both = graph.add("Concat", [filled, graph.number(known)], axis=2)
        around = graph.constant([0, self._size, 0, 0, 2 * self._size, 0])
        aligned = graph.add("GatherND", [graph.add("Pad", [both, around]), self._places], batch_dims=1)
        shape = graph.constant([0, -1, self._size, 2 * num_features])
        sums = graph.add("ReduceSum", [graph.add("Reshape", [aligned, shape]), graph.constant([2])], keepdims=0)
        begun = graph.add("Unsqueeze", [self._memory.read(name, 2 * num_features), axis])
        pads = graph.add("Concat", [graph.constant([0, 0, 0, 0]), self._later_blocks, graph.constant([0])], axis=0)
        sums = graph.add("Add", [sums, graph.add("Pad", [begun, pads])])
        at_hand = graph.add("GatherND", [sums, graph.add("Unsqueeze", [self.num_complete, axis])], batch_dims=1)
        self._memory.write(name, at_hand)
        return self._mean(sums), self._mean(graph.add("Unsqueeze", [at_hand, axis]))

    def _mean(self, sums: str) -> str:
        return self._graph.add("Div", self._graph.add_many("Split", [sums], ["sums", "counts"], axis=2))


def no_steps(graph: Nodes, steps: Steps) -> Steps:
    """Return none of these steps, in arrays of one, which is the least that onnxruntime's cells take."""
    one = [graph.constant([number]) for number in (0, 1, 1)]
    values = [graph.add("Slice", [each, *one]) for each in steps.values]
    return Steps(values, steps.sizes, graph.add("Sub", [steps.lengths, steps.lengths]))


def continued_sums(graph: Nodes, memory: Memory, summed: str, count: str, size: int) -> tuple[str, str]:
    """Sums and counts over all steps so far.

    A float32 sum of a million steps loses the next one's last digits, and a count ends at 2^24. Both are compensated (Kahan,
    1965): what a sum has lost is kept beside it.
    """
    new = graph.add("Concat", [summed, count], axis=1)
    before, lost = memory.read("mean.sums", size + 1), memory.read("mean.lost", size + 1)
    compensated = graph.add("Sub", [new, lost])
    total = graph.add("Add", [before, compensated])
    now_lost = graph.add("Sub", [graph.add("Sub", [total, before]), compensated])
    has_steps = graph.add("Greater", [count, graph.constant(0.0)])
    total = graph.add("Where", [has_steps, total, before])
    memory.write("mean.sums", total)
    memory.write("mean.lost", graph.add("Where", [has_steps, now_lost, lost]))
    sizes = graph.constant([size, 1])
    summed, count = graph.add_many("Split", [total, sizes], ["sums", "count"], axis=1)
    return summed, graph.add("Max", [count, graph.constant(1.0)])


def continued_maximum(graph: Nodes, memory: Memory, largest: str, lengths: str, size: int, started: str) -> str:
    """The maximum over all steps so far, zero before the first; `started` names what says whether there was one."""
    had_started, has_started = memory.has_started(lengths, started)
    before = graph.add("Where", [had_started, memory.read("max", size), graph.constant(-np.inf)])
    total = graph.add("Where", [has_started, graph.add("Max", [before, largest]), graph.constant(0.0)])
    memory.write("max", total)
    return total


_INT64 = 7
