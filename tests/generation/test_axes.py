from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.generation.test_files import assert_holds, flat, nested, rows
from tests.recordings import FEATURES, Recording, recordings, write_csv_lists, write_rows

BY_FEATURE: dict[str, Any] = {"features": FEATURES, "axes": "sequence-feature-time"}


def turned(entries: list[Recording]) -> list[Recording]:
    return [(name, label, values.T) for name, label, values in entries]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_lists_may_hold_the_steps_of_a_feature_each(tmp_path: Path, ending: str) -> None:
    entries = recordings()
    if ending == "csv":
        write_csv_lists(tmp_path / "raw" / "a.csv", turned(entries))
    else:
        write_rows(tmp_path / "raw" / "a.parquet", entries, {"sequence": nested(turned(entries))})
    assert_holds(rows(tmp_path / "raw", BY_FEATURE), entries)


def test_features_of_different_numbers_of_steps_are_refused(tmp_path: Path, refusal: Callable[..., str]) -> None:
    sequences = [[[1.0, 2.0], [3.0, 4.0]]] * 39 + [[[1.0, 2.0], [3.0]]]
    write_rows(tmp_path / "raw" / "a.parquet", recordings(), {"sequence": pa.array(sequences)})
    assert "row 39: column 'sequence' has features of different numbers of steps" in refusal(files=BY_FEATURE)


def test_lists_of_features_taken_for_steps_are_refused_with_the_cure(
    tmp_path: Path, refusal: Callable[..., str]
) -> None:
    entries = recordings()
    write_rows(tmp_path / "raw" / "a.parquet", entries, {"sequence": nested(turned(entries))})
    assert "set generate.files.axes: sequence-feature-time" in refusal(files={"features": FEATURES})


def test_an_order_of_axes_that_a_column_cannot_have_is_refused(tmp_path: Path, refusal: Callable[..., str]) -> None:
    entries = recordings()
    write_rows(tmp_path / "raw" / "a.parquet", entries, {"sequence": flat(entries, pa.list_(pa.float32()))})
    assert "generate.files.axes: sequence-feature-time is of NumPy arrays and of lists of lists" in refusal(
        files=BY_FEATURE
    )
