"""What rnnflow does of the same; the only module here that runs in the project's own environment."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import serving
from benchmarks.peers.workloads import NUM_CLASSES, WORKLOADS
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.serving.compiled import CompiledPredictor
from rnnflow.serving.predictor import Predictor
from rnnflow.training.loop import Training

ENGINES = ("torch", "numba")
"""Of training; peers are held against the last."""
MANY_EPOCHS = 10_000


def training(cell: str, workload: str, engine: str, epochs: int = MANY_EPOCHS) -> Training:
    """Return a training as the stage runs it, without validation."""
    sizes = WORKLOADS[workload]
    data = sizes.data()
    values = data.sequences[np.arange(sizes.length) < data.lengths[:, None]]
    offsets = np.concatenate(([0], data.lengths.cumsum()))
    features = tuple(f"feature_{index}" for index in range(sizes.num_features))
    split = SequenceDataset(values, offsets, data.labels, features, ("negative", "positive"))
    recipe = TrainParams.model_validate({"engine": engine, "epochs": epochs, "batch_size": sizes.batch_size})
    names = ("hidden_size", "num_layers", "bidirectional", "pooling")
    architecture = ModelParams.model_validate({"cell": cell, **{name: getattr(sizes, name) for name in names}})
    return Training(split, None, architecture, recipe)


def epoch(cell: str, workload: str, engine: str) -> Callable[[], object]:
    """Return an epoch of `Training`."""
    return training(cell, workload, engine).train_epoch


def batches(workload: str, engine: str) -> Callable[[], None]:
    """Return an epoch's batches, scaled and as the engine takes them."""
    prepared = training("rnn", workload, engine)

    def run() -> None:
        for bucket in prepared.batches:
            for _ in bucket:
                pass

    return run


def load(folder: str) -> Callable[[], object]:
    """Return a reading of Parquet files, checked for nulls, empty, ragged and infinite sequences."""

    def run() -> object:
        split = dataset.load(Path(folder))
        return split.values, split.labels.astype(np.int64)  # as losses take them

    return run


def answers(cell: str, workload: str, batch_size: str, num_calls: str, engine: str) -> Callable[[], None]:
    """Return so many calls through a predictor, by onnxruntime or engine numba, on the first sequences of a workload."""
    sizes = WORKLOADS[workload]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(serving.export(_model(cell, workload)))
        predictor = (Predictor if engine == "onnxruntime" else CompiledPredictor)(path)
    sequences = sizes.data().sequences[: int(batch_size)]
    offsets = np.arange(len(sequences) + 1) * sizes.length
    lengths = np.diff(offsets)
    values = sequences.reshape(-1, sizes.num_features)

    def run() -> None:
        for _ in range(int(num_calls)):
            if len(sequences) == 1:
                predictor.run(sequences, lengths)
            else:
                predictor.flat_probabilities(values, offsets)

    return run


def exporter(cell: str, workload: str) -> Callable[[], object]:
    """Return an export of a model to the bytes of its ONNX file, checked by onnx as the stage's is."""
    model = _model(cell, workload)
    return lambda: serving.export(model)


def _model(cell: str, workload: str) -> SequenceClassifier:
    architecture = ModelParams.model_validate({"cell": cell, "hidden_size": WORKLOADS[workload].hidden_size})
    return SequenceClassifier(architecture, WORKLOADS[workload].num_features, NUM_CLASSES).eval()
