"""Our own reading of a footer says what pyarrow's does."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnnflow.sequences.parquet_bounds import open_footer
from tests import toys


@pytest.mark.parametrize(
    "how", [{}, {"version": "1.0"}, {"use_dictionary": False}, {"write_page_index": True, "write_statistics": False}]
)
def test_columns_are_those_that_pyarrow_finds(how: dict[str, Any], tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["x", "y"] * 20,
            "empty": pa.nulls(40),
            "flag": [True, None] * 20,
            "map": pa.array([[("a", 1)]] * 40, pa.map_(pa.string(), pa.int64())),
            "inner": [{"list": [0.5, 1.5]}] * 40,
            **{f"x{index}": np.arange(40) * 10**index for index in range(18)},
        }
    )
    path = tmp_path / "file.parquet"
    pq.write_table(table, path, row_group_size=7, **how)
    compare(path)


def test_columns_of_a_shard_are_those_that_pyarrow_finds(tmp_path: Path) -> None:
    compare(toys.write_sequences(tmp_path / "part.parquet", toys.random_sequences([5] * 40), ["a", "b"] * 20))


def compare(path: Path) -> None:
    footer = open_footer(path)
    groups = [footer.metadata.row_group(index) for index in range(footer.metadata.num_row_groups)]
    expected = [group.column(index) for group in groups for index in range(group.num_columns)]
    assert [(chunk.path, chunk.num_values, chunk.num_bytes, chunk.repeats_texts) for chunk in footer.chunks] == [
        (
            column.path_in_schema,
            column.num_values,
            column.total_uncompressed_size,
            column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page,
        )
        for column in expected
    ]
