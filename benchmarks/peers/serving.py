"""Answers of eager PyTorch, and the two exporters to ONNX that come with it."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.classifier import Classifier
from benchmarks.peers.workloads import WORKLOADS


def answers(cell: str, workload: str, batch_size: str, num_calls: str) -> Callable[[], None]:
    """Return so many calls on the first sequences of a workload, array in and array out."""
    model, sequences = _model(cell, workload), WORKLOADS[workload].data().sequences[: int(batch_size)]

    @torch.inference_mode()
    def run() -> None:
        for _ in range(int(num_calls)):
            probabilities: np.ndarray = model(torch.from_numpy(sequences)).softmax(1).numpy()
        assert len(probabilities) == len(sequences)

    return run


def exporter(cell: str, workload: str, kind: str) -> Callable[[], None]:
    """Return an export to a file with batch and time left open, by the exporter `dynamo` or `torchscript`."""
    model, sequences = _model(cell, workload), torch.from_numpy(WORKLOADS[workload].data().sequences[:2])
    auto = torch.export.Dim.AUTO
    options: dict[str, Any] = {
        "dynamo": {"dynamo": True, "dynamic_shapes": ({0: auto, 1: auto},), "verbose": False},
        "torchscript": {"dynamo": False, "dynamic_axes": {"sequences": {0: "batch", 1: "time"}}},
    }[kind]

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / "model.onnx"
            torch.onnx.export(model, (sequences,), str(path), input_names=["sequences"], **options)
            assert path.stat().st_size

    return run


def _model(cell: str, workload: str) -> Classifier:
    torch.manual_seed(0)
    return Classifier(cell, WORKLOADS[workload]).eval()
