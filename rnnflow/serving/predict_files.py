"""Prediction of a whole file: Parquet in, Parquet or CSV out, chunk after chunk."""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress

from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.parquet import SequenceFile
from rnnflow.serving.predictor import Predictor

STANDARD_OUTPUT = "-"


def predict_file(predictor: Predictor, source: Path, target: str) -> int:
    """Write `id`, `prediction` and a column `probability_<class>` for each class; return the number of rows.

    Args:
        predictor: the classifier.
        source: Parquet in the contract's schema; it needs no labels.
        target: a path ending in `.parquet` or `.csv`, or `-` for CSV on standard output.

    Raises:
        InputError: the file is damaged, has other features than the model, or misses a value that the model needs.
    """
    if target != STANDARD_OUTPUT and Path(target).suffix not in (".parquet", ".csv"):
        raise InputError(f"{target}: expected a name ending in .parquet or .csv, or - for standard output")
    file = SequenceFile.open(source, predictor.features, needs_label=False)
    if file.features != predictor.features:
        raise InputError(
            f"{source}: features {', '.join(file.features)}, the model expects {', '.join(predictor.features)}"
        )
    if not file.names_its_features:
        print(f"{source} does not name its features, taken as {', '.join(file.features)}", file=sys.stderr)
    schema = pa.schema(
        [("id", pa.string()), ("prediction", pa.string())]
        + [(f"probability_{name}", pa.float32()) for name in predictor.classes]
    )
    with ExitStack() as stack:
        if target == STANDARD_OUTPUT:
            writer = stack.enter_context(pyarrow.csv.CSVWriter(sys.stdout.buffer, schema))
        else:
            temporary = stack.enter_context(atomic_write(Path(target)))
            kind = pyarrow.csv.CSVWriter if target.endswith(".csv") else pq.ParquetWriter
            writer = stack.enter_context(kind(temporary, schema))
        bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        task = stack.enter_context(bar).add_task("predicting", total=file.num_rows)
        row = 0
        for batch in file.batches(["id", "sequence"]):
            writer.write_table(_predicted(predictor, batch, schema, source, row))
            row += len(batch)
            bar.advance(task, len(batch))
    return file.num_rows


def _predicted(predictor: Predictor, batch: pa.RecordBatch, schema: pa.Schema, source: Path, row: int) -> pa.Table:
    """The columns of the output for a batch that begins in `row` of the file."""
    ids, sequences = batch.column("id"), batch.column("sequence")
    num_features = len(predictor.features)
    values = sequences.flatten().to_numpy().reshape(-1, num_features)
    lengths = pc.list_value_length(sequences).to_numpy() // num_features
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    if refused := predictor.first_refused(values, offsets):
        index, feature = refused
        raise InputError(
            f"{source}: row {row + index}: id {ids[index].as_py()!r} misses a value of {feature!r}; "
            "the model refuses missing values"
        )
    probabilities = predictor.flat_probabilities(values, offsets)
    predictions = pa.array(predictor.answers(probabilities), pa.string())
    columns = [ids, predictions, *(pa.array(column) for column in probabilities.T)]
    return pa.Table.from_arrays(columns, schema=schema)
