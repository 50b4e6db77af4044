"""NumPy's `.npz` files: an array of sequences, (sequence, time, feature) or (sequence, time), and arrays beside it."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.columns import PARTS
from rnnflow.generation.sources.opened import Opened, generic_names, open_table
from rnnflow.generation.sources.steps import Origin
from rnnflow.params.generate import FilesParams
from rnnflow.runtime.errors import InputError

LENGTHS = "lengths"
BATCH_VALUES = 2**22


def read_arrays(path: Path, below: Path, files: FilesParams) -> Opened:
    """Return what an `.npz` file holds; an array `lengths` says where the padding of each sequence begins.

    Raises:
        InputError: it is damaged, or its arrays do not fit the params or each other.
    """
    arrays = _load(path)
    sequences = _sequences(path, arrays, files.columns.sequence)
    num_rows, num_steps, num_features = sequences.shape
    lengths = np.asarray(arrays.get(LENGTHS, np.full(num_rows, num_steps)))
    if (
        lengths.shape != (num_rows,)
        or lengths.dtype.kind not in "iu"
        or not ((lengths >= 0) & (lengths <= num_steps)).all()
    ):
        raise InputError(f"{path}: array {LENGTHS!r}: expected {num_rows} whole numbers up to {num_steps}")
    wanted = {getattr(files.columns, part) for part in PARTS} & set(arrays)
    beside = {name: _column(path, name, arrays[name], num_rows) for name in sorted(wanted)}
    if files.columns.id not in beside:
        beside |= {files.columns.id: pa.array([f"{_stem(below)}#{row}" for row in range(num_rows)])}
    sequence_type = pa.list_(pa.float32())
    schema = pa.schema(
        [(files.columns.sequence, sequence_type), *((name, column.type) for name, column in beside.items())]
    )
    named = tuple(files.features) if files.features else generic_names(num_features)
    if len(named) != num_features:
        raise InputError(
            f"{path}: array {files.columns.sequence!r} has {num_features} features, generate.files.features names {len(named)}"
        )

    def batches(names: list[str]) -> Iterator[pa.RecordBatch]:
        rows_at_once = max(1, BATCH_VALUES // max(1, num_steps * num_features))
        for start in range(0, num_rows, rows_at_once):
            rows = slice(start, start + rows_at_once)
            kept = np.arange(num_steps) < lengths[rows, None]
            offsets = np.concatenate(([0], np.cumsum(lengths[rows]))) * num_features
            flat = pa.array(sequences[rows][kept].astype(np.float32).reshape(-1))
            column = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
            yield pa.RecordBatch.from_arrays(
                [column if name == files.columns.sequence else beside[name][rows] for name in names], names
            )

    return open_table(Origin(str(path), lambda row: f"sequence {row}"), schema, below, files, named, batches)


def _load(path: Path) -> Mapping[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise InputError(f"{path}: not an .npz file of plain arrays: {' '.join(str(error).split())}") from None


def _sequences(path: Path, arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise InputError(
            f"{path}: array {name!r} is missing, there are {', '.join(arrays)}; generate.files.columns.sequence names it"
        )
    array = arrays[name]
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3):
        raise InputError(
            f"{path}: array {name!r} is {array.dtype} of shape {array.shape}, expected numbers of (sequence, time, feature)"
        )
    return array if array.ndim == 3 else array[:, :, None]


def _column(path: Path, name: str, array: np.ndarray, num_rows: int) -> pa.Array:
    if array.shape != (num_rows,):
        raise InputError(
            f"{path}: array {name!r} has the shape {array.shape}, expected ({num_rows},) as there are sequences"
        )
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.rint(array)).all():
        array = array.astype(np.int64)  # labels are often kept as 0.0, 1.0
    try:
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        elif array.dtype.kind == "M":
            array = array.astype("datetime64[us]")
        return pa.array(array.tolist() if array.dtype.kind == "U" else array.astype(array.dtype.newbyteorder("=")))
    except (UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{path}: array {name!r} of {array.dtype} cannot be read: {error}") from None


def _stem(below: Path) -> str:
    return below.with_suffix("").as_posix()
