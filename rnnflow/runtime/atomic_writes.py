"""How outputs are written: under a temporary name beside their place, renamed when complete."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnflow.runtime.errors import InputError

NUM_DECIMALS = 6


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends well and vanishes otherwise."""
    temporary = _beside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folders(*folders: Path) -> Iterator[list[Path]]:
    """Yield an empty temporary folder for each of `folders`; together they replace them when the block ends well.

    A run that was killed may have left its temporary folders; the next one begins by removing them.
    """
    temporaries = [_beside(folder) for folder in folders]
    try:
        for temporary in temporaries:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        yield temporaries
        for temporary, folder in zip(temporaries, folders, strict=True):
            shutil.rmtree(folder, ignore_errors=True)
            temporary.replace(folder)
    finally:
        for temporary in temporaries:
            shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    if not path.name:  # `.` and `/`
        raise InputError(f"{path}: expected the name of a file or folder to write, which could be replaced as a whole")
    return path.with_name(f".{path.name}.tmp")


def write_json(path: Path, content: Mapping[str, object], is_sorted: bool = True) -> None:
    """Write `content` with floats of fixed precision, and sorted keys unless their order is meant for readers."""
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps(rounded(content), indent=2, sort_keys=is_sorted, allow_nan=False) + "\n", encoding="utf-8"
        )


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write `rows`, which have the same columns, as CSV with floats of fixed precision."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: rounded(value) for name, value in row.items()} for row in rows)


def rounded(value: object) -> Any:
    """Return JSON with floats of the precision in which they are written."""
    if isinstance(value, float):
        return round(value, NUM_DECIMALS)
    if isinstance(value, Mapping):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value
