"""One recording in memory, cut as the recordings that the model was trained on: for the command line and for services."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.generation.sources.cutting import Windows
from rnnflow.generation.sources.recording_chunk import RecordingChunk, SourceLocation
from rnnflow.runtime.array_types import Float, Float32, Int64
from rnnflow.runtime.errors import InputError
from rnnflow.serving.prediction.reading import recipe_of_model
from rnnflow.serving.predictor import Predictor

NAME = "the recording"


def probabilities_of_windows(
    predictor: Predictor, values: Float[np.ndarray, "step feature"], times: Int64[np.ndarray, " step"] | None = None
) -> Float32[np.ndarray, "window class"]:
    """Return the probabilities of each window; of the whole, for a model that was trained on whole recordings.

    Args:
        predictor: the model.
        values: with the features of the model in its order; without `time_since_last_step`, which `times` give.
        times: of the steps, in microseconds. Without them, what a model with windows in seconds gets is one window.

    Raises:
        InputError: the recording is shorter than a window, or has values that the predictor refuses.
    """
    recipe = recipe_of_model(predictor)
    if recipe.files.time_since_last_step and times is not None:
        gaps = np.diff(times, prepend=times[:1]) / 1e6
        values = np.column_stack([values, gaps.astype(np.float32)])
    windows = recipe.windows
    if windows is None or (windows.unit == "seconds" and times is None):
        return predictor.probabilities([values])
    chunk = RecordingChunk(
        recordings=pa.RecordBatch.from_pydict({"id": [NAME]} | ({} if times is None else {"first_time": times[:1]})),
        offsets=np.array([0, len(values)]),
        values=values.astype(np.float32),
        labels=np.zeros(len(values), np.int32),
        classes=[""],
        first_steps=np.zeros(1, np.int64),
        times=times,
    )
    table, _ = Windows(SourceLocation(NAME, str), predictor.features, windows).cut(chunk)
    if not len(table):
        raise InputError(
            f"{len(values)} steps are shorter than a window of {windows.length:g} {windows.unit}, on which the model was trained"
        )
    lengths = pc.list_value_length(table["sequence"]).to_numpy() // values.shape[1]
    flat = table["sequence"].combine_chunks().flatten().to_numpy().reshape(-1, values.shape[1])
    return predictor.probabilities(np.split(flat, np.cumsum(lengths)[:-1]))
