"""Lists, tensors and arrays that cannot be used, and files that are damaged: one line that names the place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.recordings import FEATURES, long_table, recordings, write_csv_lists, write_frame, write_long, write_rows

Refusal = Callable[..., str]


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ([[1.0, 2.0], [3.0]], "row 4: column 'sequence' has a step without exactly 2 features, as the others have; if"),
        ([], "row 4: column 'sequence' is empty, expected at least one time step"),
        (None, "row 4: column 'sequence' is null"),
        ([[1.0, np.inf]], "row 4: column 'sequence' is infinite, or too large for float32"),
    ],
)
def test_a_bad_sequence_of_parquet_is_refused(sequence: Any, expected: str, tmp_path: Path, refusal: Refusal) -> None:
    entries = recordings()
    lists = [values.tolist() for _, _, values in entries]
    lists[4] = sequence
    write_rows(tmp_path / "raw" / "a.parquet", entries, {"sequence": pa.array(lists)})
    assert refusal(files={"features": FEATURES}).startswith(f"raw/a.parquet: {expected}")


def test_list_columns_of_unequal_lengths_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    entries = recordings()
    columns = {name: [values[:, index].tolist() for _, _, values in entries] for index, name in enumerate(FEATURES)}
    columns["y"][4] = [1.0]
    write_rows(tmp_path / "raw" / "a.parquet", entries, {name: pa.array(lists) for name, lists in columns.items()})
    assert refusal() == "raw/a.parquet: row 4: column 'y' has another number of steps than column 'x'"


def test_text_in_a_list_of_csv_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    path = write_csv_lists(tmp_path / "raw" / "a.csv", recordings())
    lines = path.read_text().splitlines()
    lines[3] = 'r2,cat,"[[1, 2], [3, abc]]"'
    path.write_text("\n".join(lines))
    expected = (
        "raw/a.csv: line 4: column 'sequence': expected a list of numbers such as [1.5, 2], got '[[1, 2], [3, abc]]'"
    )
    assert refusal(files={"features": FEATURES}) == expected


def test_a_tensor_in_another_order_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    kind = pa.fixed_shape_tensor(pa.float32(), [2, 4], permutation=[1, 0])
    storage = pa.array(np.zeros((40, 8), np.float32).tolist(), pa.list_(pa.float32(), 8))
    write_rows(
        tmp_path / "raw" / "a.parquet", recordings(), {"sequence": pa.ExtensionArray.from_storage(kind, storage)}
    )
    assert refusal(files={"features": FEATURES}).endswith("expected (time, feature) in that order")


def test_lists_of_lists_for_each_feature_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    nested = pa.array([values.tolist() for _, _, values in recordings()])
    write_rows(tmp_path / "raw" / "a.parquet", recordings(), {"x": nested, "y": nested})
    assert "column 'x' holds lists of lists, which is whole sequences" in refusal()


def test_an_id_for_all_rows_is_named_before_an_empty_split(tmp_path: Path, refusal: Refusal) -> None:
    entries = [("same", label, values) for _, label, values in recordings()]
    write_rows(tmp_path / "raw" / "a.parquet", entries, {"x": pa.array([[1.0, float(row)] for row in range(40)])})
    assert "id 'same' came before in the same file" in refusal()


def test_lists_that_are_too_deep_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    entries = recordings()
    write_rows(tmp_path / "raw" / "a.parquet", entries, {"sequence": pa.array([[[[1.0]]]] * 40)})
    assert refusal(files={"features": ["x"]}).endswith("lists deeper than (time, feature)")


def test_two_columns_of_one_name_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    columns = [pa.array(["a", "b"]), pa.array(["c", "d"]), pa.array([1.0, 2.0]), pa.array([3.0, 4.0])]
    pq.write_table(pa.Table.from_arrays(columns, names=["id", "label", "x", "x"]), tmp_path / "raw" / "a.parquet")
    assert refusal() == "raw/a.parquet: two columns are called 'x'"


def test_text_where_parquet_should_hold_numbers_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_frame(tmp_path / "raw" / "a.parquet", long_table(recordings()).assign(y="1.5"))
    assert refusal().startswith("raw/a.parquet: column 'y' is ")
    assert refusal().endswith("expected numbers; name the columns to take in generate.files.features")


def test_a_corrupt_row_group_in_the_third_of_five_files_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    for name in "abcde":
        path = write_long(tmp_path / "raw" / f"{name}.parquet", recordings(60, prefix=name))
    path = tmp_path / "raw" / "c.parquet"
    column = pq.read_metadata(path).row_group(2).column(3)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    assert refusal().startswith("raw/c.parquet: row group 2, after row 100: damaged: ")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"label": ["a"] * 4}, "array 'sequence' is missing, there are label; generate.files.columns.sequence names it"),
        ({"sequence": np.zeros(4)}, "array 'sequence' is float64 of shape (4,), expected numbers of (sequence, time, feature)"),
        ({"sequence": np.zeros((4, 3)), "label": ["a"] * 3}, "array 'label' has the shape (3,), expected (4,) as there are sequences"),
        ({"sequence": np.zeros((4, 3)), "label": ["a"] * 4, "lengths": [1, 2, 3, 4]}, "array 'lengths': expected 4 whole numbers up to 3"),
        ({"sequence": np.zeros((4, 3)), "label": ["a"] * 4, "lengths": [1, -1, 3, 3]}, "array 'lengths': expected 4 whole numbers up to 3"),
        ({"sequence": np.zeros((4, 3)), "label": ["a"] * 4, "lengths": [1, 0, 3, 3]}, "sequence 1: column 'sequence' is empty, expected at least one time step"),
        ({"sequence": np.array([[1], [2, 3]], object), "label": ["a"] * 2}, "not an .npz file of plain arrays: Object arrays cannot be loaded when allow_pickle=False; pad sequences of unlike lengths and add an array 'lengths', or write lists in Parquet"),
    ],
)  # fmt: skip
def test_bad_arrays_are_refused(arrays: dict[str, Any], expected: str, tmp_path: Path, refusal: Refusal) -> None:
    np.savez(tmp_path / "raw" / "a.npz", **arrays)
    assert refusal() == f"raw/a.npz: {expected}"


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.ts", "a.arff", "a.csv.gz"])
def test_garbage_is_refused(name: str, tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "raw" / name).write_bytes(b"\x00garbage\xff" * 40)
    assert refusal().startswith(f"raw/{name}: ")
