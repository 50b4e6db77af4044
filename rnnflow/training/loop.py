"""The training loop: epochs, steps, validation, early stopping, and a resume that changes no bit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnflow import engines
from rnnflow.classifier import parameters, safetensors_files
from rnnflow.classifier.predict_split import Probabilities, log_loss_and_accuracy, predict
from rnnflow.classifier.preparation import Preparation
from rnnflow.engines.interface import Engine, EngineConfig
from rnnflow.params.models import ModelParams
from rnnflow.params.section import checked
from rnnflow.params.train import TrainParams
from rnnflow.runtime import processes
from rnnflow.runtime.array_types import Float32
from rnnflow.runtime.errors import InputError, library
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training import fit_preparation, refusals
from rnnflow.training.batching import BatchLoader, class_weights
from rnnflow.training.schedule import one_cycle

VALIDATION_BATCH_SIZE = 256


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch; losses are mean cross-entropies, NaN where there is no validation."""

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
        last_epoch, last_step: stop after this epoch, or step, of the schedule; by default the last one.
        member: of a classifier of several; each draws from a seed of its own.

    Raises:
        InputError: data, model and recipe do not go together (`refusals.py`); the engine is not there or lacks something.
    """

    def __init__(
        self,
        train: SequenceDataset,
        validation: SequenceDataset | None,
        model_params: ModelParams,
        train_params: TrainParams,
        device: str = "cpu",
        last_epoch: int | None = None,
        last_step: int | None = None,
        member: int = 0,
    ) -> None:
        refusals.refuse(train, validation, model_params, train_params)
        self.params = train_params
        self.validation = validation
        self.patience = None if validation is None else train_params.early_stopping_patience
        weights_seed, batches_seed = np.random.SeedSequence(train_params.seed).spawn(2 * (member + 1))[-2:]
        size = len(train.features), len(train.classes)
        self.shapes = parameters.shapes(model_params, *size)
        self.best_weights = parameters.initial(model_params, *size, np.random.default_rng(weights_seed))
        config = EngineConfig(model_params, train_params, *size, class_weights(train.class_counts, train_params))
        self.engine: Engine = engines.create(config, self.best_weights, device)
        self.preparation = Preparation(model_params, len(train.features))
        fit_preparation.fit(self.preparation, train)
        rng = np.random.default_rng(batches_seed)
        self.batches = BatchLoader(train, self.preparation, config, self.engine, rng)
        self.history: list[Epoch] = []
        self.num_steps = train_params.steps or (train_params.epochs or 0) * len(self.batches)
        """Of the schedule; where `steps` are counted, the last epoch may have fewer than the others."""
        self.last_step = min(self.num_steps, last_step or (last_epoch or self.num_steps) * len(self.batches))

    def run(
        self, resume: Path | None = None, on_epoch: Callable[[Epoch], None] = lambda _: None
    ) -> dict[str, Float32[np.ndarray, "..."]]:
        """Train to the end and return the weights and the scaling, by their names in a checkpoint.

        Args:
            resume: file that keeps the whole state after each epoch. Where it exists, training goes on
                from it, and ends with the same bytes as if it had never stopped.
            on_epoch: is called after each epoch, those from before a resume included.

        Raises:
            InputError: the loss is no longer a finite number.
        """
        if state := engines.from_first(lambda: self._saved(resume)):
            self._restore(*state)
        for epoch in self.history:
            on_epoch(epoch)
        while not self.is_finished:
            epoch = self._run_epoch()
            if resume is not None and processes.is_first():
                self._save(resume)
            on_epoch(epoch)
        if self.patience is not None:
            self.engine.load_state({"weights": self.best_weights})
        return self.preparation.arrays() | parameters.views(self.weights, self.shapes)

    @property
    def weights(self) -> Float32[np.ndarray, " parameter"]:
        """All parameters, in PyTorch's order."""
        return self.engine.state()["weights"]

    @property
    def is_finished(self) -> bool:
        has_stalled = self.patience is not None and len(self.history) - self.best_epoch >= self.patience
        return len(self.history) >= self.last_epoch or has_stalled

    @property
    def last_epoch(self) -> int:
        """Number of the epoch after which training ends, if nothing stops it earlier."""
        return -(-self.last_step // len(self.batches))

    @property
    def chosen_epoch(self) -> int:
        """Number of the epoch whose weights a finished training returns, from 1."""
        return len(self.history) if self.patience is None else self.best_epoch

    @property
    def chosen_step(self) -> int:
        """Steps that led to these weights."""
        return min(self.chosen_epoch * len(self.batches), self.last_step)

    @property
    def chosen_end(self) -> dict[str, int]:
        """After how many epochs, or steps, these weights were there: another training, of more data, ends there."""
        if self.params.steps is None:
            return {"last_epoch": self.chosen_epoch}
        return {"last_step": self.chosen_step}

    @property
    def best_epoch(self) -> int:
        """Number of the first epoch with the lowest validation loss, from 1; 0 before the first."""
        losses = [epoch.validation_loss for epoch in self.history]
        return 1 + losses.index(min(losses)) if losses else 0

    def predict(self, split: SequenceDataset) -> Probabilities:
        """Return the probabilities of the classifier as it is now for a split."""
        return predict(self.engine.logits, self.preparation, split, VALIDATION_BATCH_SIZE)

    def _run_epoch(self) -> Epoch:
        train_loss, learning_rate = self.train_epoch()
        loss = train_loss if np.isfinite(self.weights).all() else np.nan  # the last step may have been the one
        self._require_finite(loss, "the loss")
        epoch = Epoch(train_loss, *engines.from_first(self._validate), learning_rate)
        if self.validation is not None:
            self._require_finite(epoch.validation_loss, "the loss on the validation split")
        self.history.append(epoch)
        if self.best_epoch == len(self.history):
            self.best_weights = self.weights.copy()
        return epoch

    def _require_finite(self, loss: float, which: str) -> None:
        if not np.isfinite(loss):
            raise InputError(
                f"training: {which} is {loss} in epoch {len(self.history) + 1}; "
                "lower train.learning_rate or look for extreme values in the data"
            )

    def train_epoch(self) -> tuple[float, float]:
        """Take the steps of the next epoch and return its mean loss and the last learning rate."""
        losses: list[Any] = []
        sizes: list[int] = []
        step = len(self.history) * len(self.batches)
        for whole in self.batches:
            bucket = whole.first(self.last_step - step)
            steps = range(step, step + len(bucket))
            rates = [one_cycle(each, self.num_steps, self.params.learning_rate) for each in steps]
            losses += self.engine.train(bucket, rates)
            sizes += bucket.sizes.tolist()
            step += len(bucket)
            if step == self.last_step:  # of a training that counts steps, within an epoch
                break
        return float(np.average([float(loss) for loss in losses], weights=sizes)), rates[-1]

    def _validate(self) -> tuple[float, float]:
        """Loss and accuracy on the validation split."""
        if self.validation is None:
            return np.nan, np.nan
        return log_loss_and_accuracy(self.validation.labels, self.predict(self.validation))

    def _state(self) -> dict[str, np.ndarray]:
        return {**self.engine.state(), "best_weights": self.best_weights}

    def _save(self, path: Path) -> None:
        description = {
            "history": [vars(epoch) for epoch in self.history],
            "rng": self.batches.rng.bit_generator.state,
        }
        safetensors_files.write(path, self._state(), description)

    def _saved(self, path: Path | None) -> "tuple[dict[str, np.ndarray], _Progress] | None":
        """Return a saved state, or none where there is none that can be used."""
        if path is None or not path.exists():
            return None
        try:
            arrays, description = safetensors_files.read(path)
            return arrays, self._checked(arrays, description, f"{path}: not a state of this training")
        except InputError as error:
            damaged = path.replace(path.with_suffix(".damaged"))  # as evidence, until it is a month old
            print(f"{error}; training starts over, and the file is kept as {damaged.name}", flush=True)
            return None

    def _checked(self, arrays: Mapping[str, np.ndarray], description: object, place: str) -> "_Progress":
        wanted = {name: (array.dtype, array.shape) for name, array in self._state().items()}
        for name in sorted(wanted.keys() | arrays.keys()):
            expected, array = wanted.get(name), arrays.get(name)
            found = None if array is None else (array.dtype, array.shape)
            if found != expected:
                raise InputError(f"{place}: {name!r}: expected {_said(expected)}, got {_said(found)}")
        progress = checked(_Progress, description, place)
        if not 0 < len(progress.history) <= self.last_epoch:
            raise InputError(f"{place}: expected 1 to {self.last_epoch} epochs, got {len(progress.history)}")
        with library(f"{place}: 'rng'"):
            type(self.batches.rng.bit_generator)().state = progress.rng
        return progress

    def _restore(self, arrays: dict[str, np.ndarray], progress: "_Progress") -> None:
        self.engine.load_state(arrays)
        self.best_weights = arrays["best_weights"]
        self.batches.rng.bit_generator.state = progress.rng
        self.history = list(progress.history)


@dataclass(frozen=True)
class _Progress:
    """What a saved state says beside its arrays."""

    history: tuple[Epoch, ...]
    rng: dict[str, Any]


def _said(found: tuple[np.dtype, tuple[int, ...]] | None) -> str:
    return "none" if found is None else f"{found[0]} {list(found[1])}"
