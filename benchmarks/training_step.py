"""A training step of ours against the loop that the project started from, at the same sizes."""

from collections.abc import Callable

import torch
from rich.console import Console

from benchmarks.measuring import Figure, Quartiles, alternated, command, table
from benchmarks.peers import ours, published
from benchmarks.peers.workloads import CELLS, WORKLOADS

WORKLOAD = "small"
NUM_ROUNDS = 120
TARGET = 0.85


def measure(out: Console) -> list[Figure]:
    """Print the time of a step for each cell and return the ratios."""
    torch.set_num_threads(1)
    sizes = WORKLOADS[WORKLOAD]
    times = table(
        f"Training step: hidden {sizes.hidden_size}, length {sizes.length}, batch {sizes.batch_size}, {sizes.num_sequences:,} sequences",
        "cell", "published loop µs", "rnnflow µs", "rnnflow / published",
    )  # fmt: skip
    figures = []
    for cell in CELLS:
        epochs: dict[str, Callable[[], object]] = {
            "published": published.epoch(cell, WORKLOAD),
            "ours": ours.epoch(cell, WORKLOAD, ours.ENGINES[-1]),
        }
        seconds = alternated(epochs, NUM_ROUNDS, num_warm_up=5)
        steps = {name: Quartiles.of(values * 1e6 / sizes.num_steps) for name, values in seconds.items()}
        ratio = Quartiles.of(seconds["ours"] / seconds["published"])
        times.add_row(cell, steps["published"].text(0), steps["ours"].text(0), ratio.text(2))
        name = f"training step, {cell}: time / published loop's"
        figures.append(Figure(name, f"<= {TARGET}", f"{ratio.median:.2f}", ratio.median <= TARGET))
    out.print(times)
    return figures


if __name__ == "__main__":
    command(measure)
