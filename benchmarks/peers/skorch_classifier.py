"""skorch's NeuralNetClassifier on arrays, with nothing printed and no validation split."""

from collections.abc import Callable

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import GradientNormClipping
from torch import nn

from benchmarks.peers.classifier import Classifier
from benchmarks.peers.workloads import LEARNING_RATE, MAX_GRAD_NORM, WEIGHT_DECAY, WORKLOADS


def epoch(cell: str, workload: str) -> Callable[[], object]:
    """Return an epoch; sequences of several lengths are packed."""
    torch.manual_seed(0)
    sizes = WORKLOADS[workload]
    data = sizes.data()
    inputs = {"sequences": data.sequences} | ({"lengths": data.lengths} if sizes.varies else {})
    net = NeuralNetClassifier(
        Classifier,
        module__cell=cell,
        module__workload=sizes,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=WEIGHT_DECAY,
        lr=LEARNING_RATE,
        max_epochs=1,
        batch_size=sizes.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[GradientNormClipping(MAX_GRAD_NORM)],
        verbose=0,
    ).initialize()
    return lambda: net.partial_fit(inputs, data.labels)
