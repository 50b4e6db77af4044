"""From Parquet to a tensor: `rnnflow.sequences.dataset.load` against pandas, on the same files in the OS cache."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from rich.console import Console

from benchmarks.measuring import Figure, Quartiles, alternated, command, table
from rnnflow.sequences import dataset, parquet

SHAPES = ((200_000, 100, 1), (200_000, 10, 12), (1_000_000, 10, 1))
"""Sequences, time steps, features."""
NUM_ROUNDS = 7
NUM_SHARDS = 4
TARGET_GB_PER_SECOND = 0.5
TARGET_RATIO = 6.0


def write_split(folder: Path, num_sequences: int, length: int, num_features: int) -> None:
    """Write a split as the stage `generate` does, in four files."""
    rng = np.random.default_rng(0)
    features = [f"feature_{index}" for index in range(num_features)]
    per_shard = num_sequences // NUM_SHARDS
    for shard in range(NUM_SHARDS):
        values = rng.standard_normal((per_shard * length, num_features), dtype=np.float32)
        columns = [
            pa.array([f"{shard}-{row:09d}" for row in range(per_shard)]),
            parquet.sequence_column(values, np.arange(per_shard + 1) * length),
            pa.array(np.where(rng.random(per_shard) < 0.5, "negative", "positive")),
        ]
        path = folder / f"part-{shard:05d}.parquet"
        parquet.write_table(path, pa.Table.from_arrays(columns, schema=parquet.schema(features)))


def load_ours(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and labels, checked for nulls, empty, ragged and infinite sequences."""
    split = dataset.load(folder)
    return torch.from_numpy(split.values), torch.from_numpy(split.labels.astype(np.int64))


def load_with_pandas(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and labels, unchecked."""
    frame = pd.concat(
        [pd.read_parquet(path, columns=["sequence", "label"]) for path in sorted(folder.glob("*.parquet"))],
        ignore_index=True,
    )
    return torch.from_numpy(np.stack(frame["sequence"].to_list())), torch.from_numpy(pd.factorize(frame["label"])[0])


def measure(out: Console) -> list[Figure]:
    """Print the throughput for each shape and return it with the ratios."""
    rates = table(
        "Parquet to tensor, GB of float32 per second, each with the threads it takes by itself",
        "sequences x length x features", "pandas + np.stack", "rnnflow", "rnnflow / pandas",
    )  # fmt: skip
    figures = []
    for shape in SHAPES:
        num_bytes = 4 * int(np.prod(shape))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_split(folder, *shape)
            ours, pandas = load_ours(folder)[0], load_with_pandas(folder)[0]
            assert np.array_equal(ours.numpy().ravel(), pandas.numpy().ravel())
            readers = {"pandas": lambda f=folder: load_with_pandas(f), "ours": lambda f=folder: load_ours(f)}
            seconds = alternated(readers, NUM_ROUNDS, num_warm_up=1, clock=time.perf_counter)
        rate = {name: Quartiles.of(num_bytes / values / 1e9) for name, values in seconds.items()}
        ratio = Quartiles.of(seconds["pandas"] / seconds["ours"])
        text = "{:,} x {} x {}".format(*shape)
        rates.add_row(text, rate["pandas"].text(3), rate["ours"].text(2), ratio.text(1))
        speed = rate["ours"].median
        figures += [
            Figure(f"loading {text}: GB/s", f">= {TARGET_GB_PER_SECOND}", f"{speed:.2f}", speed >= TARGET_GB_PER_SECOND),
            Figure(f"loading {text}: speed / pandas'", f">= {TARGET_RATIO:.0f}", f"{ratio.median:.1f}", ratio.median >= TARGET_RATIO),
        ]  # fmt: skip
    out.print(rates)
    return figures


if __name__ == "__main__":
    command(measure)
