"""Answers of compact classifiers from engine numba, whose forward pass takes a fraction of onnxruntime's time."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np

from rnnflow import engines
from rnnflow.classifier import cells, parameters
from rnnflow.classifier.cells.builtin import BuiltinCell
from rnnflow.classifier.predict_split import softmax
from rnnflow.classifier.preparation import SCALING_NAMES, Preparation
from rnnflow.engines.interface import Engine, EngineConfig
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime.array_types import Float32, Int64
from rnnflow.runtime.errors import InputError
from rnnflow.serving import plain_models
from rnnflow.serving.predictor import Predictor

AnsweredBy = Literal["auto", "onnxruntime", "numba"]
ENGINE: Final = "numba"
ENOUGH_BYTES = 2_000_000
"""Of the files, from where on the engine makes up for the twentieth of a second that it takes to load and to be compared."""
TOLERANCE = 1e-5
"""Between probabilities of the two."""
CHUNK_SIZE, BATCH_SIZE = 1024, 64
"""Sequences that are prepared at once, and of those the ones that are computed at once: each the fastest of 64 to 1,024."""
NUM_COMPARED, MAX_STEPS_COMPARED = 16, 200


def predictor_for(path: Path, num_threads: int, answered_by: AnsweredBy, num_bytes: int) -> Predictor:
    """Return the predictor that is asked for; for `auto`, the faster one for so many bytes of files.

    Raises:
        InputError: the file cannot be read, or the engine that was asked for cannot answer.
    """
    if answered_by == "onnxruntime" or (answered_by == "auto" and num_bytes < ENOUGH_BYTES):
        return Predictor(path, num_threads)
    try:
        if answered_by == "auto" and not engines.is_warm(ENGINE):  # it would compile for half a minute
            return Predictor(path, num_threads)
        return CompiledPredictor(path, num_threads)
    except InputError:
        if answered_by != "auto":
            raise
        return Predictor(path, num_threads)


class CompiledPredictor(Predictor):
    """A predictor whose answers come from the weights of the ONNX file, run by engine numba.

    They are held against onnxruntime's when the file is loaded. The arguments are those of `Predictor`.

    Raises:
        InputError: the file cannot be read, holds what the engine does not compute, or answers otherwise there; or the
            engine is not installed.
    """

    engine = f"engine {ENGINE}"
    chunk_size = CHUNK_SIZE

    def __init__(self, path: Path | str, num_threads: int = 1) -> None:
        super().__init__(path, num_threads)
        params = ModelParams.model_validate(self.metadata["model"]) if self.metadata["model"] else None
        obstacle = _obstacle(params) if params else "parameters: it does not say them"
        if obstacle or not params:
            raise InputError(f"{path}: engine {ENGINE} does not answer for this model: {obstacle}; use onnxruntime")
        num_features, num_classes = len(self.features), len(self.classes)
        self._preparation, self._weights = _read(Path(path), params, num_features, num_classes)
        recipe = TrainParams(engine=ENGINE, batch_size=BATCH_SIZE)
        self._config = EngineConfig(params, recipe, num_features, num_classes, np.ones(num_classes))
        self._own = threading.local()
        difference = self._largest_difference()
        if not difference <= TOLERANCE:
            raise InputError(
                f"{path}: the probabilities of engine {ENGINE} differ from onnxruntime's by {difference:.1e}, expected up "
                f"to {TOLERANCE:g}; use onnxruntime"
            )

    def run(
        self, sequences: Float32[np.ndarray, "batch time feature"], lengths: Int64[np.ndarray, " batch"]
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the probabilities of padded sequences, in one compiled call."""
        num_steps = sequences.shape[1]
        if not len(lengths) or lengths.min() < 1 or lengths.max() > num_steps:  # onnxruntime knows what to say
            return super().run(sequences, lengths)
        valid = None if lengths.min() == num_steps else lengths
        probabilities = softmax(self._own_engine().logits(*self._preparation(sequences, valid)))
        if self.refuses_missing:
            probabilities[self._preparation.refused(sequences, valid)[:, 0]] = np.nan
        return probabilities

    def _own_engine(self) -> Engine:
        """Return the engine of this thread: each computes in memory of its own."""
        if not hasattr(self._own, "engine"):
            self._own.engine = engines.create(self._config, self._weights, "cpu")
        return cast(Engine, self._own.engine)

    def _largest_difference(self) -> float:
        """Return how far the probabilities are from onnxruntime's, for sequences like those of the train split."""
        rng = np.random.default_rng(0)
        num_steps = min(self.metadata["lengths"][1], MAX_STEPS_COMPARED)
        center, std = self._preparation.typical_values()
        noise = rng.standard_normal((NUM_COMPARED, num_steps, len(center)), dtype=np.float32)
        lengths = rng.integers(1, num_steps + 1, NUM_COMPARED)
        lengths[0] = num_steps
        ours, theirs = (run(noise * std + center, lengths) for run in (self.run, super().run))
        return float(np.abs(ours - theirs).max())


def _obstacle(params: ModelParams) -> str | None:
    """Return what of a model cannot be taken out of its graph or computed by the engine; none if all can."""
    if params.cell not in ("rnn", "lstm", "gru"):
        return f"cell: {params.cell}, expected rnn, lstm or gru"
    return plain_models.obstacle(params, "global, sequence or none")


def _read(
    path: Path, params: ModelParams, num_features: int, num_classes: int
) -> tuple[Preparation, Float32[np.ndarray, " parameter"]]:
    """Return the preparation and the flat vector of weights of a file.

    Raises:
        InputError: what reads ONNX files is not installed.
    """
    try:
        of = plain_models.constants(path)
    except ModuleNotFoundError:
        raise InputError(f"engine {ENGINE} cannot read {path}: onnx is not installed; use onnxruntime") from None
    preparation = Preparation(params, num_features)
    if params.scalings[0] != "sequence":
        preparation.restore(dict(zip(SCALING_NAMES, (of["Sub"][0][0], of["Mul"][0][0]), strict=True)))
    cell = cast(BuiltinCell, cells.load(params.cell))
    in_order = [
        _in_order(cell, array)
        for arrays in of[cell.onnx_operator]
        for direction in zip(*arrays[:2], *np.split(arrays[2], 2, axis=1), strict=True)
        for array in direction
    ]
    (head,) = of["Gemm"]
    shapes = parameters.shapes(params, num_features, num_classes).values()
    weights = [array.reshape(shape) for array, shape in zip([*in_order, *head], shapes, strict=True)]
    return preparation, np.concatenate([array.ravel() for array in weights])


def _in_order(cell: BuiltinCell, array: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Return weights or biases with the gates in PyTorch's order."""
    gates: Sequence[np.ndarray] = np.split(array, len(cell.gates))
    return np.concatenate([gates[cell.onnx_gates.index(gate)] for gate in cell.gates])
