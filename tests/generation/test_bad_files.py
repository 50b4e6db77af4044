"""What a person may bring that cannot be used: one line that names the place, exit status 2, nothing changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.recordings import FEATURES, long_table, recordings, write_frame, write_long

Refusal = Callable[..., str]


def changed(row: int, **entries: Any) -> pd.DataFrame:
    """Return a long table with other entries in one row."""
    frame = long_table(recordings()).astype(dict.fromkeys(entries, object))
    for name, entry in entries.items():
        frame.loc[row, name] = entry
    return frame


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (changed(17, x="abc"), "line 19: column 'x': expected a number, got 'abc'; generate.files.features names the columns to take, generate.files.missing the texts of missing numbers"),
        (changed(0, x="abc"), "line 2: column 'x': expected a number, got 'abc'; remove the line if it holds units or names; generate.files.features names the columns to take, generate.files.missing the texts of missing numbers"),
        (changed(17, x="inf"), "line 19: column 'x' is infinite, or too large for float32"),
        (changed(17, id=""), "line 19: column 'id' is empty"),
        (changed(17, label=""), "line 19: column 'label' is empty"),
        (changed(17, time=""), "line 19: column 'time' is empty"),
        (changed(17, time="2026-99-03T00:00:01Z"), "line 19: column 'time' is no time: '2026-99-03T00:00:01Z'; tried a number of s, ISO 8601; generate.files.time_format says another one, such as '%d.%m.%Y %H:%M:%S', columns.time: null reads none"),
        (changed(17, time="2026-03-03T00:00:99"), "line 19: column 'time' has no time zone, unlike the rows above"),
        (changed(4, time="2026-03-01T00:00:00Z"), "line 6: column 'time' goes back in time, in sequence 'r1'; sort the rows of each recording by time; where a clock was set back, write times in UTC"),
        (changed(4, time="2026-03-02T00:00:00Z"), "line 6: column 'time' has the same time as the row above, in sequence 'r1'; generate.files.columns.time: null reads no times"),
        (changed(4, time="2026-03-02T01:00:01+02:00"), "line 6: column 'time' goes back in time, in sequence 'r1'; sort the rows of each recording by time; where a clock was set back, write times in UTC"),
        (changed(4, label="bird"), "sequence 'r1': the label changes from 'dog' to 'bird' at step 1; cut recordings with generate.windows"),
        (changed(0).drop(columns="label"), "column 'label' is missing, there are id, time, x, y; generate.files.columns.label names the column of classes, generate.files.labels a table of them"),
        (changed(0).drop(columns="id"), "column 'id' is missing, there are time, label, x, y; one recording a file has generate.files.columns.id: path"),
        (changed(0).iloc[[0, 1, 7, 2, 3]], "id 'r0' came before in the same file; the rows of a sequence must stand together, under an id that no other one has"),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_row_of_csv_is_refused(frame: pd.DataFrame, expected: str, tmp_path: Path, refusal: Refusal) -> None:
    write_frame(tmp_path / "raw" / "a.csv", frame)
    if "came before" in expected:  # found at the very end, so that the rest must be in order
        entries = recordings(60, prefix="more")
        write_frame(
            tmp_path / "raw" / "a.csv",
            pd.concat([frame.drop(columns="time"), long_table(entries).drop(columns="time")]),
        )
    assert refusal() == f"raw/a.csv: {expected}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty, expected a line with the names of the columns"),
        ("id,größe,label\na,1,b\n".encode("latin-1"), "expected CSV in UTF-8: 'utf-8' codec can't decode byte 0xf6 in position 5: invalid start byte; save the file in UTF-8"),
        ("id,x,label\na,1,b\na,u,b\n".encode("utf-16"), "line 3: column 'x': expected a number, got 'u'"),
        (b"id,x,label\na,1,b\n" * 2000 + "a,1,größe\n".encode("latin-1"), "line 2: column 'x': expected a number, got 'x'"),
        (b"id,x,label\n" + b"a,1,b\n" * 5000 + "b,1,größe\n".encode("latin-1"), "line 5002: column 'label' is not UTF-8 text; save the file in UTF-8"),
        (b"id,x,label\na,1,b\na,1\n", "line 3: 2 columns, the first line has 3"),
        (b"id,x,x\na,1,b\n", "line 1: two columns are called 'x'; rename one, or skip the line (generate.files.skip) and give generate.files.names"),
    ],
)  # fmt: skip
def test_bad_csv_is_refused(content: bytes, expected: str, tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "raw" / "a.csv").write_bytes(content)
    assert refusal().startswith(f"raw/a.csv: {expected}") or expected.startswith("line 2")


def test_a_group_or_split_that_changes_in_a_recording_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    frame = long_table(recordings(), group=["g"] * 40)
    frame.loc[1, "group"] = "h"
    write_frame(tmp_path / "raw" / "a.csv", frame)
    assert refusal() == "raw/a.csv: line 3: column 'group' changes within sequence 'r0'"


def test_an_unknown_split_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings(), split=["train"] * 39 + ["holdout"])
    assert refusal() == ("raw/a.csv: sequence 'r39': split 'holdout' is not known, expected train, validation or test")


def test_a_quotation_mark_that_is_not_closed_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    frame = long_table(recordings()).assign(note="ok")
    path = write_frame(tmp_path / "raw" / "a.csv", frame)
    lines = path.read_text().splitlines()
    lines[100] = lines[100].replace(",ok", ',"5 inch')
    path.write_text("\n".join(lines))
    message = refusal(files={"features": FEATURES})
    assert message.startswith("raw/a.csv: line 101: a quotation mark is not closed, or a cell holds a line break")


def test_a_recording_that_comes_again_is_refused_where_windows_would_not_show_it(
    tmp_path: Path, refusal: Refusal
) -> None:
    again = [(name, label, values[:5]) for name, label, values in recordings(20, same_length=30)]
    write_frame(
        tmp_path / "raw" / "a.csv",
        pd.concat([long_table(recordings(20, same_length=30)), long_table(again)]).drop(columns="time"),
    )
    message = refusal(windows={"length": 10, "stride": 5})
    assert (
        message
        == "raw/a.csv: id 'r0' came before in the same file; the rows of a sequence must stand together, under an id that no other one has"
    )


def test_a_link_to_a_file_that_is_gone_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_long(tmp_path / "raw" / "june" / "a.csv", recordings())
    (tmp_path / "raw" / "june" / "b.csv").symlink_to(tmp_path / "gone.csv")
    assert refusal().startswith("raw/june/b.csv: a link to a file that is not there")


@pytest.mark.parametrize("path", ["/srv/data", "../elsewhere"])
def test_a_path_out_of_the_folder_is_refused(path: str, tmp_path: Path, refusal: Refusal) -> None:
    assert refusal(files={"paths": [path]}).startswith(f"generate.files.paths: '{path}' leads out of raw")


def test_a_sequence_above_the_largest_length_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_long(tmp_path / "raw" / "a.csv", [*recordings(10), ("long", "cat", np.zeros((50, 2), np.float32))])
    assert refusal(files={"max_length": 20}) == (
        "raw/a.csv: sequence 'long' has 50 steps or more, above generate.files.max_length 20; "
        "cut recordings with generate.windows"
    )


def test_an_id_in_two_files_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings(30, prefix="a"))
    write_long(tmp_path / "raw" / "b.csv", [*recordings(30, prefix="b"), ("a7", "cat", np.ones((3, 2), np.float32))])
    assert refusal() == "raw/b.csv: id 'a7' came before in raw/a.csv"


def test_files_with_other_features_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings(30, prefix="a"))
    write_frame(tmp_path / "raw" / "b.csv", long_table(recordings(30, prefix="b")).rename(columns={"y": "z"}))
    assert (
        refusal()
        == "raw/b.csv: features x, z, but raw/a.csv has x, y; generate.files.features says which and in which order"
    )


def test_files_with_and_without_time_zones_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    for name, zone in (("a", "UTC"), ("b", None)):
        frame = long_table(recordings(30, prefix=name))
        frame["time"] = pd.to_datetime(frame["time"]).dt.tz_convert(zone)
        write_frame(tmp_path / "raw" / f"{name}.parquet", frame)
    assert refusal() == "raw/b.parquet: the times have no time zone, unlike those of the files before"


@pytest.mark.parametrize("path", ["2026/*.csv", "june", "a.csv"])
def test_a_path_that_matches_nothing_is_refused(path: str, tmp_path: Path, refusal: Refusal) -> None:
    write_long(tmp_path / "raw" / "b.csv", recordings())
    assert refusal(files={"paths": [path]}).startswith(f"raw/{path}: no file that source 'files' reads (.arff .csv ")


def test_a_folder_with_two_formats_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings())
    write_long(tmp_path / "raw" / "b.parquet", recordings(prefix="b"))
    assert refusal() == (
        "raw/b.parquet: Parquet (1 files), but raw/a.csv is CSV (1); name the files of one format in generate.files.paths"
    )


def test_a_file_of_an_unknown_format_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "raw" / "notes.doc").write_text("nothing")
    assert refusal(files={"paths": ["notes.doc"]}).startswith(
        "raw/notes.doc: the format '.doc' is not known, expected one of .arff "
    )


def test_a_class_with_fewer_sequences_than_splits_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    rare = [(f"rare{index}", "rare", np.full((3, 2), index, np.float32)) for index in range(2)]
    write_long(tmp_path / "raw" / "a.csv", [*recordings(80), *rare])
    assert refusal() == (
        "source 'files': class 'rare' has 2 sequences, fewer than the 3 splits; bring more of it or leave it out"
    )


def test_a_group_that_would_empty_a_split_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings(), group=["ann"] * 30 + ["bob"] * 10)
    assert refusal().startswith("source 'files': no sequences for the ")
    assert refusal().endswith(
        "of 2 groups, 'ann' holds 75%; bring more groups, or change generate.split or generate.seed"
    )
