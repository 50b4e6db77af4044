"""What a model says of sequences, as a table: one row per sequence, or one row per recording."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnflow.runtime.array_types import Float32, Float64
from rnnflow.runtime.errors import InputError
from rnnflow.serving.prediction.reading import OF_RECORDINGS, Batch
from rnnflow.serving.predictor import Predictor

Summing = Literal["mean", "vote", "max"]
MAX_PARTS = 64


def schema(classes: tuple[str, ...], of_recordings: bool) -> pa.Schema:
    """Return the columns of one row per sequence."""
    return pa.schema([pa.field("id", pa.string()), *(OF_RECORDINGS if of_recordings else ()), *_answer_fields(classes)])


def answered(predictor: Predictor, batch: Batch, columns: pa.Schema) -> pa.Table:
    """Return the answer to each sequence; NaN where the model refuses one that misses values."""
    probabilities = predictor.flat_probabilities(batch.values, batch.offsets)
    return _table(list(batch.beside.columns), probabilities, predictor, columns)


class Recordings:
    """Sums the answers to the windows of recordings up to one answer each.

    Its memory grows with the number of recordings, by some hundred bytes each.

    Args:
        predictor: whose answers they are.
        summing: `mean` of the probabilities; `vote`, the share of windows in which a class is the most probable;
            `max`, the largest probability in any window.
    """

    def __init__(self, predictor: Predictor, summing: Summing) -> None:
        self.predictor = predictor
        self.summing = summing
        recording, *steps = OF_RECORDINGS
        self.schema = pa.schema(
            [recording, pa.field("windows", pa.int64()), *steps, *_answer_fields(predictor.classes)]
        )
        self._names = [f"probability_{name}" for name in predictor.classes]
        self._parts: list[pa.Table] = []
        self._num_answers = 0

    def add(self, answers: pa.Table) -> None:
        """Take in answers to windows, those of a recording in any order."""
        probabilities = _stacked(answers, self._names)
        if self.summing == "vote":
            probabilities = np.eye(len(self._names))[probabilities.argmax(1)]
        columns = dict(zip(self._names, probabilities.T, strict=True))
        beside = {name: answers[name] for name in OF_RECORDINGS.names}
        counts = {"windows": np.ones(len(answers), np.int64), "place": self._num_answers + np.arange(len(answers))}
        counts["beginnings"] = pc.equal(answers["first_step"], 0).fill_null(False).cast(pa.int64())
        self._num_answers += len(answers)
        self._parts.append(self._grouped(pa.table({**beside, **counts, **columns})))
        if len(self._parts) == MAX_PARTS:
            self._parts = [self._grouped(pa.concat_tables(self._parts))]

    def tables(self) -> Iterator[pa.Table]:
        """Yield one row per recording, in the order in which they came first.

        Raises:
            InputError: two recordings have the same id, so that their windows cannot be told apart.
        """
        if self._parts:
            whole = self._grouped(pa.concat_tables(self._parts)).sort_by("place")
            if len(again := whole.filter(pc.greater(whole["beginnings"], 1))):
                name = again["recording"][0].as_py()
                raise InputError(
                    f"recording {name!r} begins {again['beginnings'][0]} times, in one file or several; --recordings needs "
                    "an id of its own for each, or predict the files apart"
                )
            sums = _stacked(whole, self._names)
            probabilities = sums if self.summing == "max" else sums / whole["windows"].to_numpy()[:, None]
            beside = [whole[name] for name in self.schema.names[: len(OF_RECORDINGS) + 1]]
            yield _table(beside, probabilities.astype(np.float32), self.predictor, self.schema)

    def _grouped(self, answers: pa.Table) -> pa.Table:
        """Return one row per recording, in any order; two such tables, one after the other, can be grouped again."""
        how = {
            "place": "min",
            "windows": "sum",
            "beginnings": "sum",
            "first_step": "min",
            "last_step": "max",
            "start": "min",
            "end": "max",
        }
        how |= dict.fromkeys(self._names, "max" if self.summing == "max" else "sum")
        grouped = answers.group_by("recording", use_threads=False).aggregate(list(how.items()))
        return grouped.rename_columns({f"{name}_{kind}": name for name, kind in how.items()})


def _stacked(table: pa.Table, names: list[str]) -> Float64[np.ndarray, "row class"]:
    return np.stack([table[name].to_numpy() for name in names], axis=1).astype(np.float64)


def _table(
    beside: list[pa.ChunkedArray],
    probabilities: Float32[np.ndarray, "row class"],
    predictor: Predictor,
    columns: pa.Schema,
) -> pa.Table:
    predictions = pa.array(predictor.answers(probabilities), pa.string())
    answers = [predictions, *(pa.array(column) for column in probabilities.T)]
    return pa.Table.from_arrays([*beside, *answers], schema=columns)


def _answer_fields(classes: tuple[str, ...]) -> list[pa.Field]:
    return [pa.field("prediction", pa.string()), *(pa.field(f"probability_{name}", pa.float32()) for name in classes)]
