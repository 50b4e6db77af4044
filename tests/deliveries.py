"""Parquet files as a person brings them: written by other programs, in other types, good and bad."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES = ("x", "y")


def columns(num_rows: int = 40, prefix: str = "a", num_features: int = len(FEATURES)) -> dict[str, Any]:
    """Return the columns of a small file: two classes in turn, one to five steps."""
    rng = np.random.default_rng(num_rows)
    return {
        "id": [f"{prefix}-{row}" for row in range(num_rows)],
        "sequence": [
            rng.standard_normal(num_features * int(length)).tolist() for length in rng.integers(1, 6, num_rows)
        ],
        "label": [("cat", "dog")[row % 2] for row in range(num_rows)],
    }


def deliver(path: Path, content: dict[str, Any], features: Sequence[str] | None = FEATURES, **options: Any) -> Path:
    """Write `content` as Parquet, with the names of the features in the metadata unless there are none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = features and {"rnnflow": json.dumps({"version": 1, "features": list(features)})}
    pq.write_table(pa.table(content).replace_schema_metadata(metadata), path, **options)
    return path
