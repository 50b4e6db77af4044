"""A training step of a model with the multi-scale stem, engine numba beside engine torch, which is eager PyTorch; one thread."""

from typing import get_args

import numpy as np
import torch
from rich.console import Console

from benchmarks.measuring import Figure, Quartiles, alternated, command, table
from rnnflow.advice.model_selection import portfolio
from rnnflow.params.train import Engine, TrainParams
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.loop import Training

NUM_STEPS, BATCH_SIZE, NUM_BATCHES, NUM_ROUNDS = 400, 16, 4, 15
TARGET = 3.0


def measure(out: Console) -> list[Figure]:
    """Print the time of a step with each engine and return how much faster numba is."""
    torch.set_num_threads(1)
    num = BATCH_SIZE * NUM_BATCHES
    values = np.random.default_rng(0).standard_normal((num * NUM_STEPS, 1)).astype(np.float32)
    data = SequenceDataset(
        values, np.arange(num + 1) * NUM_STEPS, np.arange(num, dtype=np.int32) % 2, ("x",), ("a", "b")
    )
    model = portfolio.candidates(NUM_STEPS)[0].params
    recipe = portfolio.recipe(num) | {"batch_size": BATCH_SIZE}
    epochs = {
        engine: Training(data, None, model, TrainParams(engine=engine, **recipe)).train_epoch
        for engine in get_args(Engine)
    }
    seconds = alternated(epochs, NUM_ROUNDS)
    rows = table(f"Training step: stem and LSTM, {NUM_STEPS} steps, batch of {BATCH_SIZE}", "engine", "CPU ms a step")
    for engine, of_engine in seconds.items():
        rows.add_row(engine, Quartiles.of(of_engine * 1e3 / NUM_BATCHES).text(1))
    out.print(rows)
    ratio = Quartiles.of(seconds["torch"] / seconds["numba"])
    return [Figure("stem: engine numba, times eager's speed", f">= {TARGET}", ratio.text(2), ratio.median >= TARGET)]


if __name__ == "__main__":
    command(measure)
