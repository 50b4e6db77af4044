"""The real data sets of `examples/`: their params, their sequences, and fits of one classifier."""

import contextlib
import io
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnflow.classifier.predict_split import log_loss_and_accuracy
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.params.whole import Params, load
from rnnflow.runtime.array_types import Int64
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.loop import Training
from stages.generate import generate

FOLDER = Path(__file__).resolve().parents[1] / "examples"
DEFAULTS = "defaults"
NAMES = ("japanese_vowels", "italy_power_demand", "gun_point", "basic_motions", "digits", "spoken_digits")


@dataclass(frozen=True)
class Recipe:
    """How one classifier is trained."""

    train: TrainParams
    model: ModelParams


@dataclass(frozen=True)
class Fit:
    """What one training came to on sequences that it had not seen."""

    accuracy: float
    log_loss: float
    num_parameters: int
    cpu_seconds: float


def params(name: str) -> Params:
    """Return `examples/<name>.yaml`."""
    return load(FOLDER / f"{name}.yaml")


def recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of an example with changes, named `train.epochs` or `model.hidden_size`."""
    found = params(name)
    sections = {"train": found.train.model_dump(), "model": next(iter(found.models.values())).model_dump()}
    for key, value in (changes or {}).items():
        section, _, entry = key.partition(".")
        sections[section][entry] = value
    return Recipe(TrainParams(**sections["train"]), ModelParams(**sections["model"]))


def changes(name: str) -> dict[str, Any]:
    """Return what the recipe of an example has beyond the defaults."""
    own, default = (_flat(recipe(each)) for each in (name, DEFAULTS))
    return {key: value for key, value in own.items() if value != default[key]}


def _flat(found: Recipe) -> dict[str, Any]:
    sections = {"train": found.train.model_dump(), "model": found.model.model_dump()}
    return {f"{section}.{name}": value for section, content in sections.items() for name, value in content.items()}


@contextlib.contextmanager
def sequences(name: str) -> Iterator[Path]:
    """Yield the folder of the data set, one folder a split."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        with contextlib.redirect_stdout(io.StringIO()):
            generate(params(name).generate, Path(folder), Path(folder), {}, Path(folder) / "report")
        yield Path(folder)


def training_part(folder: Path) -> SequenceDataset:
    """Return train and validation split together; the test split is not looked at."""
    train = dataset.load(folder / "train")
    return dataset.joined(train, dataset.load(folder / "validation", train.classes, train.features))


def subset(split: SequenceDataset, indices: Int64[np.ndarray, " chosen"]) -> SequenceDataset:
    """Return some sequences of a split."""
    parts = [split.values[split.offsets[index] : split.offsets[index + 1]] for index in indices]
    offsets = np.concatenate(([0], np.cumsum(split.lengths[indices])))
    return SequenceDataset(np.concatenate(parts), offsets, split.labels[indices], split.features, split.classes)


def fit(train: SequenceDataset, unseen: SequenceDataset, how: Recipe) -> Fit:
    """Train on all of `train`, for as many epochs as the recipe says, and judge by `unseen`."""
    start = time.process_time()
    training = Training(train, None, how.model, how.train)
    training.run()
    cpu_seconds = time.process_time() - start
    loss, accuracy = log_loss_and_accuracy(unseen.labels, training.predict(unseen))
    return Fit(accuracy, loss, len(training.weights), cpu_seconds)


def named(names: Sequence[str]) -> list[str]:
    """Return the examples of these names, or all.

    Raises:
        ValueError: there is none of that name.
    """
    if unknown := sorted(set(names) - set(NAMES)):
        raise ValueError(f"no example {unknown[0]!r}, there are {', '.join(NAMES)}")
    return list(names or NAMES)
