"""The Parquet contract: how sequences are stored, and read back checked."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rnnflow.runtime.array_types import Float32, Int32, Int64
from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import InputError, library
from rnnflow.sequences import footer_checksum
from rnnflow.sequences.parquet_bounds import Footer, open_footer, written_out
from rnnflow.sequences.parquet_metadata import KEY, features_of, metadata, recipe_of

ROW_GROUP_BYTES = 8 * 2**20
READ_ROWS = 16384
READ_VALUES = 2**22
SEQUENCE_TYPE = pa.list_(pa.field("element", pa.float32(), nullable=False))
TYPES = {
    "id": pa.string(),
    "sequence": SEQUENCE_TYPE,
    "label": pa.string(),
    "group": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
}
OPTIONAL_COLUMNS = ("group", "time")
RESTORE = "remove it, and dvc checkout or dvc repro brings it back"
ENCODED_TYPES = TYPES | {"label": pa.dictionary(pa.int32(), pa.string())}


def schema(features: Sequence[str], optional: Collection[str] = ()) -> pa.Schema:
    """Return the contract's schema, with those of its optional columns (`group`, `time`) that are named."""
    names = [name for name in TYPES if name not in OPTIONAL_COLUMNS or name in optional]
    fields = [pa.field(name, TYPES[name], nullable=False) for name in names]
    return pa.schema(fields, metadata=metadata(features))


def sequence_column(
    values: Float32[np.ndarray, "steps feature"], offsets: Int64[np.ndarray, " sequence_plus_one"]
) -> pa.Array:
    """Return the column `sequence`; `offsets` are in time steps."""
    flat = pa.array(values.reshape(-1), pa.float32())
    return pa.ListArray.from_arrays(pa.array(offsets * values.shape[1], pa.int32()), flat, type=SEQUENCE_TYPE)


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` as one Parquet file of the contract; equal tables give equal bytes."""
    bytes_per_row = max(1, table.nbytes // max(1, table.num_rows))
    with atomic_write(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=["label"],
            column_encoding={"sequence.list.element": "BYTE_STREAM_SPLIT"},
            row_group_size=max(1, ROW_GROUP_BYTES // bytes_per_row),
            write_page_checksum=True,
        )
        footer_checksum.add(temporary)


def shards(folder: Path) -> list[Path]:
    """Return the Parquet files of a split, in the order of their names; none where there is no such folder.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(path for path in (folder.iterdir() if folder.is_dir() else ()) if path.suffix == ".parquet")


@dataclass(frozen=True)
class SequenceFile:
    """A Parquet file of sequences, checked and converted to the contract's types while it is read.

    Raises:
        InputError: the file is missing, damaged, or its columns cannot be read as the contract's.
    """

    path: Path
    footer: Footer
    features: tuple[str, ...]

    @classmethod
    def open(cls, path: Path, features: Sequence[str] | None = None, needs_label: bool = True) -> "SequenceFile":
        """Look at `path`; `features` names those of a file that carries no `rnnflow` metadata."""
        if not path.exists():
            raise InputError(f"{path}: no such file")
        with library(f"{path}: not a complete Parquet file"):
            is_wrong = footer_checksum.is_wrong(path)
        if is_wrong:
            raise InputError(f"{path}: damaged: its footer does not match the checksum before it; {RESTORE}")
        footer = open_footer(path)
        for name in TYPES if needs_label else ("id", "sequence"):
            _check_column(path, footer.schema, name)
        return cls(path, footer, features_of(path, footer.schema, features))

    @property
    def metadata(self) -> pq.FileMetaData:
        return self.footer.metadata

    @property
    def num_rows(self) -> int:
        return int(self.metadata.num_rows)

    @property
    def names_its_features(self) -> bool:
        return KEY in (self.metadata.metadata or {})

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """How files became these sequences, where stage generate wrote them."""
        return recipe_of(self.metadata.metadata)

    @property
    def columns(self) -> list[str]:
        names = {self.metadata.schema.column(i).path.split(".")[0] for i in range(self.metadata.num_columns)}
        return [name for name in TYPES if name in names]

    @property
    def num_values(self) -> int:
        """How many values the column `sequence` holds; an empty sequence, which `batches` refuses, counts as one."""
        return self.footer.num_values("sequence")

    @property
    def _rows_at_once(self) -> int:
        """Rows whose values take some megabytes, however long the sequences are."""
        return max(1, min(READ_ROWS, READ_VALUES * self.num_rows // max(1, self.num_values)))

    def batches(self, columns: Sequence[str] | None = None, encodes_labels: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, in the contract's types, checked: no nulls, no empty, ragged or infinite sequence.

        Args:
            columns: their names, by default all of the contract's.
            encodes_labels: yield labels as a dictionary, in which many rows cost a third less time.
        """
        types = ENCODED_TYPES if encodes_labels else TYPES
        repeated = self.footer.repeated_texts(self._rows_at_once)
        first_row = 0
        try:
            with pq.ParquetFile(
                self.path,
                memory_map=True,
                read_dictionary=[*repeated, *(["label"] if encodes_labels else [])],
                page_checksum_verification=True,
            ) as parquet:
                for stored in parquet.iter_batches(self._rows_at_once, columns=list(columns or self.columns)):
                    stored.validate(full=True)
                    batch = _converted(written_out(self.path, stored, repeated), types)
                    self._check(batch, first_row)
                    first_row += batch.num_rows
                    yield batch
            if first_row != self.num_rows:  # the header of a page, which has no checksum, says that it holds fewer
                raise pa.ArrowInvalid(f"expected {self.num_rows} rows")
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path}: damaged after row {first_row}: {_one_line(error)}") from None

    def _check(self, batch: pa.RecordBatch, first_row: int) -> None:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if column.null_count:
                self._refuse(first_row, column.is_null(), f"column {name!r} is null")
        if "sequence" not in batch.schema.names:
            return
        column = batch.column("sequence")
        lengths = list_lengths(column)
        num_features = len(self.features)
        self._refuse(first_row, lengths == 0, "column 'sequence' is empty, expected at least one time step")
        self._refuse(
            first_row,
            lengths % num_features != 0,
            f"column 'sequence' has a number of values that is not a multiple of the {num_features} features",
        )
        flat = list_values(column)
        rows = np.repeat(np.arange(batch.num_rows), lengths) if flat.null_count else None
        if rows is not None:
            holds_null = np.isin(np.arange(batch.num_rows), rows[flat.is_null().to_numpy(zero_copy_only=False)])
            self._refuse(first_row, holds_null, "column 'sequence' holds a null; write missing values as NaN")
        values = as_numpy(flat)
        with np.errstate(over="ignore", invalid="ignore"):
            may_hold_infinite = not np.isfinite(values.sum())  # one pass, where looking at each value takes three
        if may_hold_infinite and np.isinf(values).any():
            infinite = np.add.reduceat(np.isinf(values), np.cumsum(lengths) - lengths) > 0
            self._refuse(first_row, infinite, "column 'sequence' holds an infinite value, or one too large for float32")

    def _refuse(self, first_row: int, is_bad: pa.Array | np.ndarray, what: str) -> None:
        bad = np.flatnonzero(np.asarray(is_bad))
        if len(bad):
            raise InputError(f"{self.path}: row {first_row + int(bad[0])}: {what}")


def as_numpy(array: pa.Array) -> np.ndarray:
    """Return the numbers of an array without nulls, not copied and not to be changed.

    Arrow's own `to_numpy` imports pandas where that is installed: .3 s of a stage that takes 1.5.
    """
    return np.from_dlpack(array)


def list_lengths(column: pa.ListArray) -> Int32[np.ndarray, " row"]:
    """Return how many values each list of a column without nulls holds.

    Not by `pyarrow.compute`, which makes a function of each that Arrow has: a twentieth of stage train, and `flatten` imports it.
    """
    return np.diff(as_numpy(column.offsets))


def list_values(column: pa.ListArray) -> pa.Array:
    """Return the values of all lists of a column without nulls, one after another."""
    first, last = column.offsets[0].as_py(), column.offsets[-1].as_py()
    return column.values.slice(first, last - first)


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


def is_contract(schema: pa.Schema) -> bool:
    """Return whether a table holds what a prediction needs of the contract: `id` and `sequence`."""
    return all(name in schema.names and _READABLE[name][0](schema.field(name).type) for name in ("id", "sequence"))


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
    columns = [
        column if column.type == types[name] else column.cast(types[name], safe=False)
        for name, column in zip(names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
