import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet
from rnnflow.sequences.dataset import load
from rnnflow.sequences.parquet import SequenceFile, write_table
from tests.deliveries import columns, deliver, random_table, table, with_entry, without


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / name, random_table(100, 5))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_are_compressed_for_floats_in_row_groups_of_eight_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_table(path, random_table(num_rows=200, num_steps=25_000))  # 20 MB
    metadata = pq.ParquetFile(path).metadata
    column = metadata.row_group(0).column(1)
    assert column.path_in_schema == "sequence.list.element"
    assert (column.compression, "BYTE_STREAM_SPLIT" in column.encodings) == ("ZSTD", True)
    assert not column.has_dictionary_page
    assert metadata.num_row_groups == 3


def test_pandas_reads_what_was_written(tmp_path: Path) -> None:
    sequences = [np.array([[1, np.nan], [3, 4]], np.float32), np.array([[5, 6]], np.float32)]
    write_table(tmp_path / "part.parquet", table(sequences, ["a", "b"]))
    frame = pd.read_parquet(tmp_path / "part.parquet")
    assert frame["id"].tolist() == ["s0", "s1"]
    assert frame["label"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(frame["sequence"][0], np.array([1, np.nan, 3, 4], np.float32))


def test_large_files_are_read_in_pieces_with_the_right_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "READ_ROWS", 6)
    content = columns(50)
    content["label"][40] = None
    file = SequenceFile.open(deliver(tmp_path / "a.parquet", content, row_group_size=7))
    read: list[int] = []
    with pytest.raises(InputError, match="row 40: column 'label' is null"):
        read.extend(batch.num_rows for batch in file.batches())
    assert len(read) > 1


NUMBERS = [[1, 2], [3, 4, 5, 6]]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float16()),
        pa.list_(pa.uint8()),
        pa.list_(pa.int64()),
    ],
    ids=str,
)
def test_every_list_of_numbers_is_read_as_float32(kind: pa.DataType, tmp_path: Path) -> None:
    halves = [np.array(numbers, np.float16) for numbers in NUMBERS]
    sequences = pa.array(halves if kind.value_type == pa.float16() else NUMBERS, kind)
    deliver(tmp_path / "a.parquet", columns(2) | {"sequence": sequences})
    split = load(tmp_path)
    np.testing.assert_array_equal(split.values, np.array([[1, 2], [3, 4], [5, 6]], np.float32), strict=True)
    assert split.offsets.tolist() == [0, 1, 3]


def test_lists_of_fixed_size_are_read_as_well(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(2) | {"sequence": pa.array([[1, 2], [3, 4]], pa.list_(pa.float64(), 2))})
    assert load(tmp_path).values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "convert",
    [
        lambda text: text.cast(pa.large_string()),
        lambda text: text.cast(pa.string_view()),
        lambda text: text.dictionary_encode(),
        lambda text: text.cast(pa.large_string()).dictionary_encode(),
    ],
    ids=["large_string", "string_view", "dictionary", "dictionary of large_string"],
)
def test_every_kind_of_text_is_read(convert: Callable[[pa.Array], pa.Array], tmp_path: Path) -> None:
    content = columns(30)
    text = {name: convert(pa.array(content[name])) for name in ("id", "label")}
    text["group"] = convert(pa.array([f"g{row % 3}" for row in range(30)]))
    deliver(tmp_path / "a.parquet", content | text, row_group_size=8)
    read = pa.Table.from_batches(SequenceFile.open(tmp_path / "a.parquet").batches())
    for name, column in text.items():
        assert read[name].type == pa.string()
        assert read[name].to_pylist() == column.to_pylist()
    assert load(tmp_path).classes == ("cat", "dog")


def test_a_frame_of_pandas_with_categories_and_naive_times_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(columns(6))
    frame["label"] = frame["label"].astype("category")
    frame["group"] = pd.Categorical(["g"] * 6)
    frame["time"] = pd.date_range("2024-01-01", periods=6, freq="h")
    frame.to_parquet(tmp_path / "a.parquet")
    file = SequenceFile.open(tmp_path / "a.parquet", features=["x", "y"])
    (batch,) = file.batches()
    assert file.columns == ["id", "sequence", "label", "group", "time"]
    assert batch.column("time").type == pa.timestamp("us", tz="UTC")
    assert batch.column("time")[1].as_py().isoformat() == "2024-01-01T01:00:00+00:00"


def test_columns_that_are_not_in_the_contract_are_left_alone(tmp_path: Path) -> None:
    path = deliver(tmp_path / "a.parquet", {"note": [object.__name__] * 4, **columns(4)})
    assert SequenceFile.open(path).columns == ["id", "sequence", "label"]


def test_a_file_without_labels_can_be_read_where_none_are_needed(tmp_path: Path) -> None:
    content = columns(4)
    del content["label"]
    path = deliver(tmp_path / "a.parquet", content | {"time": ["noon"] * 4})
    (batch,) = SequenceFile.open(path, needs_label=False).batches(["id", "sequence"])
    assert batch.num_rows == 4


def not_utf8() -> pa.Array:
    offsets, text = np.array([0, 1, 3], np.int32), b"a\xff\xfe"
    return pa.StringArray.from_buffers(2, pa.py_buffer(offsets), pa.py_buffer(text))


BAD_CONTENT = {
    "no id column": (without("id"), "column 'id' is missing, there are sequence, label"),
    "no sequence column": (without("sequence"), "column 'sequence' is missing, there are id, label"),
    "no label column": (without("label"), "column 'label' is missing, there are id, sequence"),
    "id as numbers": (columns() | {"id": range(40)}, "column 'id' is int64, expected string"),
    "label as numbers": (columns() | {"label": [0.0, 1.0] * 20}, "column 'label' is double, expected string"),
    "group as numbers": (columns() | {"group": range(40)}, "column 'group' is int64, expected string"),
    "sequence as text": (
        columns() | {"sequence": ["1 2 3"] * 40},
        "column 'sequence' is string, expected a list of numbers",
    ),
    "sequence as list of steps": (
        columns() | {"sequence": [[[1.0, 2.0]]] * 40},
        "column 'sequence' is list<element: list<element: double>>, expected a list of numbers",
    ),
    "time as text": (columns() | {"time": ["noon"] * 40}, "column 'time' is string, expected a timestamp"),
    "null id": (with_entry("id", 7, None), "row 7: column 'id' is null"),
    "null label": (with_entry("label", 7, None), "row 7: column 'label' is null"),
    "null category": (
        columns(2) | {"label": pa.array(["a", None]).dictionary_encode()},
        "row 1: column 'label' is null",
    ),
    "null group": (columns() | {"group": ["g"] * 39 + [None]}, "row 39: column 'group' is null"),
    "null time": (
        columns() | {"time": pa.array([None, *range(39)], pa.timestamp("ms"))},
        "row 0: column 'time' is null",
    ),
    "null sequence": (with_entry("sequence", 7, None), "row 7: column 'sequence' is null"),
    "null in a sequence": (
        with_entry("sequence", 7, [1.0, None]),
        "row 7: column 'sequence' holds a null; write missing values as NaN",
    ),
    "empty sequence": (
        with_entry("sequence", 7, []),
        "row 7: column 'sequence' is empty, expected at least one time step",
    ),
    "ragged sequence": (
        with_entry("sequence", 7, [1.0, 2.0, 3.0]),
        "row 7: column 'sequence' has a number of values that is not a multiple of the 2 features",
    ),
    "infinite value": (
        with_entry("sequence", 7, [1.0, float("-inf")]),
        "row 7: column 'sequence' holds an infinite value, or one too large for float32",
    ),
    "too large for float32": (
        with_entry("sequence", 39, [1e300, 1.0]),
        "row 39: column 'sequence' holds an infinite value, or one too large for float32",
    ),
    "text that is not UTF-8": (
        columns(2) | {"label": not_utf8()},
        "damaged after row 0: In column 2: Invalid: Invalid UTF8 sequence at string index 1",
    ),
}


@pytest.mark.parametrize(("content", "expected"), BAD_CONTENT.values(), ids=BAD_CONTENT)
def test_bad_content_is_refused_with_its_place(content: dict[str, Any], expected: str, tmp_path: Path) -> None:
    path = deliver(tmp_path / "a.parquet", content)
    with pytest.raises(InputError) as refused:
        list(SequenceFile.open(path).batches())
    assert str(refused.value) == f"{path}: {expected}"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, "the metadata key 'rnnflow' is missing, which names the features"),
        ("{", "the metadata key 'rnnflow' is not JSON with 'version' and 'features'"),
        ("[1]", "the metadata key 'rnnflow' is not JSON with 'version' and 'features'"),
        (b"\xff", "the metadata key 'rnnflow' is not JSON with 'version' and 'features'"),
        ('{"version": 1}', "the metadata key 'rnnflow' is not JSON with 'version' and 'features'"),
        ('{"version": 2, "features": ["x"]}', "data contract version 2, this program reads version 1"),
        (
            '{"version": 1, "features": []}',
            "the metadata key 'rnnflow' has features [], expected a list of unlike names",
        ),
        (
            '{"version": 1, "features": ["x", "x"]}',
            "the metadata key 'rnnflow' has features ['x', 'x'], expected a list of unlike names",
        ),
        (
            '{"version": 1, "features": ["x", ""]}',
            "the metadata key 'rnnflow' has features ['x', ''], expected a list of unlike names",
        ),
        (
            '{"version": 1, "features": "xy"}',
            "the metadata key 'rnnflow' has features 'xy', expected a list of unlike names",
        ),
    ],
)
def test_bad_metadata_is_refused(metadata: str | bytes | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns()).replace_schema_metadata(metadata and {"rnnflow": metadata}), path)
    with pytest.raises(InputError) as refused:
        SequenceFile.open(path)
    assert str(refused.value).startswith(f"{path}: {expected}")


def test_the_metadata_of_a_file_goes_before_the_features_given(tmp_path: Path) -> None:
    path = deliver(tmp_path / "a.parquet", columns())
    assert SequenceFile.open(path, features=["other"]).features == ("x", "y")


def test_metadata_is_what_the_contract_says(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", random_table(3, 2))
    metadata = pq.read_schema(tmp_path / "a.parquet").metadata[b"rnnflow"]
    assert json.loads(metadata) == {"version": 1, "features": ["f0"]}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    path = deliver(tmp_path / "a.parquet", columns())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="not a complete Parquet file"):
        SequenceFile.open(path)


def test_a_file_damaged_inside_is_refused(tmp_path: Path) -> None:
    path = deliver(tmp_path / "a.parquet", columns(500), compression="zstd", row_group_size=100)
    column = pq.ParquetFile(path).metadata.row_group(3).column(1)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: damaged after row \d+: "):
        list(SequenceFile.open(path).batches())
