"""Recordings as people bring them, in every layout that source `files` reads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES = ["x", "y"]
Recording = tuple[str, str, np.ndarray]
"""Id, label and values of shape (time, feature)."""


def recordings(
    count: int = 40, num_features: int = 2, prefix: str = "r", same_length: int | None = None
) -> list[Recording]:
    """Return recordings of two classes in turn, of three to nine steps."""
    rng = np.random.default_rng([count, *prefix.encode()])
    lengths = [same_length or int(length) for length in rng.integers(3, 10, count)]
    return [
        (f"{prefix}{index}", ("cat", "dog")[index % 2], rng.standard_normal((length, num_features)).astype(np.float32))
        for index, length in enumerate(lengths)
    ]


def long_table(
    entries: Sequence[Recording], features: Sequence[str] = FEATURES, **columns: Sequence[Any]
) -> pd.DataFrame:
    """Return one row per time step; each of `columns` has an entry a recording."""
    rows = []
    for index, (name, label, values) in enumerate(entries):
        for step, value in enumerate(values):
            row = {"id": name, "time": f"2026-03-{1 + index % 28:02d}T00:00:{step:02d}Z", "label": label}
            row |= dict(zip(features, value.tolist(), strict=True))
            rows.append(row | {key: entries_of[index] for key, entries_of in columns.items()})
    return pd.DataFrame(rows)


def write_long(path: Path, entries: Sequence[Recording], **columns: Sequence[Any]) -> Path:
    """Write one row per time step, as CSV or Parquet by the path's ending."""
    return write_frame(path, long_table(entries, **columns))


def write_frame(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False, row_group_size=50)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.suffixes else ",")
    return path


def write_rows(path: Path, entries: Sequence[Recording], sequences: Mapping[str, pa.Array]) -> Path:
    """Write one row per sequence as Parquet; `sequences` are the columns with the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names, labels, _ = zip(*entries, strict=True)
    pq.write_table(pa.table({"id": names, "label": labels, **sequences}), path)
    return path


def write_csv_lists(path: Path, entries: Sequence[Recording]) -> Path:
    """Write one row per sequence as CSV, with JSON in the cells."""
    cells = [json.dumps(values.tolist()) for _, _, values in entries]
    frame = pd.DataFrame({"id": [entry[0] for entry in entries], "label": [entry[1] for entry in entries]})
    return write_frame(path, frame.assign(sequence=cells))
