"""The Parquet contract, and a split in memory as one flat buffer with offsets."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from rnnflow.errors import InputError
from rnnflow.outputs import complete_file

VERSION = 1
METADATA_KEY = b"rnnflow"
ROW_GROUP_BYTES = 8 * 2**20
READ_ROWS = 16384
SEQUENCE_TYPE = pa.list_(pa.field("element", pa.float32(), nullable=False))
TYPES = {
    "id": pa.string(),
    "sequence": SEQUENCE_TYPE,
    "label": pa.string(),
    "group": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
}
OPTIONAL_COLUMNS = ("group", "time")
ENCODED_TYPES = TYPES | {"label": pa.dictionary(pa.int32(), pa.string())}


def schema(features: Sequence[str], optional: Collection[str] = ()) -> pa.Schema:
    """Return the contract's schema, with those of its optional columns (`group`, `time`) that are named."""
    names = [name for name in TYPES if name not in OPTIONAL_COLUMNS or name in optional]
    fields = [pa.field(name, TYPES[name], nullable=False) for name in names]
    metadata = {METADATA_KEY: json.dumps({"version": VERSION, "features": list(features)}).encode()}
    return pa.schema(fields, metadata=metadata)


def sequence_column(
    values: Float32[np.ndarray, "steps feature"], offsets: Int64[np.ndarray, " sequence_plus_one"]
) -> pa.Array:
    """Return the column `sequence`; `offsets` are in time steps."""
    flat = pa.array(values.reshape(-1), pa.float32())
    return pa.ListArray.from_arrays(pa.array(offsets * values.shape[1], pa.int32()), flat, type=SEQUENCE_TYPE)


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` as one Parquet file of the contract; equal tables give equal bytes."""
    bytes_per_row = max(1, table.nbytes // max(1, table.num_rows))
    with complete_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=["label"],
            column_encoding={"sequence.list.element": "BYTE_STREAM_SPLIT"},
            row_group_size=max(1, ROW_GROUP_BYTES // bytes_per_row),
        )


@dataclass(frozen=True)
class SequenceFile:
    """A Parquet file of sequences, checked and converted to the contract's types while it is read.

    Raises:
        InputError: the file is missing, damaged, or its columns cannot be read as the contract's.
    """

    path: Path
    parquet: pq.ParquetFile
    features: tuple[str, ...]
    types: Mapping[str, pa.DataType]
    """What the columns are converted to."""

    @classmethod
    def open(cls, path: Path, features: Sequence[str] | None = None, needs_label: bool = True) -> "SequenceFile":
        """Open `path`; `features` names those of a file that carries no `rnnflow` metadata."""
        try:
            parquet = pq.ParquetFile(path, memory_map=True)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: not a complete Parquet file: {_one_line(error)}") from None
        schema = parquet.schema_arrow
        for name in TYPES if needs_label else ("id", "sequence"):
            _check_column(path, schema, name)
        return cls(path, parquet, _features(path, schema, features), TYPES)

    @property
    def num_rows(self) -> int:
        return int(self.parquet.metadata.num_rows)

    @property
    def columns(self) -> list[str]:
        return [name for name in TYPES if name in self.parquet.schema_arrow.names]

    @property
    def max_values(self) -> int:
        """At most so many values are in the column `sequence` (exactly so many where no sequence is empty)."""
        metadata = self.parquet.metadata
        column = next(
            i for i in range(metadata.num_columns) if metadata.schema.column(i).path.split(".")[0] == "sequence"
        )
        return sum(int(metadata.row_group(i).column(column).num_values) for i in range(metadata.num_row_groups))

    def with_encoded_labels(self) -> "SequenceFile":
        """Return the same file, its labels read as a dictionary: a third less time where sequences are short."""
        stored = pq.ParquetFile(self.path, memory_map=True, metadata=self.parquet.metadata, read_dictionary=["label"])
        return replace(self, parquet=stored, types=ENCODED_TYPES)

    def batches(self, columns: Sequence[str] | None = None, num_rows: int = READ_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, in the contract's types, checked: no nulls, no empty, ragged or infinite sequence."""
        first_row = 0
        try:
            for stored in self.parquet.iter_batches(num_rows, columns=list(columns or self.columns)):
                stored.validate(full=True)
                batch = _converted(stored, self.types)
                self._check(batch, first_row)
                first_row += batch.num_rows
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path}: damaged after row {first_row}: {_one_line(error)}") from None

    def _check(self, batch: pa.RecordBatch, first_row: int) -> None:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if column.null_count:
                self._refuse(first_row, pc.is_null(column), f"column {name!r} is null")
        if "sequence" not in batch.schema.names:
            return
        column = batch.column("sequence")
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        num_features = len(self.features)
        self._refuse(first_row, lengths == 0, "column 'sequence' is empty, expected at least one time step")
        self._refuse(
            first_row,
            lengths % num_features != 0,
            f"column 'sequence' has a number of values that is not a multiple of the {num_features} features",
        )
        flat = column.flatten()
        rows = np.repeat(np.arange(batch.num_rows), lengths) if flat.null_count else None
        if rows is not None:
            null_rows = np.bincount(rows[pc.is_null(flat).to_numpy(zero_copy_only=False)], minlength=batch.num_rows)
            self._refuse(first_row, null_rows > 0, "column 'sequence' holds a null; write missing values as NaN")
        values = flat.to_numpy(zero_copy_only=False)
        if not np.isfinite(values).all() and np.isinf(values).any():
            infinite = np.add.reduceat(np.isinf(values), np.cumsum(lengths) - lengths) > 0
            self._refuse(first_row, infinite, "column 'sequence' holds an infinite value, or one too large for float32")

    def _refuse(self, first_row: int, is_bad: pa.Array | np.ndarray, what: str) -> None:
        bad = np.flatnonzero(np.asarray(is_bad))
        if len(bad):
            raise InputError(f"{self.path}: row {first_row + int(bad[0])}: {what}")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):  # a categorical of pandas
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


_READABLE = {
    "id": (_is_text, "string"),
    "sequence": (_is_list_of_numbers, "a list of numbers"),
    "label": (_is_text, "string"),
    "group": (_is_text, "string"),
    "time": (pa.types.is_timestamp, "a timestamp"),
}


def _check_column(path: Path, schema: pa.Schema, name: str) -> None:
    if name in schema.names:
        kind = schema.field(name).type
        is_readable, expected = _READABLE[name]
        if not is_readable(kind):
            raise InputError(f"{path}: column {name!r} is {kind}, expected {expected}")
    elif name not in OPTIONAL_COLUMNS:
        raise InputError(f"{path}: column {name!r} is missing, there are {', '.join(schema.names) or 'none'}")


def _converted(batch: pa.RecordBatch, types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    names = batch.schema.names
    columns = [column.cast(types[name], safe=False) for name, column in zip(names, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names)


def _features(path: Path, schema: pa.Schema, given: Sequence[str] | None) -> tuple[str, ...]:
    metadata = (schema.metadata or {}).get(METADATA_KEY)
    if metadata is None:
        if given is None:
            raise InputError(
                f"{path}: the metadata key 'rnnflow' is missing, which names the features; "
                "write it, or name them in params.yaml as generate.features"
            )
        return tuple(given)
    try:
        content = json.loads(metadata)
        version, features = content["version"], content["features"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: the metadata key 'rnnflow' is not JSON with 'version' and 'features'") from None
    if version != VERSION:
        raise InputError(f"{path}: data contract version {version}, this program reads version {VERSION}")
    if not isinstance(features, list) or not features:
        raise InputError(f"{path}: the metadata key 'rnnflow' has features {features!r}, expected a list of names")
    return tuple(map(str, features))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@dataclass(frozen=True)
class SequenceDataset:
    """A split in memory: every sequence one after another in one buffer, as in Arrow's own list layout."""

    values: Float32[np.ndarray, "steps feature"]
    offsets: Int64[np.ndarray, " sequence_plus_one"]
    """In time steps."""
    labels: Int64[np.ndarray, " sequence"]
    """Indices in `classes`."""
    features: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Int64[np.ndarray, " sequence"]:
        return np.diff(self.offsets)

    @property
    def length_range(self) -> tuple[int, int, int]:
        """Shortest, median and longest sequence, in time steps."""
        lengths = np.sort(self.lengths)
        return int(lengths[0]), int(lengths[len(lengths) // 2]), int(lengths[-1])

    @property
    def class_counts(self) -> list[int]:
        return np.bincount(self.labels, minlength=len(self.classes)).tolist()


def load(folder: Path, classes: Sequence[str] | None = None, features: Sequence[str] | None = None) -> SequenceDataset:
    """Read every Parquet file of a split, in the order of their names.

    Args:
        folder: holds `part-*.parquet`.
        classes: the known classes; without them, those of this split, sorted.
        features: those expected; without them, the ones of the first file.

    Raises:
        InputError: no files, no rows, files that disagree, a label that is not among `classes`.
    """
    files = []
    for path in sorted(folder.glob("*.parquet")):
        files.append(SequenceFile.open(path))
        files[-1].parquet.close()  # and opened again below, one by one: a process may hold only so many open
    if not files:
        raise InputError(f"{folder}: no Parquet file, expected part-00000.parquet and so on")
    expected = tuple(features or files[0].features)
    for file in files:
        if file.features != expected:
            raise InputError(f"{file.path}: features {', '.join(file.features)}, expected {', '.join(expected)}")
    num_rows = sum(file.num_rows for file in files)
    if not num_rows:
        raise InputError(f"{folder}: no rows")
    values = np.empty(sum(file.max_values for file in files), dtype=np.float32)
    lengths = np.empty(num_rows, dtype=np.int64)
    label_chunks: list[pa.Array] = []
    row = position = 0
    for file in files:
        for batch in file.with_encoded_labels().batches(("sequence", "label")):
            column = batch.column("sequence")
            flat = column.flatten()
            values[position : position + len(flat)] = flat.to_numpy()
            lengths[row : row + len(column)] = pc.list_value_length(column).to_numpy()
            label_chunks.append(batch.column("label"))
            row += len(column)
            position += len(flat)
    offsets = np.concatenate(([0], np.cumsum(lengths // len(expected))))
    labels = pa.chunked_array(label_chunks)
    names = tuple(classes) if classes else tuple(sorted(labels.unique().cast(pa.string()).to_pylist()))
    indices = _class_indices(folder, labels, names)
    return SequenceDataset(values[:position].reshape(-1, len(expected)), offsets, indices, expected, names)


def _class_indices(folder: Path, labels: pa.ChunkedArray, classes: tuple[str, ...]) -> Int64[np.ndarray, " sequence"]:
    known = pa.array(classes, pa.string())
    chunks = [pc.index_in(chunk.dictionary, known).take(chunk.indices) for chunk in labels.chunks]
    indices = pa.chunked_array(chunks, pa.int32())
    if indices.null_count:
        row = pc.index(pc.is_null(indices), True).as_py()
        raise InputError(
            f"{folder}: row {row}: label {labels[row].as_py()!r} is unknown to the train split, which has {', '.join(classes)}"
        )
    return indices.to_numpy().astype(np.int64)
