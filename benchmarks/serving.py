"""Export to ONNX, and answers from onnxruntime against eager PyTorch with the same weights."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.measuring import Figure, Quartiles, alternated, command, table
from benchmarks.peers.workloads import CELLS
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.export.graph import build, serialise
from rnnflow.params.models import Cell, ModelParams
from rnnflow.serving.compiled import CompiledPredictor
from rnnflow.serving.predictor import METADATA_VERSION, Predictor

LENGTH, LARGE_BATCH = 10, 1024
CALLS_PER_ROUND, NUM_ROUNDS = 200, 40
SAID: dict[str, Any] = {
    "name": "toy",
    "model": None,
    "features": ["value"],
    "classes": ["negative", "positive"],
    "lengths": [LENGTH] * 3,
    "num_parameters": 0,
    "md5": {},
    "metrics": {},
    "rnnflow": int(METADATA_VERSION),
}
PROPERTIES = {name: json.dumps(value) for name, value in SAID.items()}
TARGET_EXPORT_MS = 20.0
TARGET_RATIO = 5.0
TARGET_RATIO_OF_MANY = 1.5

Milliseconds = dict[str, Quartiles]


def times_of(cell: Cell, folder: Path) -> tuple[Milliseconds, np.ndarray, np.ndarray]:
    """Return milliseconds of an export and of answers, and how many times PyTorch takes longer for one and for many."""
    torch.manual_seed(0)
    model = SequenceClassifier(ModelParams(cell=cell), num_features=1, num_classes=2).eval()
    path = folder / f"{cell}.onnx"
    path.write_bytes(export(model))
    predictor, compiled = Predictor(path), CompiledPredictor(path)
    single, many = (np.random.default_rng(0).standard_normal((n, LENGTH, 1), np.float32) for n in (1, LARGE_BATCH))
    offsets = np.arange(LARGE_BATCH + 1) * LENGTH
    length = np.array([LENGTH])
    assert np.allclose(eager(model, many), predictor.flat_probabilities(many.reshape(-1, 1), offsets), atol=1e-5)
    one = alternated(
        {
            "eager, 1": repeated(lambda: eager(model, single)),
            "onnx, 1": repeated(lambda: predictor.run(single, length)),
        },
        NUM_ROUNDS,
    )
    rest = alternated(
        {
            "export": lambda: export(model),
            "eager, many": lambda: eager(model, many),
            "onnx, many": lambda: predictor.flat_probabilities(many.reshape(-1, 1), offsets),
            "numba, many": lambda: compiled.flat_probabilities(many.reshape(-1, 1), offsets),
        },
        NUM_ROUNDS,
    )
    milliseconds = {name: Quartiles.of(1e3 * values / CALLS_PER_ROUND) for name, values in one.items()}
    milliseconds |= {name: Quartiles.of(1e3 * values) for name, values in rest.items()}
    return milliseconds, one["eager, 1"] / one["onnx, 1"], rest["eager, many"] / rest["numba, many"]


def export(model: SequenceClassifier) -> bytes:
    """Return the ONNX file of a model whose weights are loaded, checked by onnx as the stage's is."""
    return serialise(build(model, PROPERTIES | {"model": model.params.model_dump_json()}))


@torch.inference_mode()
def eager(model: SequenceClassifier, sequences: np.ndarray) -> np.ndarray:
    """Return PyTorch's probabilities, array in and array out as from onnxruntime."""
    probabilities: np.ndarray = model(sequences, None).softmax(1).numpy()
    return probabilities


def repeated(function: Callable[[], object]) -> Callable[[], None]:
    """Return so many calls of `function` that the clock can time them."""

    def calls() -> None:
        for _ in range(CALLS_PER_ROUND):
            function()

    return calls


def measure(out: Console) -> list[Figure]:
    """Print export time, latency and throughput for each cell and return those with a target."""
    torch.set_num_threads(1)
    answers = table(
        f"Export and answers: hidden 32, length {LENGTH}, one thread",
        "cell", "export ms", "eager µs, 1", "onnx µs, 1", "eager / onnx", f"eager ms, {LARGE_BATCH:,}", f"onnx ms, {LARGE_BATCH:,}", f"numba ms, {LARGE_BATCH:,}", "eager / numba",
    )  # fmt: skip
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for cell in CELLS:
            times, ratios, ratios_of_many = times_of(cell, Path(name))
            ratio, ratio_of_many = Quartiles.of(ratios), Quartiles.of(ratios_of_many)
            micro = {key: f"{1e3 * times[key].median:.1f}" for key in ("eager, 1", "onnx, 1")}
            answers.add_row(
                cell, times["export"].text(1), micro["eager, 1"], micro["onnx, 1"], ratio.text(1),
                times["eager, many"].text(2), times["onnx, many"].text(2),
                times["numba, many"].text(2), ratio_of_many.text(2),
            )  # fmt: skip
            export_ms, speed, speed_of_many = times["export"].median, ratio.median, ratio_of_many.median
            figures += [
                Figure(f"export, {cell}: ms", f"<= {TARGET_EXPORT_MS:.0f}", f"{export_ms:.1f}", export_ms <= TARGET_EXPORT_MS),
                Figure(f"answer to one, {cell}: eager's time / onnx's", f">= {TARGET_RATIO:.0f}", f"{speed:.1f}", speed >= TARGET_RATIO),
                Figure(f"answers to {LARGE_BATCH:,}, {cell}: eager's time / engine numba's", f">= {TARGET_RATIO_OF_MANY}", f"{speed_of_many:.1f}", speed_of_many >= TARGET_RATIO_OF_MANY),
            ]  # fmt: skip
    out.print(answers)
    return figures


if __name__ == "__main__":
    command(measure)
