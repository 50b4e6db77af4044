"""`.ts` and `.arff` files of the UCR and UEA archives, through aeon's own readers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.opened import Opened, generic_names, open_table
from rnnflow.generation.sources.steps import Origin
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError

SIDE = re.compile(r"_(train|test)$", re.IGNORECASE)
BATCH_ROWS = 1024


def read_ts(path: Path, below: Path, files: FilesParams) -> Opened:
    """Return what a file of the archives holds; `…_TRAIN` and `…_TEST` are given splits.

    Raises:
        InputError: aeon is not installed, cannot read the file, or it has no class labels.
    """
    series, labels = _load(path)
    series = [np.atleast_2d(np.asarray(entry, dtype=np.float32)).T for entry in series]
    if not series or len(labels) != len(series):
        raise InputError(f"{path}: {len(series)} sequences with {len(labels)} class labels, expected one for each")
    sizes = {entry.shape[1] for entry in series}
    if len(sizes) > 1:
        raise InputError(f"{path}: sequences of {min(sizes)} and of {max(sizes)} features")
    known = tuple(files.features) if files.features else generic_names(min(sizes))
    names = files.columns
    stem = below.with_suffix("").as_posix()
    columns: dict[str, Any] = {
        names.id: pa.array([f"{stem}#{row}" for row in range(len(series))]),
        names.label: pa.array([str(label) for label in labels]),
    }
    if side := SIDE.search(path.stem):
        columns[names.split] = pa.array([side.group(1).lower()] * len(series))
    sequence_type = pa.list_(pa.float32())
    schema = pa.schema([(names.sequence, sequence_type), *((name, column.type) for name, column in columns.items())])

    def batches(wanted: list[str]) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(series), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            sequences = pa.array([entry.reshape(-1) for entry in series[rows]], sequence_type)
            yield pa.RecordBatch.from_arrays(
                [sequences if name == names.sequence else columns[name][rows] for name in wanted], wanted
            )

    return open_table(Origin(str(path), lambda row: f"sequence {row}"), schema, below, files, known, batches)


def _load(path: Path) -> tuple[Any, Any]:
    try:
        from aeon.datasets import load_from_arff_file, load_from_ts_file
    except ModuleNotFoundError as error:
        raise InputError(f"{path}: {error.name} is not installed; pip install 'rnnflow[archives]'") from None
    load = load_from_arff_file if path.suffix.lower() == ".arff" else load_from_ts_file
    try:
        series, labels = load(str(path))
    except Exception as error:
        raise InputError(
            f"{path}: aeon cannot read it: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from None
    return series, labels
