"""A model that goes on from a state: its steps in batches, with the state in the caller's hands; imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from onnxruntime import InferenceSession
from pydantic import Field

from rnnflow.params.section import checked
from rnnflow.runtime import json_text
from rnnflow.runtime.array_types import Float32, Int64
from rnnflow.runtime.errors import InputError
from rnnflow.serving.early_rule import EarlyRule
from rnnflow.serving.predictor import STATE_PROPERTY, ExportedModel


@dataclass(frozen=True)
class _Layout:
    sizes: dict[str, Annotated[int, Field(ge=0, strict=True)]]


class StreamingModel(ExportedModel):
    """A streaming file exported by this project.

    Args:
        path: the ONNX file.

    Raises:
        InputError: the file is missing, no ONNX file, was not exported by this project, or answers about whole sequences.
    """

    layout: dict[str, int]
    """The sizes of the parts of a state, in their order."""
    early_rule: EarlyRule | None
    """When a stream is decided before its end."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        if STATE_PROPERTY not in self.properties:
            raise InputError(
                f"{path}: a model of whole sequences, expected a streaming one; stage export writes it to "
                "models/<name>/streaming/ if export.streaming is true"
            )
        place = f"{path}: property {STATE_PROPERTY!r}"
        self.layout = checked(_Layout, {"sizes": json_text.parse(self.properties[STATE_PROPERTY], place)}, place).sizes
        self.state_size = sum(self.layout.values())
        if (sizes := self._session.get_inputs()[-1].shape[-1:]) != [self.state_size]:
            raise InputError(f"{place}: a state of {self.state_size} numbers, but its graph has {sizes}")
        early = (self.metadata["calibration"] or {}).get("early")
        self.early_rule = EarlyRule(**early) if early else None

    def new_states(self, batch_size: int) -> Float32[np.ndarray, "batch state"]:
        """Return the states of sequences before their first step."""
        return np.zeros((batch_size, self.state_size), np.float32)

    def run(
        self,
        steps: Float32[np.ndarray, "batch time feature"],
        lengths: Int64[np.ndarray, " batch"],
        states: Float32[np.ndarray, "batch state"],
    ) -> tuple[Float32[np.ndarray, "batch class"], Float32[np.ndarray, "batch state"]]:
        """Return the probabilities after these steps, and the new states; a length may be zero.

        There is at least one sequence, and the axis time has at least one step: onnxruntime's kernels need both. Before a
        sequence's first step the probabilities mean nothing.
        """
        given = dict(zip(_INPUTS, (steps, lengths, states), strict=True))
        probabilities, new_states = self._session.run(_OUTPUTS, given)
        return probabilities, new_states

    def single_steps(self) -> "SingleSteps":
        """Return what goes on by one step of one sequence, without the cost of passing arrays to onnxruntime."""
        return SingleSteps(self._session, len(self.features), self.state_size, len(self.classes))


class SingleSteps:
    """A session whose inputs and outputs for one step of one sequence are bound to the same arrays once and for all.

    Args:
        session: of a streaming file.
        num_features: of a step.
        state_size: numbers of a state.
        num_classes: of the model.
    """

    def __init__(self, session: InferenceSession, num_features: int, state_size: int, num_classes: int) -> None:
        step, lengths = np.zeros((1, 1, num_features), np.float32), np.ones(1, np.int64)
        state, new_state = np.zeros((2, 1, state_size), np.float32)
        probabilities = np.zeros((1, num_classes), np.float32)
        self._session, self._binding = session, session.io_binding()
        given: list[np.ndarray] = [step, lengths, state]
        for name, array in zip(_INPUTS, given, strict=True):
            self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in zip(_OUTPUTS, (probabilities, new_state), strict=True):
            self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._step, self._state, self._new_state = step[0], state[0], new_state[0]
        self._probabilities, self._lengths = probabilities[0], lengths  # all kept, or their memory would go

    def run(
        self, step: Float32[np.ndarray, "1 feature"], state: Float32[np.ndarray, " state"]
    ) -> Float32[np.ndarray, " class"]:
        """Return the probabilities after this step; `state` is changed into the new one."""
        self._step[:], self._state[:] = step, state
        self._session.run_with_iobinding(self._binding)
        state[:] = self._new_state
        return self._probabilities.copy()


_INPUTS = ["steps", "lengths", "state"]
_OUTPUTS = ["probabilities", "new_state"]
