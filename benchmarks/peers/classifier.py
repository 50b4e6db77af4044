"""The classifier in plain PyTorch that most peers train."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.peers.workloads import NUM_CLASSES, Workload

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Classifier(nn.Module):
    """Recurrent layers and a linear one over the state at each sequence's end, or over the maximum of all steps.

    Args:
        packs: whether sequences of several lengths are packed, or padded and each one's last step picked out.
    """

    def __init__(self, cell: str, workload: Workload, packs: bool = True) -> None:
        super().__init__()
        sizes = workload.num_features, workload.hidden_size, workload.num_layers
        self.cell = CELLS[cell](*sizes, batch_first=True, bidirectional=workload.bidirectional)
        self.head = nn.Linear(workload.hidden_size * (2 if workload.bidirectional else 1), NUM_CLASSES)
        self.pooling = workload.pooling
        self.packs = packs

    def forward(self, sequences: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None and self.packs:
            _, state = self.cell(pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False))
            final = state[0][-1] if isinstance(state, tuple) else state[-1]
        else:
            outputs, _ = self.cell(sequences)
            if self.pooling == "max":  # of workloads with one length
                outputs = outputs.amax(1, keepdim=True)
            final = outputs[:, -1] if lengths is None else outputs[torch.arange(len(lengths)), lengths - 1]
        logits: Tensor = self.head(final)
        return logits
