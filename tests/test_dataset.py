import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from rnnflow import dataset
from rnnflow.dataset import SequenceFile, load, sequence_column, write_table
from rnnflow.errors import InputError
from tests.deliveries import columns, deliver

FLOATS = st.floats(width=32, allow_infinity=False)  # NaN, the missing value, is one of them


def table(sequences: list[np.ndarray], labels: list[str] | None = None, first_id: int = 0) -> pa.Table:
    num_features = sequences[0].shape[1]
    offsets = np.concatenate(([0], np.cumsum([len(sequence) for sequence in sequences])))
    content = [
        pa.array([f"s{first_id + row}" for row in range(len(sequences))]),
        sequence_column(np.concatenate(sequences), offsets),
        pa.array(labels or ["a"] * len(sequences)),
    ]
    return pa.table(content, schema=dataset.schema([f"f{index}" for index in range(num_features)]))


def random_table(num_rows: int, num_steps: int) -> pa.Table:
    values = np.random.default_rng(0).standard_normal((num_rows, num_steps, 1), dtype=np.float32)
    return table(list(values))


@st.composite
def splits(draw: st.DrawFn) -> list[list[np.ndarray]]:
    """Draw the sequences of one to three files."""
    num_features = draw(st.integers(1, 3))
    shapes = st.tuples(st.integers(1, 5), st.just(num_features))
    sequence = numpy_strategies.arrays(np.float32, shapes, elements=FLOATS)
    return draw(st.lists(st.lists(sequence, min_size=1, max_size=6), min_size=1, max_size=3))


@settings(deadline=None, max_examples=40)
@given(files=splits(), data=st.data())
def test_write_then_load_returns_the_same_sequences(
    files: list[list[np.ndarray]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("split")
    written, labels = [], []
    for index, sequences in enumerate(files):
        drawn = data.draw(st.lists(st.sampled_from("abc"), min_size=len(sequences), max_size=len(sequences)))
        write_table(folder / f"part-{index:05d}.parquet", table(sequences, drawn))
        written += sequences
        labels += drawn

    split = load(folder)
    assert len(split) == len(written)
    for row, sequence in enumerate(written):
        np.testing.assert_array_equal(split.values[split.offsets[row] : split.offsets[row + 1]], sequence)
    assert split.classes == tuple(sorted(set(labels)))
    assert [split.classes[label] for label in split.labels] == labels
    assert split.lengths.tolist() == [len(sequence) for sequence in written]
    assert split.class_counts == [labels.count(name) for name in split.classes]


def test_the_range_of_lengths_is_shortest_median_and_longest(tmp_path: Path) -> None:
    write_table(tmp_path / "part.parquet", table([np.zeros((steps, 1), np.float32) for steps in (9, 2, 5, 4, 7)]))
    assert load(tmp_path).length_range == (2, 5, 9)


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


def test_large_files_are_read_in_pieces_with_the_right_rows(tmp_path: Path) -> None:
    content = columns(50)
    content["label"][40] = None
    file = SequenceFile.open(deliver(tmp_path / "a.parquet", content, row_group_size=7))
    read: list[int] = []
    with pytest.raises(InputError, match="row 40: column 'label' is null"):
        read.extend(batch.num_rows for batch in file.batches(num_rows=6))
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


def with_entry(name: str, row: int, entry: object) -> dict[str, Any]:
    content = columns()
    content[name][row] = entry
    return content


def without(name: str) -> dict[str, Any]:
    content = columns()
    del content[name]
    return content


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
        ('{"version": 1, "features": []}', "the metadata key 'rnnflow' has features [], expected a list of names"),
        ('{"version": 1, "features": "xy"}', "the metadata key 'rnnflow' has features 'xy', expected a list of names"),
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


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.parquet: no such file"):
        SequenceFile.open(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"{tmp_path}: no Parquet file, expected part-00000.parquet"):
        load(tmp_path)


@pytest.mark.parametrize("num_files", [1, 2])
def test_a_split_without_rows_is_refused(num_files: int, tmp_path: Path) -> None:
    for index in range(num_files):
        pq.write_table(dataset.schema(["x"]).empty_table(), tmp_path / f"part-{index}.parquet")
    with pytest.raises(InputError, match=f"{tmp_path}: no rows"):
        load(tmp_path)


def test_a_file_without_row_groups_adds_nothing(tmp_path: Path) -> None:
    pq.ParquetWriter(tmp_path / "a.parquet", dataset.schema(["f0"])).close()
    write_table(tmp_path / "b.parquet", random_table(3, 2))
    assert SequenceFile.open(tmp_path / "a.parquet").parquet.metadata.num_row_groups == 0
    assert len(load(tmp_path)) == 3


def test_files_of_a_split_that_disagree_about_features_are_refused(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(prefix="a"))
    deliver(tmp_path / "b.parquet", columns(prefix="b"), features=["y", "x"])
    with pytest.raises(InputError, match=r"b\.parquet: features y, x, expected x, y"):
        load(tmp_path)


def test_features_other_than_those_expected_are_refused(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns())
    with pytest.raises(InputError, match=r"a\.parquet: features x, y, expected x"):
        load(tmp_path, features=["x"])


def test_classes_keep_the_order_they_are_given_in(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(4))
    split = load(tmp_path, classes=("dog", "bird", "cat"))
    assert split.labels.tolist() == [2, 0, 2, 0]
    assert split.class_counts == [2, 0, 2]


def test_a_label_unknown_to_the_train_split_is_refused(tmp_path: Path) -> None:
    deliver(tmp_path / "a.parquet", columns(4))
    deliver(tmp_path / "b.parquet", columns(4) | {"label": ["cat", "cat", "cow", "cat"]})
    with pytest.raises(InputError, match="row 6: label 'cow' is unknown to the train split, which has cat, dog"):
        load(tmp_path, classes=("cat", "dog"))
