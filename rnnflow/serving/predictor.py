"""Prediction from an ONNX file with onnxruntime; imports no torch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
import onnxruntime
from pydantic import Field
from typing_extensions import TypedDict

from rnnflow.params.section import checked
from rnnflow.runtime import json_text
from rnnflow.runtime.array_types import Float32, Int64
from rnnflow.runtime.errors import InputError, library
from rnnflow.sequences.bucketing import Lengths, Rows, batches
from rnnflow.sequences.missing_values import first_missing
from rnnflow.sequences.padding import pad
from rnnflow.serving import checksum

onnxruntime.disable_telemetry_events()  # from 1.32 on it reports on Linux as well, unless told not to

METADATA_VERSION = "2"
READABLE_VERSIONS = ("1", "2")
"""Files of version 1 have no checksum."""
METADATA_NAMES = ("name", "model", "features", "classes", "lengths", "num_parameters", "md5", "metrics")
LATER_NAMES = ("recipe", "profile", "calibration", "quantisation")
"""Missing in the files of earlier versions; the last one in all with weights of 32 bits."""
STATE_PROPERTY = "state"
"""Of streaming files alone: the layout of the state."""
PROPERTIES = ("rnnflow", *METADATA_NAMES, *LATER_NAMES, STATE_PROPERTY)
"""What the checksum covers."""
UNKNOWN = "unknown"
"""The answer to a sequence that the model is not sure enough of, if it was given a threshold."""
CHUNK_SIZE = 256
"""Sequences in one call of onnxruntime: fewer cost more calls, more leave the processor's cache."""


class _EarlyRule(TypedDict):
    threshold: float
    steps: list[int]
    temperatures: list[float]


class CalibrationContent(TypedDict):
    """Of what shape the calibration is, in its own file and in a model."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    threshold: float | None
    early: NotRequired[_EarlyRule | None]


class _Metadata(TypedDict):
    """Of what shape the properties are that this program reads."""

    name: str
    model: dict[str, Any] | None
    features: Annotated[list[str], Field(min_length=1)]
    classes: Annotated[list[str], Field(min_length=2)]
    lengths: tuple[int, int, int]
    num_parameters: int
    md5: dict[str, str]
    metrics: dict[str, Any]
    recipe: dict[str, Any] | None
    profile: dict[str, Any] | None
    calibration: CalibrationContent | None
    quantisation: dict[str, Any] | None


class ExportedModel:
    """What every file that this project exports says of itself, and its session.

    Args:
        path: the ONNX file.

    Raises:
        InputError: the file is missing, no ONNX file, or was not exported by this project.
    """

    classes: tuple[str, ...]
    features: tuple[str, ...]
    metadata: dict[str, Any]
    """What the file says of itself, by `METADATA_NAMES` and `LATER_NAMES`; none where it says nothing."""

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        content = path.read_bytes()
        _check(path, content)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        with library(f"{path}: not an ONNX file that onnxruntime can run"):
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self.properties: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        missing = dict.fromkeys(LATER_NAMES, "null")  # of the others, an empty text is no JSON
        self.metadata = {
            name: json_text.parse(self.properties.get(name, missing.get(name, "")), f"{path}: property {name!r}")
            for name in (*METADATA_NAMES, *LATER_NAMES)
        }
        checked(_Metadata, self.metadata, f"{path}: its metadata")
        self.classes = tuple(self.metadata["classes"])
        self._names = np.array(self.classes, dtype=object)
        self.features = tuple(self.metadata["features"])
        ends = (*self._session.get_inputs()[:1], *self._session.get_outputs()[:1])
        sizes = [node.shape[-1] for node in ends if node.shape]
        if len(sizes) != len(named := [len(self.features), len(self.classes)]):
            raise InputError(f"{path}: expected a graph of sequences, from features to classes")
        if any(isinstance(size, int) and size != number for size, number in zip(sizes, named, strict=True)):
            raise InputError(f"{path}: names {named} features and classes, but its graph has {sizes}")
        self.threshold: float | None = (self.metadata["calibration"] or {}).get("threshold")
        self.refuses_missing = (self.metadata["model"] or {}).get("missing") == "refuse"

    def answers(self, probabilities: Float32[np.ndarray, "sequence class"]) -> np.ndarray:
        """Return the most probable class of each sequence; `unknown` where it is less probable than the threshold."""
        found = self._names[probabilities.argmax(1)]
        if self.threshold is not None:
            found[probabilities.max(1) < self.threshold] = UNKNOWN
        return found

    def answer(self, probabilities: Float32[np.ndarray, " class"]) -> str:
        """Return the answer to one sequence."""
        best = int(probabilities.argmax())
        return UNKNOWN if self.threshold is not None and probabilities[best] < self.threshold else self.classes[best]


class Predictor(ExportedModel):
    """A classifier of whole sequences.

    Args:
        path: the ONNX file.
        num_threads: that share many sequences, chunk by chunk. Within a chunk onnxruntime has one thread, which is
            fastest for compact models.

    Raises:
        InputError: the file is missing, no ONNX file, was not exported by this project, or is a streaming one.
    """

    engine = "onnxruntime"
    """What computes, in words."""
    chunk_size = CHUNK_SIZE

    def __init__(self, path: Path | str, num_threads: int = 1) -> None:
        super().__init__(path)
        if STATE_PROPERTY in self.properties:
            raise InputError(f"{path}: a streaming model, expected one of whole sequences; use it with rnnflow stream")
        self.num_threads = num_threads

    def run(
        self, sequences: Float32[np.ndarray, "batch time feature"], lengths: Int64[np.ndarray, " batch"]
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the probabilities of padded sequences, in one call of onnxruntime."""
        if not len(lengths):  # its kernels of LSTM and GRU end the process
            return np.empty((0, len(self.classes)), dtype=np.float32)
        (probabilities,) = self._session.run(["probabilities"], {"sequence": sequences, "lengths": lengths})
        return probabilities

    def probabilities(self, sequences: Sequence[np.ndarray]) -> Float32[np.ndarray, "sequence class"]:
        """Return the probability of each class for sequences of shape (time, feature), of any lengths.

        Raises:
            InputError: a sequence has another number of features than the model, no steps, an infinite value,
                or a missing one where the model refuses such.
        """
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
            arrays = [np.asarray(sequence, dtype=np.float32) for sequence in sequences]
        for index, array in enumerate(arrays):
            if array.ndim != 2 or not len(array) or array.shape[1] != len(self.features):
                expected = f"(time, {len(self.features)}) with at least one step"
                raise InputError(f"sequence {index} has the shape {array.shape}, expected {expected}")
            if np.isinf(array).any():
                raise InputError(f"sequence {index} holds an infinite value; a missing one is NaN")
        if not arrays:
            return np.empty((0, len(self.classes)), dtype=np.float32)
        offsets = np.concatenate(([0], np.cumsum([len(array) for array in arrays], dtype=np.int64)))
        values = np.concatenate(arrays)
        if refused := self.first_refused(values, offsets):
            index, feature = refused
            raise InputError(f"sequence {index} misses a value of {feature!r}; the model refuses missing values")
        return self.flat_probabilities(values, offsets)

    def first_refused(
        self, values: Float32[np.ndarray, "steps feature"], offsets: Int64[np.ndarray, " sequence_plus_one"]
    ) -> tuple[int, str] | None:
        """Return sequence and feature of the first missing value where the model refuses such, else none."""
        missing = first_missing(values, offsets) if self.refuses_missing else None
        return (missing[0], self.features[missing[1]]) if missing else None

    def flat_probabilities(
        self, values: Float32[np.ndarray, "steps feature"], offsets: Int64[np.ndarray, " sequence_plus_one"]
    ) -> Float32[np.ndarray, "sequence class"]:
        """Return the probabilities of sequences that stand one after another in `values`; `offsets` in steps.

        They are NaN for a sequence that `first_refused` would name.
        """
        result = np.empty((len(offsets) - 1, len(self.classes)), dtype=np.float32)

        def answer(chunk: tuple[Rows, Lengths]) -> None:
            rows, lengths = chunk
            result[rows] = self.run(pad(values, offsets, rows), lengths)

        chunks = list(batches(offsets, self.chunk_size))
        if self.num_threads == 1 or len(chunks) < 2:
            for chunk in chunks:
                answer(chunk)
        else:
            with ThreadPoolExecutor(self.num_threads) as pool:  # onnxruntime works outside Python's lock
                list(pool.map(answer, chunks))
        return result

    def predict(self, sequences: Sequence[np.ndarray]) -> list[str]:
        """Return the answer to each sequence."""
        return self.answers(self.probabilities(sequences)).tolist()


def _check(path: Path, content: bytes) -> None:
    """Refuse what this project did not export, and what has changed since, before onnxruntime reads it."""
    try:
        properties = checksum.properties(content)
        digest = checksum.compute(content, PROPERTIES)
    except ValueError:
        raise InputError(f"{path}: not an ONNX file that onnxruntime can run") from None
    if not content:  # which is a protocol buffer without fields
        raise InputError(f"{path}: not an ONNX file that onnxruntime can run, but empty")
    version = properties.get("rnnflow", "missing")
    if version not in READABLE_VERSIONS:
        raise InputError(
            f"{path}: not exported by rnnflow in version {METADATA_VERSION}: the metadata property 'rnnflow' is {version}"
        )
    if version != "1" and properties.get(checksum.PROPERTY) != digest:
        raise InputError(
            f"{path}: changed or damaged since its export: its content does not match the checksum that it carries; "
            "remove it, and dvc checkout or dvc repro brings it back"
        )
