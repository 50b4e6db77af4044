"""A model that goes on from a state: its steps in batches, with the state in the caller's hands; imports no torch."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from rnnflow.runtime.errors import InputError
from rnnflow.serving.early_rule import EarlyRule
from rnnflow.serving.predictor import STATE_PROPERTY, ExportedModel


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
        self.layout = json.loads(self.properties[STATE_PROPERTY])
        self.state_size = sum(self.layout.values())
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
        probabilities, new_states = self._session.run(_OUTPUTS, {"steps": steps, "lengths": lengths, "state": states})
        return probabilities, new_states


_OUTPUTS = ["probabilities", "new_state"]
