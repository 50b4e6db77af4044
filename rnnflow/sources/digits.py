"""Real data that is always there: scikit-learn's handwritten digits, read row by row."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from rnnflow import parquet
from rnnflow.params import GenerateParams
from rnnflow.splitting import SPLITS, assign

NUM_STEPS = NUM_FEATURES = 8


def read(params: GenerateParams, raw: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield 1,797 images of 8 x 8 pixels as sequences of 8 steps with 8 features each, in ten classes."""
    from sklearn.datasets import load_digits  # loads in seconds, and no other source needs it

    images, targets = load_digits(return_X_y=True)
    ids = [f"digits-{index:04d}" for index in range(len(images))]
    table = pa.Table.from_arrays(
        [
            pa.array(ids),
            parquet.sequence_column(
                images.astype(np.float32).reshape(-1, NUM_FEATURES), NUM_STEPS * np.arange(len(images) + 1)
            ),
            pa.array([str(target) for target in targets]),
        ],
        schema=parquet.schema([f"pixel_{column}" for column in range(NUM_FEATURES)]),
    )
    sides = assign(ids, params.split, params.seed)
    for index, split in enumerate(SPLITS):
        rows = table.filter(pa.array(sides == index))
        for first in range(0, len(rows), params.shard_rows):
            yield split, rows.slice(first, params.shard_rows)
