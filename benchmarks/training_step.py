"""A training step of ours against the loop that the project started from, at the same sizes."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measuring import Figure, Quartiles, alternated, console, table
from rnnflow.dataset import SequenceDataset
from rnnflow.model import CELLS
from rnnflow.params import Cell, ModelParams, TrainParams
from rnnflow.training import Training

NUM_SEQUENCES, LENGTH, HIDDEN_SIZE, BATCH_SIZE = 1000, 10, 32, 32
NUM_STEPS = -(-NUM_SEQUENCES // BATCH_SIZE)
NUM_ROUNDS = 120
TARGET = 0.85


class PublishedClassifier(nn.Module):
    """The model of the original example, with a cell of choice."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.cell = CELLS[cell](1, HIDDEN_SIZE, batch_first=True)
        self.linear = nn.Linear(HIDDEN_SIZE, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(1, sequences.size(0), HIDDEN_SIZE)
        is_lstm = isinstance(self.cell, nn.LSTM)
        outputs, _ = self.cell(sequences, (state, torch.zeros_like(state)) if is_lstm else state)
        return self.sigmoid(self.linear(outputs[:, -1, :]))


def published_epoch(cell: str, sequences: torch.Tensor) -> Callable[[], float]:
    """Return an epoch of the published loop; only its label is mended, whose shape made it crash."""
    torch.manual_seed(0)
    labels = (sequences.sum(dim=1) > 0).float()
    loader = DataLoader(TensorDataset(sequences, labels), batch_size=BATCH_SIZE, shuffle=True)
    model = PublishedClassifier(cell)
    criterion = nn.BCELoss()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)

    def epoch() -> float:
        model.train()
        total = 0.0
        for batch, batch_labels in loader:
            optimiser.zero_grad()
            loss = criterion(model(batch), batch_labels)
            loss.backward()
            optimiser.step()
            total += loss.item()
        return total / len(loader)

    return epoch


def our_epoch(cell: Cell, sequences: torch.Tensor) -> Callable[[], object]:
    """Return an epoch of `Training`, as the stage runs it, without the validation."""
    labels = (sequences.sum(dim=(1, 2)) > 0).long().numpy()
    offsets = np.arange(NUM_SEQUENCES + 1) * LENGTH
    values = sequences.reshape(-1, 1).numpy()
    split = SequenceDataset(values, offsets, labels, ("value",), ("negative", "positive"))
    recipe = TrainParams(epochs=1000, batch_size=BATCH_SIZE)
    training = Training(split, split, ModelParams(cell=cell, hidden_size=HIDDEN_SIZE), recipe)
    return training.train_epoch


def measure(out: Console) -> list[Figure]:
    """Print the time of a step for each cell and return the ratios."""
    torch.set_num_threads(1)
    sequences = torch.randn(NUM_SEQUENCES, LENGTH, 1, generator=torch.Generator().manual_seed(0))
    times = table(
        f"Training step: hidden {HIDDEN_SIZE}, length {LENGTH}, batch {BATCH_SIZE}, {NUM_SEQUENCES:,} sequences",
        "cell", "published loop µs", "rnnflow µs", "rnnflow / published",
    )  # fmt: skip
    figures = []
    for cell in get_args(Cell):
        epochs: dict[str, Callable[[], object]] = {
            "published": published_epoch(cell, sequences),
            "ours": our_epoch(cell, sequences),
        }
        seconds = alternated(epochs, NUM_ROUNDS, num_warm_up=5)
        steps = {name: Quartiles.of(values * 1e6 / NUM_STEPS) for name, values in seconds.items()}
        ratio = Quartiles.of(seconds["ours"] / seconds["published"])
        times.add_row(cell, steps["published"].text(0), steps["ours"].text(0), ratio.text(2))
        name = f"training step, {cell}: time / published loop's"
        figures.append(Figure(name, f"<= {TARGET}", f"{ratio.median:.2f}", ratio.median <= TARGET))
    out.print(times)
    return figures


if __name__ == "__main__":
    measure(console())
