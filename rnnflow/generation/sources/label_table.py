"""Classes in a table of their own: a CSV file with a row for each file, or for each id."""

from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from rnnflow.generation.sources.csv_files import read_csv
from rnnflow.generation.sources.values import listed
from rnnflow.params.generate import FilesParams, LabelTable
from rnnflow.runtime.errors import InputError, library

DELIMITERS = ",;\t|"


def read(path: Path, files: FilesParams) -> dict[str, str]:
    """Return the class of each key.

    Raises:
        InputError: the file is missing or no CSV, lacks a column, has an empty cell, or a key twice.
    """
    assert files.labels is not None
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        raise InputError(f"{path}: no such file; generate.files.labels.path is below data/raw") from None
    return _read(path, files.labels, changed)


@lru_cache(maxsize=1)  # each of thousands of files asks for it
def _read(path: Path, params: LabelTable, changed: int) -> dict[str, str]:
    table = rows(path)
    for name in (params.key, params.label):
        if name not in table.column_names:
            raise InputError(f"{path}: column {name!r} is missing, there are {listed(table.column_names)}")
    keys, labels = table[params.key].to_pylist(), table[params.label].to_pylist()
    found: dict[str, str] = {}
    for number, (key, label) in enumerate(zip(keys, labels, strict=True), 2):
        if not key or not label:
            empty = params.key if not key else params.label
            raise InputError(f"{path}: line {number}: column {empty!r} is empty")
        key = plain_key(key)
        if key in found:
            raise InputError(f"{path}: line {number}: {key!r} came before in column {params.key!r}")
        found[key] = label
    return found


def plain_key(key: str) -> str:
    """Return a key as it is compared: pandas writes the number 7 as 7.0 where another one is missing."""
    return key.strip().removesuffix(".0")


def rows(path: Path) -> pa.Table:
    """Return a small CSV file as text, whatever stands between its columns.

    Raises:
        InputError: it cannot be read.
    """
    with library(f"{path}: cannot be read as CSV"), path.open(encoding="utf-8-sig") as file:
        delimiter = max(DELIMITERS, key=file.readline().count)
    # Numbered, for otherwise a first line that looks like values would be refused before a better reason is found.
    source = read_csv(path, Path(path.name), FilesParams(delimiter=delimiter, names="numbered"), as_text=True)
    table = pa.Table.from_batches(source.batches(source.schema.names), source.schema)
    return table.slice(1).rename_columns([column[0].as_py() for column in table.columns])
