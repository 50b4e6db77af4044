"""The loop that the project started from; only its label is mended, whose shape made it crash."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.classifier import CELLS
from benchmarks.peers.workloads import WORKLOADS


class PublishedClassifier(nn.Module):
    """The model of the original example, with a cell of choice."""

    def __init__(self, cell: str, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.cell = CELLS[cell](num_features, hidden_size, batch_first=True)
        self.linear = nn.Linear(hidden_size, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, sequences: Tensor) -> Tensor:
        state = torch.zeros(1, sequences.size(0), self.hidden_size)
        is_lstm = isinstance(self.cell, nn.LSTM)
        outputs, _ = self.cell(sequences, (state, torch.zeros_like(state)) if is_lstm else state)
        probabilities: Tensor = self.sigmoid(self.linear(outputs[:, -1, :]))
        return probabilities


def epoch(cell: str, workload: str) -> Callable[[], float]:
    """Return an epoch; it knows sequences of one length only."""
    torch.manual_seed(0)
    sizes = WORKLOADS[workload]
    assert not sizes.varies
    data = sizes.data()
    labels = torch.from_numpy(data.labels).float().unsqueeze(1)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(data.sequences), labels), batch_size=sizes.batch_size, shuffle=True
    )
    model = PublishedClassifier(cell, sizes.num_features, sizes.hidden_size)
    criterion = nn.BCELoss()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)

    def run() -> float:
        model.train()
        total = 0.0
        for batch, batch_labels in loader:
            optimiser.zero_grad()
            loss = criterion(model(batch), batch_labels)
            loss.backward()
            optimiser.step()
            total += loss.item()
        return total / len(loader)

    return run
