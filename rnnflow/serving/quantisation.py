"""Weights of 8 bits: what they are, and what that costs on the validation split before anything is written."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from rnnflow.classifier.predict_split import log_loss_and_accuracy
from rnnflow.runtime.array_types import Float32, Int8
from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import InputError
from rnnflow.sequences import dataset
from rnnflow.serving import checksum
from rnnflow.serving.predictor import PROPERTIES, Predictor

LARGEST = 127
"""Of a weight; -128 is left out, so that the range is symmetric."""
WEIGHTS = {"RNN": (1, 2), "GRU": (1, 2), "LSTM": (1, 2), "Gemm": (1,)}
"""Which inputs of an operator are matrices of weights, with a row for each output channel."""


@dataclass(frozen=True)
class Limits:
    """What 8 bits may cost on the validation split.

    Attributes:
        accuracy: that may be lost.
        shift: largest difference of a probability.
        names: of these two, for whoever has to change them.
    """

    accuracy: float = 0.01
    shift: float = 0.2
    names: tuple[str, str] = ("--max-loss", "--max-shift")


@dataclass(frozen=True)
class Cost:
    """Accuracy and log loss on the validation split, of 32 and of 8 bits, and the largest difference of a probability."""

    accuracy: tuple[float, float]
    log_loss: tuple[float, float]
    largest_shift: float

    def __str__(self) -> str:
        (before, after), (loss_before, loss_after) = self.accuracy, self.log_loss
        return (
            f"accuracy {before:.4f} -> {after:.4f}, log loss {loss_before:.4f} -> {loss_after:.4f}, "
            f"largest shift of a probability {self.largest_shift:.4f}, on the validation split"
        )


def rounded(
    weights: Float32[np.ndarray, "... row column"],
) -> tuple[Int8[np.ndarray, "..."], Float32[np.ndarray, "..."]]:
    """Return whole numbers of 8 bits, and for each row the factor that they are multiplied by."""
    factors = np.abs(weights).max(-1, keepdims=True) / np.float32(LARGEST)
    numbers = np.round(weights / np.where(factors > 0, factors, 1)).astype(np.int8)
    return numbers, factors


def float_predictor(path: Path) -> Predictor:
    """Return the predictor of a file whose weights have 32 bits.

    Raises:
        InputError: the file cannot be read, or has weights of 8 bits.
    """
    predictor = Predictor(path)
    if predictor.metadata["quantisation"]:
        raise InputError(f"{path}: its weights have 8 bits already; take the file that it was made of")
    return predictor


@contextmanager
def with_rounded_weights(path: Path, validation: Path, limits: Limits) -> Iterator[tuple[Path, Cost]]:
    """Give a file whose weights are those of 8 bits, as floats: it answers as C code does that has them as integers.

    Raises:
        InputError: the file or the split cannot be read, or it costs more than the limits allow.
    """
    predictor, proto = float_predictor(path), onnx.load(path)
    names = {node.input[index] for node in proto.graph.node for index in WEIGHTS.get(node.op_type, ())}
    for constant in proto.graph.initializer:
        if constant.name in names:
            numbers, factors = rounded(numpy_helper.to_array(constant))
            constant.CopyFrom(numpy_helper.from_array((numbers * factors).astype(np.float32), constant.name))
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / path.name
        other.write_bytes(checksum.signed(proto, PROPERTIES))
        yield other, _checked(path, predictor, Predictor(other), validation, limits)


def obstacle(cell: str) -> str | None:
    """Return why a model of this cell has no file of 8 bits; none if it can have one."""
    if cell == "lstm":
        return None
    return f"unsupported: onnxruntime has no operator with weights of 8 bits for cell {cell}, only for lstm"


def quantise(path: Path, output: Path, validation: Path, limits: Limits, place: Path | None = None) -> Cost:
    """Write an LSTM with weights of 8 bits for onnxruntime, which computes its products with 8 bits, too.

    The file's metrics are those of 32 bits; its property `quantisation` has the cost.

    Args:
        path: the file of 32 bits.
        output: is written.
        validation: the split.
        limits: what 8 bits may cost.
        place: of the file of 32 bits, if it is not there yet.

    Raises:
        InputError: onnxruntime has no such operator for the cell, the file or the split cannot be read, or it costs more
            than the limits allow. Nothing is written then.
    """
    predictor = float_predictor(path)
    if reason := obstacle(predictor.metadata["model"]["cell"]):
        raise InputError(f"{path}: {reason}")
    proto = onnx.load(path)
    helper.set_model_props(proto, _PREPROCESSED)
    with tempfile.TemporaryDirectory() as folder, atomic_write(output) as temporary:
        raw = Path(folder) / "int8.onnx"
        quantize_dynamic(proto, raw, op_types_to_quantize=["LSTM"], per_channel=True, weight_type=QuantType.QInt8)
        quantised = onnx.load(raw)
        helper.set_model_props(quantised, predictor.properties)
        temporary.write_bytes(checksum.signed(quantised, PROPERTIES))
        cost = _checked(place or path, predictor, Predictor(temporary), validation, limits)
        helper.set_model_props(
            quantised, predictor.properties | {"quantisation": json.dumps(asdict(cost), sort_keys=True)}
        )
        temporary.write_bytes(checksum.signed(quantised, PROPERTIES))
        return cost


_PREPROCESSED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Or onnxruntime would recommend, as a warning, what the graph does not need: its shapes are known."""


def _checked(path: Path, before: Predictor, after: Predictor, validation: Path, limits: Limits) -> Cost:
    split = dataset.load(validation, before.classes, before.features)
    values = np.asarray(split.values)
    found = [each.flat_probabilities(values, split.offsets) for each in (before, after)]
    (loss, accuracy), (loss_after, accuracy_after) = (log_loss_and_accuracy(split.labels, each) for each in found)
    cost = Cost((accuracy, accuracy_after), (loss, loss_after), float(np.abs(found[0] - found[1]).max()))
    if not (accuracy - accuracy_after <= limits.accuracy and cost.largest_shift <= limits.shift):
        raise InputError(
            f"{path}: weights of 8 bits cost too much: {cost}; allowed are {limits.accuracy:g} of accuracy "
            f"({limits.names[0]}) and a shift of {limits.shift:g} ({limits.names[1]}); nothing was written"
        )
    return cost
