import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from rnnflow.runtime.errors import InputError
from rnnflow.sequences import parquet
from rnnflow.sequences.dataset import SequenceDataset, joined, load, refuse_missing
from rnnflow.sequences.parquet import SequenceFile, write_table
from tests.deliveries import columns, deliver, random_table, table

FLOATS = st.floats(width=32, allow_infinity=False)  # NaN, the missing value, is one of them


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
    assert split.labels.dtype == np.int32
    assert not split.labels.flags.writeable
    assert split.class_counts == [labels.count(name) for name in split.classes]


def test_a_split_is_loaded_without_pandas(tmp_path: Path) -> None:
    """It would take .3 s of every stage, and Arrow imports it wherever it is installed."""
    write_table(tmp_path / "part.parquet", table([np.zeros((3, 1), np.float32)] * 2, ["b", "a"]))
    program = "import pathlib, sys; from rnnflow.sequences import dataset; dataset.load(pathlib.Path(sys.argv[1]))"
    show = "print(*sys.modules)"
    command = [sys.executable, "-c", f"{program}; {show}", str(tmp_path)]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "pyarrow" in imported
    assert "pandas" not in imported


def test_a_dictionary_may_hold_labels_that_do_not_occur(tmp_path: Path) -> None:
    rows = table([np.zeros((3, 1), np.float32)] * 3, ["b", "a", "c"])
    write_table(tmp_path / "part.parquet", rows.slice(1))
    assert load(tmp_path).classes == ("a", "c")


def test_the_range_of_lengths_is_shortest_median_and_longest(tmp_path: Path) -> None:
    write_table(tmp_path / "part.parquet", table([np.zeros((steps, 1), np.float32) for steps in (9, 2, 5, 4, 7)]))
    assert load(tmp_path).length_range == (2, 5, 9)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.parquet: no such file"):
        SequenceFile.open(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"{tmp_path}: no Parquet file, expected part-00000.parquet"):
        load(tmp_path)


@pytest.mark.parametrize("num_files", [1, 2])
def test_a_split_without_rows_is_refused(num_files: int, tmp_path: Path) -> None:
    for index in range(num_files):
        pq.write_table(parquet.schema(["x"]).empty_table(), tmp_path / f"part-{index}.parquet")
    with pytest.raises(InputError, match=f"{tmp_path}: no rows"):
        load(tmp_path)


def test_a_file_without_row_groups_adds_nothing(tmp_path: Path) -> None:
    pq.ParquetWriter(tmp_path / "a.parquet", parquet.schema(["f0"])).close()
    write_table(tmp_path / "b.parquet", random_table(3, 2))
    assert SequenceFile.open(tmp_path / "a.parquet").metadata.num_row_groups == 0
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


def test_more_files_than_a_process_may_hold_open_are_read(tmp_path: Path) -> None:
    for index in range(100):
        write_table(tmp_path / f"part-{index:05d}.parquet", table([np.full((2, 1), index, np.float32)], first_id=index))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    try:
        split = load(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    np.testing.assert_array_equal(split.values[::2, 0], np.arange(100))


def split(lengths: list[int], first_value: int = 0) -> SequenceDataset:
    values = np.arange(first_value, first_value + 2 * sum(lengths), dtype=np.float32).reshape(-1, 2)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return SequenceDataset(values, offsets, np.arange(len(lengths)) % 2, ("x", "y"), ("no", "yes"))


def test_joined_splits_have_the_sequences_of_both() -> None:
    both = joined(split([2, 1]), split([3, 1, 2], first_value=100))
    assert both.lengths.tolist() == [2, 1, 3, 1, 2]
    assert [both.values[start, 0] for start in both.offsets[:-1]] == [0, 4, 100, 106, 108]
    assert both.labels.tolist() == [0, 1, 0, 1, 0]
    assert both.class_counts == [3, 2]
    assert (both.features, both.classes) == (("x", "y"), ("no", "yes"))


def test_a_split_that_misses_nothing_is_not_refused_and_another_is_by_sequence_and_feature() -> None:
    complete = split([2, 1, 3])
    refuse_missing(complete, "train")
    complete.values[[3, 5], 1] = np.nan
    expected = (
        r"^train split: sequence 2: a value of feature 'y' is missing and the model's setting 'missing' is 'refuse'; "
    )
    with pytest.raises(InputError, match=expected):
        refuse_missing(complete, "train")
