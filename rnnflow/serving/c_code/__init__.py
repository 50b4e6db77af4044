"""A classifier as C99: a header, a source file and a test program, from its ONNX file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from rnnflow.classifier import cells
from rnnflow.classifier.cells.builtin import BuiltinCell
from rnnflow.params.models import ModelParams
from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import InputError
from rnnflow.serving import plain_models
from rnnflow.serving.c_code.weights import Weights, read
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.quantisation import float_predictor
from rnnflow.serving.quantisation import rounded as rounded_rows

FORMULAS = {
    "rnn": "h = tanh(W x + b + U h + c)",
    "gru": "h = (1 - update) * candidate + update * h, the candidate sees reset * (U h + c)",
    "lstm": "c = forget * c + input * candidate, h = output * tanh(c)",
}
FLOAT_BYTES = 4
GOLDEN_LENGTHS = (1, 2, 7, 20)
TOLERANCE = 1e-5


def write(path: Path, folder: Path, rounded: Path | None = None) -> dict[str, int]:
    """Write `<name>_classifier.h`, `.c` and `_test.c` for an ONNX file of whole sequences.

    Args:
        path: the ONNX file.
        folder: for the three.
        rounded: the same with weights of 8 bits, if they are to be stored so, with a factor for each row.

    Returns:
        Bytes of constants (flash, without the code) and of the state of a stream (RAM), and multiply-adds of a step.

    Raises:
        InputError: the file cannot be read, or holds what C code is not written for.
    """
    predictor = float_predictor(rounded or path)
    params = ModelParams.model_validate(predictor.metadata["model"])
    if obstacle := _obstacle(params):
        raise InputError(f"{path}: no C code for this model: {obstacle}")
    weights, is_rounded = read(rounded or path, params), rounded is not None
    prefix = re.sub(r"\W", "_", predictor.metadata["name"], flags=re.ASCII) + "_classifier"
    prefix = f"_{prefix}"[not prefix[0].isdigit() :]
    matrices, vectors = _stored(weights, is_rounded)
    numbers = {"matrices": matrices, "vectors": vectors, "is_rounded": is_rounded}
    source = {"checksum": Predictor(path).properties.get("sha256", "none"), "prefix": prefix}
    context = _context(predictor, params, weights) | numbers | source
    environment = Environment(
        loader=PackageLoader(__package__), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,  # noqa: S701 - C is no HTML
    )  # fmt: skip
    environment.filters |= {"c_float": c_float, "c_text": c_text}
    for ending in (".h", ".c", "_test.c"):
        content = environment.get_template(f"classifier{ending}.jinja").render(context)
        with atomic_write(folder / f"{prefix}{ending}") as temporary:
            temporary.write_text(content, encoding="ascii")
    return {
        "flash": sum(array.nbytes for array in (*matrices.values(), *vectors.values())),
        "ram": FLOAT_BYTES * _num_state_numbers(params, len(predictor.features)),
        "multiply_adds": weights.num_multiplied,
    }


def _obstacle(params: ModelParams) -> str | None:
    """Why a model cannot become C code; none if it can."""
    if params.streaming_obstacle:
        return params.streaming_obstacle
    if params.cell not in FORMULAS:
        return f"cell: {params.cell}, expected one of {', '.join(FORMULAS)}"
    return plain_models.obstacle(params, "global or none")


def _context(predictor: Predictor, params: ModelParams, weights: Weights) -> dict[str, Any]:
    num_features = len(predictor.features)
    gates = cast(BuiltinCell, cells.load(params.cell)).onnx_gates
    return {
        "description": f"{params.cell.upper()} classifier; features: {num_features}, classes: {len(predictor.classes)}",
        "num_features": num_features,
        "num_prepared": num_features * (2 if params.missing == "mask" else 1),
        "num_classes": len(predictor.classes),
        "classes": predictor.classes,
        "threshold": predictor.threshold,
        "cell": params.cell,
        "formula": FORMULAS[params.cell],
        "gates": gates,
        "num_gates": len(gates),
        "hidden_size": params.hidden_size,
        "pooled_size": params.pooled_size,
        "missing": params.missing,
        "has_mean": "mean" in params.pooling,
        "has_max": "max" in params.pooling,
        "layers": [{"num_inputs": layer["inputs"].shape[1]} for layer in weights.layers],
        "golden": [_golden(predictor, weights, length) for length in GOLDEN_LENGTHS],
        "tolerance": TOLERANCE,
    }


def _stored(weights: Weights, is_rounded: bool) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return matrices and vectors as they lie in flash."""
    if not is_rounded:
        return weights.matrices, weights.vectors
    pairs = {name: rounded_rows(matrix) for name, matrix in weights.matrices.items()}
    factors = {f"{name}_factors": factors for name, (_, factors) in pairs.items()}
    return {name: numbers for name, (numbers, _) in pairs.items()}, weights.vectors | factors


def _golden(predictor: Predictor, weights: Weights, num_steps: int) -> Mapping[str, Any]:
    """A sequence with the size of those of the train split, and what onnxruntime answers after each step."""
    rng = np.random.default_rng(num_steps)
    values = rng.standard_normal((num_steps, len(weights.offset)), dtype=np.float32) / weights.factor + weights.offset
    values[rng.random(values.shape) < (0.1 if num_steps > 2 else 0.0)] = np.nan
    expected = predictor.run(np.repeat(values[None], num_steps, axis=0), np.arange(1, num_steps + 1))
    return {"numbers": values.ravel().tolist(), "expected": expected.ravel().tolist(), "num_steps": num_steps}


def _num_state_numbers(params: ModelParams, num_features: int) -> int:
    per_layer = params.hidden_size * cells.load(params.cell).num_states
    poolings = params.hidden_size * (2 * ("mean" in params.pooling) + ("max" in params.pooling))
    filled = {"forward_fill": num_features, "refuse": 1}.get(params.missing, 0)
    return params.num_layers * per_layer + poolings + filled + 1


def c_float(value: float) -> str:
    """Return a float32 as C writes it, with all its digits."""
    if np.isnan(value):
        return "NAN"
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if any(sign in text for sign in ".e") else f"{text}.0f"


def c_text(text: str) -> str:
    """Return a text as C writes it, in ASCII: three octal digits for each byte of what is not a letter, digit or blank."""
    plain = {ord(sign) for sign in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-."}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
