"""How fast a model answers on this machine: latency and throughput by batch size and threads."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from rnnflow.serving.predictor import CHUNK_SIZE, Predictor

MIN_CALLS, MAX_CALLS = 20, 2000
WARM_UP_CALLS = 3


def benchmark(
    path: Path, batch_sizes: Sequence[int], threads: Sequence[int], length: int | None, seconds: float
) -> Table:
    """Return a line for each batch size and number of threads.

    Args:
        path: the ONNX file.
        batch_sizes: sequences in a call of `Predictor.flat_probabilities`.
        threads: their numbers; more than one help where a batch has several chunks.
        length: steps of a sequence; by default as many as the median of the train split.
        seconds: how long each line may take, but for the smallest number of calls.
    """
    predictors = [Predictor(path, number) for number in threads]
    length = length or predictors[0].metadata["lengths"][1]
    table = Table(title=f"{path}: sequences of {length} steps, chunks of {CHUNK_SIZE}", title_justify="left")
    for heading in ("batch size", "threads", "p50", "p99", "sequences/s", "calls"):
        table.add_column(heading, justify="right")
    for batch_size in batch_sizes:
        for predictor in predictors:
            taken = durations(predictor, batch_size, length, seconds)
            p50, p99 = np.quantile(taken, [0.5, 0.99])
            table.add_row(
                *(f"{batch_size:,}", str(predictor.num_threads), _text(p50), _text(p99)),
                *(f"{batch_size / p50:,.0f}", f"{len(taken):,}"),
            )
    return table


def durations(predictor: Predictor, batch_size: int, length: int, seconds: float) -> list[float]:
    """Return the seconds of each call with random sequences."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((batch_size * length, len(predictor.features)), dtype=np.float32)
    offsets = np.arange(batch_size + 1, dtype=np.int64) * length
    for _ in range(WARM_UP_CALLS):
        predictor.flat_probabilities(values, offsets)
    taken: list[float] = []
    while len(taken) < MIN_CALLS or (sum(taken) < seconds and len(taken) < MAX_CALLS):
        start = time.perf_counter()
        predictor.flat_probabilities(values, offsets)
        taken.append(time.perf_counter() - start)
    return taken


def _text(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f} µs" if seconds < 1e-3 else f"{1e3 * seconds:,.2f} ms"
