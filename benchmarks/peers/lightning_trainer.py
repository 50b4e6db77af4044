"""Lightning's Trainer over a DataLoader, without logger, checkpoints, progress bar and summary."""

from collections.abc import Callable

import lightning
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.classifier import Classifier
from benchmarks.peers.pausing import one_at_a_time
from benchmarks.peers.workloads import LEARNING_RATE, MAX_GRAD_NORM, WEIGHT_DECAY, WORKLOADS


class Module(lightning.LightningModule):
    """The classifier with its loss and optimiser."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        *inputs, labels = batch
        return functional.cross_entropy(self.model(*inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)


class Pause(lightning.Callback):
    """Waits at the end of each epoch."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self.pause = pause

    def on_train_epoch_end(self, *_: object) -> None:
        self.pause()


def epoch(cell: str, workload: str) -> Callable[[], None]:
    """Return an epoch; sequences of several lengths are packed."""
    torch.manual_seed(0)
    sizes = WORKLOADS[workload]
    data = sizes.data()
    arrays = (data.sequences, *([data.lengths] if sizes.varies else []), data.labels)
    loader = DataLoader(TensorDataset(*map(torch.from_numpy, arrays)), batch_size=sizes.batch_size, shuffle=True)
    module = Module(Classifier(cell, sizes))

    def fit(pause: Callable[[], None]) -> None:
        trainer = lightning.Trainer(
            max_epochs=-1,
            accelerator="cpu",
            devices=1,
            gradient_clip_val=MAX_GRAD_NORM,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Pause(pause)],
        )
        trainer.fit(module, loader)

    return one_at_a_time(fit)
