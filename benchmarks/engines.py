"""The engines side by side: the accuracy they reach over several seeds, and whether it differs."""

import contextlib
import io
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.stats import t

from benchmarks import examples
from benchmarks.measuring import Figure, command, table
from rnnflow.params.models import ModelParams
from rnnflow.params.train import Engine, TrainParams
from rnnflow.params.whole import Params, load
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.loop import Training
from stages.generate import generate

NUM_SEEDS = 5
ROOT = Path(__file__).resolve().parents[1]


def splits(settings: Params) -> tuple[SequenceDataset, SequenceDataset]:
    """Return all that may be learnt from, and the test split."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        with contextlib.redirect_stderr(io.StringIO()):
            generate(settings.generate, folder, folder, {}, folder / "report")
        train = dataset.load(folder / "train")
        return train, dataset.load(folder / "test", train.classes, train.features)


def accuracy(engine: Engine, seed: int, model: ModelParams, recipe: TrainParams, *data: SequenceDataset) -> float:
    """Return the accuracy of one training."""
    train, test = data
    changes = {"engine": engine, "seed": seed, "final_fit": False}
    training = Training(train, None, model, TrainParams(**recipe.model_dump() | changes))
    training.run()
    return float((training.predict(test).argmax(1) == test.labels).mean())


def measure(out: Console) -> list[Figure]:
    """Print mean and deviation of each engine and return whether their difference is within its 95 % interval."""
    rows = table(f"Accuracy, {NUM_SEEDS} seeds of each engine", "task", *get_args(Engine), "difference", "95 % of it")
    figures = []
    settings = {"sum_sign": load(ROOT / "params.yaml"), "JapaneseVowels": examples.params("japanese_vowels")}
    tasks = [(f"{name}, {model}", each, each.models[model]) for name, each in settings.items() for model in each.models]
    for name, each, model in track(tasks, "tasks", console=Console(stderr=True)):
        data = splits(each)
        found = {
            engine: np.array([accuracy(engine, seed, model, each.train, *data) for seed in range(NUM_SEEDS)])
            for engine in get_args(Engine)
        }
        first, second = found.values()
        difference = first.mean() - second.mean()
        spread = np.sqrt(first.var(ddof=1) / NUM_SEEDS + second.var(ddof=1) / NUM_SEEDS)
        interval = float(t.ppf(0.975, 2 * NUM_SEEDS - 2) * spread)
        texts = [f"{values.mean():.4f} ± {values.std(ddof=1):.4f}" for values in found.values()]
        rows.add_row(name, *texts, f"{difference:+.4f}", f"± {interval:.4f}")
        is_reached = abs(difference) <= interval
        figures.append(
            Figure(f"engines, {name}: difference", f"within {interval:.4f}", f"{difference:+.4f}", is_reached)
        )
    out.print(rows)
    return figures


if __name__ == "__main__":
    command(measure)
