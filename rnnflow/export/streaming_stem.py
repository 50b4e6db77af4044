"""What a causal stem keeps of the steps before: its convolutions' last inputs, blocks that have begun, mean and maximum."""

from rnnflow.export.nodes import Nodes
from rnnflow.export.streaming_graph import Blocks, continued_sums


class StemMemory:
    """The stem's parts of the state of a graph under construction."""

    def __init__(self, graph: Nodes) -> None:
        assert graph.memory
        self._graph, self._memory = graph, graph.memory

    def steps(self, name: str, values: str, lengths: str, num_steps: int, num_channels: int) -> str:
        """Return `values` (batch, time, channel) behind the last `num_steps` before them, zeros where there are none."""
        if num_steps == 0:
            return values
        graph, name = self._graph, f"stem.{name}"
        before = self._memory.read(name, num_steps * num_channels)
        before = graph.add("Reshape", [before, graph.constant([0, num_steps, num_channels])])
        together = graph.add("Concat", [before, values], axis=1)
        # A sequence's last steps begin at its length: so many are before its first new one.
        places = graph.add(
            "Add", [graph.add("Unsqueeze", [lengths, graph.constant([1])]), graph.constant([*range(num_steps)])]
        )
        last = graph.add("GatherND", [together, graph.add("Unsqueeze", [places, graph.constant([2])])], batch_dims=1)
        self._memory.write(name, graph.add("Reshape", [last, graph.constant([0, num_steps * num_channels])]))
        return together

    def block_means(self, name: str, values: str, lengths: str, size: int, num_channels: int) -> tuple[str, str]:
        """Return the means of the complete blocks and their number; looking ahead, that of the block at hand, if it has begun."""
        if size == 1:
            return values, lengths
        graph, name = self._graph, f"stem.{name}"
        blocks = Blocks(graph, values, lengths, size, f"{name}.phase")
        means, _ = blocks.means(values, f"{name}.sums", num_channels)
        if not self._memory.is_ahead:
            return means, blocks.num_complete
        # One step at most was added, so that all steps are in the first block.
        zero, one = graph.constant([0]), graph.constant([1])
        has_begun = graph.add("Max", [blocks.num_complete, blocks.num_partial])
        return graph.add("Slice", [means, zero, one, one]), has_begun

    def mean_and_max(self, values: str, lengths: str, num_channels: int) -> str:
        """Return both over all steps so far, of values that are not negative: zero is less than none of them."""
        graph, one = self._graph, self._graph.constant([1])
        filled = graph.add("Where", [graph.valid_steps(values, lengths), values, graph.constant(0.0)])
        summed = graph.add("ReduceSum", [filled, one], keepdims=0)
        count = graph.add("Unsqueeze", [graph.number(lengths), one])
        with self._memory.named("stem."):
            summed, count = continued_sums(graph, self._memory, summed, count, num_channels)
            largest = graph.add("ReduceMax", [filled], axes=[1], keepdims=0)
            largest = graph.add("Max", [largest, self._memory.read("max", num_channels)])
            self._memory.write("max", largest)
        return graph.add("Concat", [graph.add("Div", [summed, count]), largest], axis=1)
