"""Classes in a table of their own: a CSV file with a row for each file, or for each id."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from rnnflow.generation.sources.csv_files import read_csv
from rnnflow.generation.sources.lines import LineFilter
from rnnflow.generation.sources.paths import names_of
from rnnflow.generation.sources.values import listed
from rnnflow.params.generate import FilesParams, LabelTable
from rnnflow.runtime.errors import InputError, library

DELIMITERS = ",;\t|"
_AS_FLOAT = re.compile(r"(\d+)\.0")


@dataclass(frozen=True)
class Classes:
    """What a table says."""

    path: Path
    key: str
    """The column with the keys."""
    of: dict[str, str]
    """The class of each key."""
    _named: dict[str, Path] = field(default_factory=dict)
    """The file that each key was found to name."""

    def of_file(self, below: Path) -> str:
        """Return the class of a file.

        Raises:
            InputError: the table does not name it, or twice, or what names it names another one as well.
        """
        found = [key for key in dict.fromkeys(names_of(below)) if key in self.of]
        if not found:
            if self.key in names_of(below):
                raise InputError(
                    f"{self.path}: line 1 names a file, expected the names of the columns; write such a line above it"
                )
            raise InputError(
                f"{self.path}: no {below.as_posix()!r} in column {self.key!r}, and so no class for the file"
            )
        if len(found) > 1:
            raise InputError(
                f"{self.path}: {found[0]!r} and {found[1]!r} in column {self.key!r} are one file; leave one"
            )
        if (other := self._named.setdefault(found[0], below)) != below:
            raise InputError(
                f"{self.path}: {found[0]!r} in column {self.key!r} may be {other.as_posix()!r} or {below.as_posix()!r}; "
                "write their paths"
            )
        return self.of[found[0]]

    def remarks(self) -> list[str]:
        """Return which keys name no file, once all files were read; keys of ids are not looked at."""
        unused = [key for key in self.of if key not in self._named] if self._named else []
        return [f"{self.path}: {len(unused):,} keys name no file, such as {unused[0]!r}"] if unused else []


def read(path: Path, files: FilesParams) -> Classes:
    """Return the classes that a table says.

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
def _read(path: Path, params: LabelTable, changed: int) -> Classes:
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
    return Classes(path, params.key, found)


def plain_key(key: str) -> str:
    """Return a key as it is compared: pandas writes the number 7 as 7.0 where another one is missing."""
    key = key.strip().replace("\\", "/").removeprefix("./")
    return _AS_FLOAT.sub(r"\1", key) if _AS_FLOAT.fullmatch(key) else key


def rows(path: Path) -> pa.Table:
    """Return a small CSV file as text, whatever stands between its columns.

    Raises:
        InputError: it cannot be read.
    """
    with library(f"{path}: cannot be read as CSV"), LineFilter(path, 0).texts() as file:
        delimiter = max(DELIMITERS, key=file.readline().count)
    # Numbered, for otherwise a first line that looks like values would be refused before a better reason is found.
    source = read_csv(path, Path(path.name), FilesParams(delimiter=delimiter, names="numbered"), as_text=True)
    table = pa.Table.from_batches(source.batches(source.schema.names), source.schema)
    return table.slice(1).rename_columns([column[0].as_py() for column in table.columns])
