"""The published example as a script of its own, its label mended, with the model saved at the end.

python -m benchmarks.peers.published_script lstm model.pt
"""

import sys

import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

NUM_SEQUENCES, LENGTH, NUM_FEATURES = 1000, 10, 1
HIDDEN_SIZE, BATCH_SIZE, NUM_EPOCHS = 32, 32, 10
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Classifier(nn.Module):
    def __init__(self, cell: str) -> None:
        super().__init__()
        self.cell = CELLS[cell](NUM_FEATURES, HIDDEN_SIZE, batch_first=True)
        self.linear = nn.Linear(HIDDEN_SIZE, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, sequences: Tensor) -> Tensor:
        state = torch.zeros(1, sequences.size(0), HIDDEN_SIZE)
        is_lstm = isinstance(self.cell, nn.LSTM)
        outputs, _ = self.cell(sequences, (state, torch.zeros_like(state)) if is_lstm else state)
        probabilities: Tensor = self.sigmoid(self.linear(outputs[:, -1, :]))
        return probabilities


def main() -> None:
    cell, path = sys.argv[1:]
    sequences = torch.randn(NUM_SEQUENCES, LENGTH, NUM_FEATURES)
    labels = (torch.sum(sequences, dim=1) > 0).float()
    loader = DataLoader(TensorDataset(sequences, labels), batch_size=BATCH_SIZE, shuffle=True)
    model = Classifier(cell)
    criterion = nn.BCELoss()
    optimiser = optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(NUM_EPOCHS):
        model.train()
        total = 0.0
        for batch, batch_labels in loader:
            optimiser.zero_grad()
            loss = criterion(model(batch), batch_labels)
            loss.backward()
            optimiser.step()
            total += loss.item()
        print(f"Epoch [{epoch + 1}/{NUM_EPOCHS}], Loss: {total / len(loader):.4f}")
    torch.save(model.state_dict(), path)


if __name__ == "__main__":
    main()
