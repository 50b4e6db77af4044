"""NumPy's `.npz` files: an array of sequences, (sequence, time, feature) or (sequence, time), and arrays beside it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow.generation.sources.layout import PARTS
from rnnflow.generation.sources.recording_chunk import SourceLocation
from rnnflow.generation.sources.source_file import SourceTable
from rnnflow.generation.sources.values import generic_names, listed
from rnnflow.generation.splitting import GIVEN_NAMES
from rnnflow.params.generate import FilesParams
from rnnflow.runtime import npz_files
from rnnflow.runtime.errors import InputError

LENGTHS = "lengths"
BATCH_VALUES = 2**22
AXES = {
    "sequence-time-feature": (0, 1, 2),
    "sequence-feature-time": (0, 2, 1),
    "time-sequence-feature": (1, 0, 2),
}
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


@dataclass(frozen=True)
class _Sequences:
    """Sequences of one split, or of the whole file, with what is known of each."""

    values: np.ndarray
    """(sequence, time, feature)."""
    lengths: np.ndarray
    beside: pa.RecordBatch

    def batches(self, names: list[str], sequence: str) -> Iterator[pa.RecordBatch]:
        num_rows, num_steps, num_features = self.values.shape
        rows_at_once = max(1, BATCH_VALUES // max(1, num_steps * num_features))
        for start in range(0, num_rows, rows_at_once):
            rows = slice(start, start + rows_at_once)
            kept = np.arange(num_steps) < self.lengths[rows, None]
            offsets = np.concatenate(([0], np.cumsum(self.lengths[rows]))) * num_features
            flat = pa.array(self.values[rows][kept].astype(np.float32).reshape(-1))
            column = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
            yield self.beside.slice(start, rows_at_once).append_column(sequence, column).select(names)


def read_arrays(path: Path, below: Path, files: FilesParams) -> SourceTable:
    """Return what an `.npz` file holds; an array `lengths` says where the padding of each sequence begins.

    Where the arrays are called `x_train` and `x_test`, `columns.sequence: x` takes both, as given splits.

    Raises:
        InputError: it is damaged, or its arrays do not fit the params or each other.
    """
    arrays = load_arrays(path)
    name = files.columns.sequence
    stem = below.with_suffix("").as_posix()
    if name in arrays:
        found = [_sequences(path, arrays, {entry: entry for entry in arrays}, files, stem)]
    else:
        splits = by_split(arrays)
        of_splits = {split: own for split, own in splits.items() if name in own}
        if not of_splits:
            together = "; the .npy files of a folder are read as the arrays of one" if path.suffix == ".npy" else ""
            raise InputError(
                f"{path}: array {name!r} is missing, there are {listed(arrays)}; generate.files.columns.sequence names it"
                f"{together}"
            )
        found = [_sequences(path, arrays, own, files, f"{stem}/{split}", split) for split, own in of_splits.items()]
    return _table(path, files, found)


def by_split(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return for each split the arrays whose names say it, by the name without it: `x_train` and `trainX` are `x` and `X`."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        words = _WORDS.findall(name)
        for split in (*words[-1:], *words[:1]):
            if len(words) > 1 and split.lower() in GIVEN_NAMES:
                rest = name.removeprefix(split) if name.startswith(split) else name.removesuffix(split)
                found.setdefault(split.lower(), {})[rest.strip("_")] = name
                break
    return found


def _table(path: Path, files: FilesParams, found: list[_Sequences]) -> SourceTable:
    sequence = files.columns.sequence
    beside = found[0].beside.schema
    for entry in found:
        if entry.beside.schema != beside:
            kinds = [{(field.name, str(field.type)) for field in schema} for schema in (entry.beside.schema, beside)]
            name, kind = min(kinds[0] ^ kinds[1])
            raise InputError(f"{path}: only one of its splits has {name!r} of {kind}; each needs the same arrays")
    schema = beside.append(pa.field(sequence, pa.list_(pa.float32())))
    sizes = {entry.values.shape[2] for entry in found}
    named = tuple(files.features) if files.features else generic_names(min(sizes))
    for num_features in sizes:
        if len(named) != num_features:
            raise InputError(
                f"{path}: array {sequence!r} has {num_features} features, expected {len(named)} "
                f"{'as generate.files.features names' if files.features else 'as in its other split'}"
            )

    def batches(names: list[str]) -> Iterator[pa.RecordBatch]:
        for entry in found:
            yield from entry.batches(names, sequence)

    return SourceTable(SourceLocation(str(path), lambda row: f"sequence {row}"), schema, batches, named)


def _sequences(
    path: Path, arrays: Mapping[str, np.ndarray], own: Mapping[str, str], files: FilesParams, stem: str, split: str = ""
) -> _Sequences:
    """Return the sequences of a split; `own` names its arrays, by the name that params have for them."""
    columns = files.columns
    values = _values(path, own[columns.sequence], arrays[own[columns.sequence]], files)
    num_rows, num_steps, _ = values.shape
    lengths = np.asarray(arrays[own[LENGTHS]] if LENGTHS in own else np.full(num_rows, num_steps))
    if (
        lengths.shape != (num_rows,)
        or lengths.dtype.kind not in "iu"
        or not ((lengths >= 0) & (lengths <= num_steps)).all()
    ):
        raise InputError(f"{path}: array {own[LENGTHS]!r}: expected {num_rows} whole numbers up to {num_steps}")
    wanted = {getattr(columns, part) for part in PARTS if part not in files.ignored} & set(own)
    beside = {name: _column(path, own[name], arrays[own[name]], num_rows) for name in wanted}
    if columns.id not in beside:
        beside |= {columns.id: pa.array([f"{stem}#{row}" for row in range(num_rows)])}
    if split and columns.split is not None:
        beside |= {columns.split: pa.array([split] * num_rows)}
    return _Sequences(values, lengths, pa.RecordBatch.from_pydict(dict(sorted(beside.items()))))


def load_arrays(path: Path) -> Mapping[str, np.ndarray]:
    """Return all arrays of an `.npz` file, or of the `.npy` files of a folder, which are called as their files.

    Raises:
        InputError: one is damaged, or holds objects.
    """
    if path.suffix != ".npy":
        try:
            return npz_files.read(path)
        except InputError as error:
            is_ragged = "Object arrays" in str(error)
            cure = f"; pad sequences of unlike lengths and add an array {LENGTHS!r}, or write lists in Parquet"
            raise InputError(f"{error}{cure if is_ragged else ''}") from None
    beside = sorted(other for other in path.parent.iterdir() if other.suffix == ".npy" and other.name[0] != ".")
    return {name: array for other in beside for name, array in npz_files.read(other).items()}


def _values(path: Path, name: str, array: np.ndarray, files: FilesParams) -> np.ndarray:
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3):
        raise InputError(
            f"{path}: array {name!r} is {array.dtype} of shape {array.shape}, expected numbers of (sequence, time, feature)"
        )
    if array.ndim == 3:
        return array.transpose(AXES[files.axes])
    return (array.T if files.axes == "time-sequence-feature" else array)[:, :, None]


def _column(path: Path, name: str, array: np.ndarray, num_rows: int) -> pa.Array:
    if array.shape == (num_rows, 1):
        array = array[:, 0]
    if array.shape != (num_rows,):
        raise InputError(
            f"{path}: array {name!r} has the shape {array.shape}, expected ({num_rows},) as there are sequences"
        )
    try:
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        elif array.dtype.kind == "M":
            array = array.astype("datetime64[us]")
        return pa.array(array.tolist() if array.dtype.kind == "U" else array.astype(array.dtype.newbyteorder("=")))
    except (UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{path}: array {name!r} of {array.dtype} cannot be read: {error}") from None
