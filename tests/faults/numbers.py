"""Numbers that break arithmetic, in data and recipes: trained, evaluated and exported, or refused in one line."""

import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from rnnflow.runtime.errors import EXIT_STATUS
from rnnflow.serving.predictor import Predictor
from stages import evaluate, export, train
from tests import toys
from tests.faults.bad_inputs import called
from tests.faults.fuzz.trials import Tally

Sequences = list[np.ndarray]
NUM_SEQUENCES = 30


def _all(sequences: Sequences, change: Callable[[np.ndarray], object]) -> None:
    for sequence in sequences:
        change(sequence)


def _one_value(number: float) -> Callable[[Sequences, random.Random], None]:
    def change(sequences: Sequences, rng: random.Random) -> None:
        chosen = rng.choice(sequences)
        chosen[rng.randrange(len(chosen)), rng.randrange(2)] = number

    return change


DATA: Mapping[str, Callable[[Sequences, random.Random], object]] = {
    "a constant feature": lambda found, _: _all(found, lambda each: each[:, 1].fill(7)),
    "nothing but constants": lambda found, _: _all(found, lambda each: each.fill(0)),
    "one huge value": _one_value(3e38),
    "one value below all": _one_value(-3e38),
    "huge values": lambda found, _: _all(found, lambda each: np.multiply(each, 1e30, out=each)),
    "values next to nothing": lambda found, _: _all(found, lambda each: np.multiply(each, 1e-40, out=each)),
    "a far offset": lambda found, _: _all(found, lambda each: np.add(each, 1e7, out=each)),
    "a feature that is missing": lambda found, _: _all(found, lambda each: each[:, 0].fill(np.nan)),
    "nothing but missing values": lambda found, _: _all(found, lambda each: each.fill(np.nan)),
    "sequences of one step": lambda found, _: found.__setitem__(slice(None), [each[:1] for each in found]),
    "common values": lambda _, __: None,
}
RECIPES: Mapping[str, dict[str, float]] = {
    "common": {},
    "exploding": {"learning_rate": 1e6},
    "unclipped": {"learning_rate": 1e3, "max_grad_norm": 1e30},
}


def trials(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Take `number` models through the stages that make them."""
    folder.mkdir()
    os.environ["RNNFLOW_STATE"] = str(folder / "state")
    for index in range(number):
        rng = random.Random(f"{seed} {index}")
        what = list(DATA)[index % len(DATA)]
        lost, is_refused = _trial(folder / "work", what, rng)
        yield Tally(what, 1, int(is_refused), [(index, lost)] if lost else [])
        shutil.rmtree(folder / "work")


def _trial(folder: Path, what: str, rng: random.Random) -> tuple[str | None, bool]:
    folder.mkdir()
    model = {
        "cell": rng.choice(("rnn", "lstm", "gru", "mingru")),
        "hidden_size": 4,
        "scaling": rng.choice(("none", "global", "sequence", "compressed")),
        "missing": rng.choice(("zero", "forward_fill", "mask", "refuse")),
        "differences": rng.random() < 0.3,
    }
    engine = "torch" if model["cell"] == "mingru" else rng.choice(("torch", "numba"))
    recipe = RECIPES[rng.choice(list(RECIPES))]
    toys.write_params(folder, train={"epochs": 2, "engine": engine, **recipe}, models={"toy": model})
    for split in ("train", "validation", "test"):
        lengths = [rng.randint(1, 9) for _ in range(NUM_SEQUENCES)]
        sequences = toys.random_sequences(lengths, missing=0, seed=rng.randrange(1000))
        if split == "train" or rng.random() < 0.5:
            DATA[what](sequences, rng)
        labels = [*toys.CLASSES] * (NUM_SEQUENCES // len(toys.CLASSES))
        toys.write_sequences(folder / split / "part-00000.parquet", sequences, labels, id_prefix=split)
    splits = [f"--{split}={folder / split}" for split in ("train", "validation")]
    files = [f"--params={folder}/params.yaml", f"--checkpoint={folder}/checkpoint.safetensors", f"--log={folder}/log"]
    steps = (
        (train.main, ["toy", *files, *splits]),
        (evaluate.main, toys.evaluate_arguments(folder)),
        (export.main, toys.export_arguments(folder)),
    )
    for main, arguments in steps:
        status, said = called(main, arguments)
        if status == EXIT_STATUS and said.splitlines()[-1].startswith("error: ") and "Traceback" not in said:
            return None, True
        if status != 0:
            return f"{model} {recipe} {main.__module__}: {status}: {said[-300:]!r}", False
        for name in ("metrics.json", "calibration.json"):
            if (made := folder / "evaluation" / name).exists():
                shutil.copy(made, folder)
    probabilities = Predictor(folder / "model.onnx").probabilities(toys.random_sequences([1, 5, 9], missing=0))
    is_sound = np.isfinite(probabilities).all() and np.allclose(probabilities.sum(1), 1, atol=1e-5)
    return (None if is_sound else f"{model} {recipe}: probabilities {probabilities.tolist()}"), False
