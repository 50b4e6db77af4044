"""Parquet files as a person brings them: written by other programs, in other types, good and bad."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rnnflow.sequences import parquet

FEATURES = ("x", "y")


def columns(num_rows: int = 40, prefix: str = "a", num_features: int = len(FEATURES)) -> dict[str, Any]:
    """Return the columns of a small file: two classes in turn, one to five steps."""
    rng = np.random.default_rng([num_rows, *prefix.encode()])
    return {
        "id": [f"{prefix}-{row}" for row in range(num_rows)],
        "sequence": [
            rng.standard_normal(num_features * int(length)).tolist() for length in rng.integers(1, 6, num_rows)
        ],
        "label": [("cat", "dog")[row % 2] for row in range(num_rows)],
    }


def with_entry(name: str, row: int, entry: object) -> dict[str, Any]:
    """Return the columns of a small file with one entry changed."""
    content = columns()
    content[name][row] = entry
    return content


def without(name: str) -> dict[str, Any]:
    """Return the columns of a small file without one of them."""
    content = columns()
    del content[name]
    return content


def deliver(path: Path, content: dict[str, Any], features: Sequence[str] | None = FEATURES, **options: Any) -> Path:
    """Write `content` as Parquet, with the names of the features in the metadata unless there are none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = features and {"rnnflow": json.dumps({"version": 1, "features": list(features)})}
    pq.write_table(pa.table(content).replace_schema_metadata(metadata), path, **options)
    return path


def table(sequences: list[np.ndarray], labels: list[str] | None = None, first_id: int = 0) -> pa.Table:
    """Return sequences of shape (time, feature) in the contract's schema."""
    num_features = sequences[0].shape[1]
    offsets = np.concatenate(([0], np.cumsum([len(sequence) for sequence in sequences])))
    content = [
        pa.array([f"s{first_id + row}" for row in range(len(sequences))]),
        parquet.sequence_column(np.concatenate(sequences), offsets),
        pa.array(labels or ["a"] * len(sequences)),
    ]
    return pa.table(content, schema=parquet.schema([f"f{index}" for index in range(num_features)]))


def random_table(num_rows: int, num_steps: int) -> pa.Table:
    """Return noise of one feature in the contract's schema."""
    values = np.random.default_rng(0).standard_normal((num_rows, num_steps, 1), dtype=np.float32)
    return table(list(values))
