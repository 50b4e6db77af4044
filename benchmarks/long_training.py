"""Whole trainings on long sequences, whose gradients vanish on the way back; writes its part of docs/performance.md."""

from functools import partial

import numpy as np
from rich.console import Console

from benchmarks import performance_page
from benchmarks.measuring import Figure, alternated, command, table
from benchmarks.peers import ours
from benchmarks.peers.workloads import CELLS, WORKLOADS
from benchmarks.performance_page import Comparison

SECTION = "long_training"
WORKLOAD, NUM_EPOCHS, NUM_ROUNDS = "long_1000", 10, 3
ENGINE = ours.ENGINES[-1]
TARGETS = {"rnn": 1.1, "lstm": 4.3, "gru": 3.4}
"""CPU seconds on a quiet processor with AVX-512."""


def measure(out: Console, writes: bool = False) -> list[Figure]:
    """Print the seconds of a training of each cell."""
    seconds = alternated({cell: partial(_train, cell) for cell in CELLS}, NUM_ROUNDS, num_warm_up=1)
    sizes = WORKLOADS[WORKLOAD]
    title = f"Whole training: {sizes.num_sequences} sequences, {NUM_EPOCHS} epochs, hidden {sizes.hidden_size}, length 1,000, batch {sizes.batch_size}"
    settings = {cell: {f"rnnflow, {ENGINE}": of_cell} for cell, of_cell in seconds.items()}
    if writes:
        comparison = Comparison.of(SECTION, title, "s", f"rnnflow, {ENGINE}", settings)
        performance_page.keep(SECTION, [comparison])
        performance_page.write()
    rows = table(title, *settings)
    rows.add_row(*(f"{np.median(of_cell):.2f} s" for of_cell in seconds.values()))
    out.print(rows)
    return [
        Figure(f"{title}, {cell}, CPU s", f"<= {TARGETS[cell]}", f"{np.median(of_cell):.2f}", bool(np.median(of_cell) <= TARGETS[cell]))
        for cell, of_cell in seconds.items()
    ]  # fmt: skip


def _train(cell: str) -> object:
    return ours.training(cell, WORKLOAD, ENGINE, NUM_EPOCHS).run()


if __name__ == "__main__":
    command(measure, writes=True)
