"""The training loop: epochs, schedule, validation, early stopping, and a resume that changes no bit."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rnnflow import scaling
from rnnflow.augmentation import augmented
from rnnflow.batches import buckets, pad
from rnnflow.dataset import SequenceDataset, refuse_missing
from rnnflow.errors import InputError
from rnnflow.evaluation import log_loss_and_accuracy, predict
from rnnflow.model import SequenceClassifier
from rnnflow.outputs import complete_file
from rnnflow.params import ModelParams, TrainParams
from rnnflow.sampling import epoch_order
from rnnflow.schedule import one_cycle
from rnnflow.torch_engine import Batch, TorchEngine

VALIDATION_BATCH_SIZE = 256


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to; losses are mean cross-entropies, NaN where there is no validation."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float


class Training:
    """A classifier in training.

    Args:
        train, validation: the splits, with the same classes and features; without validation nothing stops it early.
        model_params: the architecture.
        train_params: the recipe.
        device: `cpu` or `cuda`.
        last_epoch: where to end on the way of `epochs`; none goes all the way.

    Raises:
        InputError: a value is missing and the model refuses such data.
    """

    def __init__(
        self,
        train: SequenceDataset,
        validation: SequenceDataset | None,
        model_params: ModelParams,
        train_params: TrainParams,
        device: str = "cpu",
        last_epoch: int | None = None,
    ) -> None:
        if model_params.missing == "refuse":
            refuse_missing(train, "train")
            if validation is not None:
                refuse_missing(validation, "validation")
        torch.set_num_threads(train_params.num_threads)
        torch.manual_seed(train_params.seed)
        self.train = train
        self.validation = validation
        self.params = train_params
        self.last_epoch = last_epoch or train_params.epochs
        self.patience = None if validation is None else train_params.early_stopping_patience
        self.device = torch.device(device)
        self.order = np.random.default_rng(train_params.seed)
        model = SequenceClassifier(model_params, len(train.features), len(train.classes))
        scaling.fit(model.preparation, train)
        self.model = model.to(self.device)
        self.engine = TorchEngine(self.model, train_params, self._class_weights())
        self.best_weights = self.engine.weights.clone()
        self.history: list[Epoch] = []
        num_batches = -(-len(train) // train_params.batch_size)
        self.num_steps = train_params.epochs * num_batches

    def run(self, resume: Path | None = None, on_epoch: Callable[[Epoch], None] = lambda _: None) -> SequenceClassifier:
        """Train to the end and return the model.

        Args:
            resume: file that keeps the whole state after each epoch. Where it exists, training goes on
                from it, and ends with the same bytes as if it had never stopped.
            on_epoch: is called after each epoch, those from before a resume included.

        Raises:
            InputError: the loss is no longer a finite number.
        """
        if resume is not None and resume.exists():
            self._load(resume)
        for epoch in self.history:
            on_epoch(epoch)
        while not self.is_finished:
            epoch = self._run_epoch()
            if resume is not None:
                self._save(resume)
            on_epoch(epoch)
        if self.patience is not None:
            self.engine.weights.copy_(self.best_weights)
        return self.model.eval()

    @property
    def is_finished(self) -> bool:
        has_stalled = self.patience is not None and len(self.history) - self.best_epoch >= self.patience
        return len(self.history) >= self.last_epoch or has_stalled

    @property
    def chosen_epoch(self) -> int:
        """Number of the epoch whose weights a finished training returns, from 1."""
        return len(self.history) if self.patience is None else self.best_epoch

    @property
    def best_epoch(self) -> int:
        """Number of the first epoch with the lowest validation loss, from 1; 0 before the first."""
        losses = [epoch.validation_loss for epoch in self.history]
        return 1 + losses.index(min(losses)) if losses else 0

    def _run_epoch(self) -> Epoch:
        train_loss, learning_rate = self.train_epoch()
        if not np.isfinite(train_loss):
            raise InputError(
                f"training: the loss is {train_loss} in epoch {len(self.history) + 1}; "
                "lower train.learning_rate or look for extreme values in the data"
            )
        epoch = Epoch(train_loss, *self._validate(), learning_rate)
        self.history.append(epoch)
        if self.best_epoch == len(self.history):
            self.best_weights.copy_(self.engine.weights)
        return epoch

    def _validate(self) -> tuple[float, float]:
        """Loss and accuracy on the validation split."""
        if self.validation is None:
            return np.nan, np.nan
        probabilities = predict(self.model, self.validation, VALIDATION_BATCH_SIZE)
        return log_loss_and_accuracy(self.validation.labels, probabilities)

    def train_epoch(self) -> tuple[float, float]:
        """Take the steps of the next epoch and return its mean loss and the last learning rate."""
        self.model.train()
        step = len(self.history) * (self.num_steps // self.params.epochs)
        losses, sizes = [], []
        learning_rate = 0.0
        for batch in self._batches():
            losses.append(self.engine.loss_and_grad(batch))
            sizes.append(len(batch.labels))
            learning_rate = one_cycle(step, self.num_steps, self.params.learning_rate)
            self.engine.step(learning_rate)
            step += 1
        train_loss = float(np.average(torch.stack(losses).cpu().numpy().astype(np.float64), weights=sizes))
        return train_loss, learning_rate

    def _batches(self) -> Iterator[Batch]:
        """Yield the sequences of an epoch, in an order drawn for it."""
        preparation = self.model.preparation
        lengths = self.train.lengths
        size = self.params.batch_size
        for bucket in buckets(epoch_order(self.order, self.train.labels, self.params.sampling), lengths, size):
            is_ragged = lengths[bucket[0]] != lengths[bucket[-1]]
            labels = torch.from_numpy(self.train.labels[bucket]).to(self.device)
            raw_lengths = torch.from_numpy(lengths[bucket]).to(self.device) if is_ragged else None
            sequences = torch.from_numpy(pad(self.train.values, self.train.offsets, bucket)).to(self.device)
            prepared, on_device = self.model.prepare(sequences, raw_lengths)
            num_steps = preparation.num_steps(lengths[bucket])
            starts = range(0, len(bucket), size)
            for start in self.order.permutation(starts) if is_ragged else starts:
                rows = slice(start, start + size)
                shortest, longest = num_steps[rows][[0, -1]]
                in_batch = on_device[rows] if on_device is not None and shortest != longest else None
                yield Batch(
                    *augmented(prepared[rows, :longest], in_batch, self.params, preparation.num_scaled), labels[rows]
                )

    def _class_weights(self) -> Tensor | None:
        if self.params.class_weights == "none":
            return None
        counts = np.array(self.train.class_counts)
        return torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32, device=self.device)

    def _save(self, path: Path) -> None:
        tensors = {name: tensor.cpu() for name, tensor in self.engine.state().items()}
        tensors |= {"best_weights": self.best_weights.cpu(), "torch_rng": torch.get_rng_state()}
        if self.device.type == "cuda":
            tensors["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        description = {"history": [asdict(epoch) for epoch in self.history], "order": self.order.bit_generator.state}
        with complete_file(path) as temporary:
            save_file(tensors, temporary, metadata={"rnnflow": json.dumps(description)})

    def _load(self, path: Path) -> None:
        tensors, description = _read_state(path)
        if description is None:
            print(f"{path} is damaged, training starts over", flush=True)
            return
        self.engine.load_state(tensors)
        self.best_weights.copy_(tensors["best_weights"])
        torch.set_rng_state(tensors["torch_rng"])
        if self.device.type == "cuda" and "cuda_rng" in tensors:
            torch.cuda.set_rng_state(tensors["cuda_rng"], self.device)
        self.order.bit_generator.state = description["order"]
        self.history = [Epoch(**epoch) for epoch in description["history"]]


def _read_state(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return a saved state, or no description where the file is damaged."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return tensors, json.loads(file.metadata()["rnnflow"])
    except SafetensorError:
        return {}, None
