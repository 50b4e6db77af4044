"""Eager PyTorch with nothing around it: slices of one permutation, fused AdamW, no DataLoader."""

from collections.abc import Callable

import torch
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from benchmarks.peers.classifier import Classifier
from benchmarks.peers.workloads import LEARNING_RATE, MAX_GRAD_NORM, WEIGHT_DECAY, WORKLOADS


def epoch(cell: str, workload: str, packs: bool = False, compiles: bool = False) -> Callable[[], float]:
    """Return an epoch; a batch of several lengths is cut to its longest. `compiles`: the model by `torch.compile`."""
    torch.manual_seed(0)
    sizes = WORKLOADS[workload]
    data = sizes.data()
    all_sequences, all_lengths, all_labels = map(torch.from_numpy, (data.sequences, data.lengths, data.labels))
    model = Classifier(cell, sizes, packs)
    parameters = list(model.parameters())
    forward = torch.compile(model, dynamic=False) if compiles else model
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)

    def run() -> float:
        order = torch.randperm(sizes.num_sequences)
        sequences, lengths, labels = all_sequences[order], all_lengths[order], all_labels[order]
        losses = []
        for start in range(0, sizes.num_sequences, sizes.batch_size):
            rows = slice(start, start + sizes.batch_size)
            if sizes.varies:
                logits = forward(sequences[rows, : lengths[rows].max()], lengths[rows])
            else:
                logits = forward(sequences[rows])
            loss = functional.cross_entropy(logits, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            clip_grad_norm_(parameters, MAX_GRAD_NORM)
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    return run


def compiled(cell: str, workload: str) -> Callable[[], float]:
    """Return an epoch of the model that `torch.compile` has made, which takes up to a minute."""
    return epoch(cell, workload, compiles=True)
