"""Files that could be read in two ways, or lack something: a line says the place and what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.awkward_files import Known, known, labels_of_files, write_steps
from tests.inspecting import generated, section
from tests.logged_files import frame
from tests.named_files import melted_by_large_numbers, steps

Inspected = Callable[..., str]
Refused = Callable[..., tuple[str, str]]


@pytest.mark.parametrize("name", ["y_5", "y_11"])
def test_features_of_unlike_steps_are_named(raw: Path, refused: Refused, name: str) -> None:
    values = np.random.default_rng(0).normal(size=(40, 24)).round(3)
    table = pd.DataFrame(values, columns=[f"{axis}_{step}" for axis in "xy" for step in range(12)])
    table.assign(label=["run", "walk"] * 20).drop(columns=name).to_csv(raw / "a.csv", index=False)
    assert f"only one of the features 'x' and 'y' has a column of step {name[2:]}; add the other" in refused(raw)[1]


def test_whole_numbers_without_names_need_a_word_on_the_class(
    raw: Path, refused: Refused, inspected: Inspected
) -> None:
    values = np.random.default_rng(0).integers(0, 3, (60, 12))
    pd.DataFrame(values).to_csv(raw / "a.csv", header=False, index=False)
    assert "generate.files.columns.label names the column of classes" in refused(raw)[1]
    output = inspected(raw, "--label", "column_11")
    assert "columns column_0 … column_10 are taken as the 11 steps of a row" in output


def test_a_header_of_years_is_no_sequence_of_a_given_split(raw: Path, tmp_path: Path, inspected: Inspected) -> None:
    entries = known(1, ("0", "1"), 24)
    table = steps(entries, lambda step: str(2000 + step)).assign(label=[label for label, _ in entries])
    for name, rows in (("train", slice(0, 26)), ("test", slice(26, 40))):
        table[rows].to_csv(raw / f"{name}.csv", index=False)
    found = generated(section(inspected(raw)), raw, tmp_path)
    assert sum(map(len, found.values())) == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows, "flight_00,walk"], "'flight_00.csv' and 'flight_00' in column 'file' are one file; leave one"),
        (lambda rows: [row.upper() for row in rows], "no column names the other files, such as 'flight_00.csv', or has their ids"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_say_which_file_is_refused(
    raw: Path, refused: Refused, change: Callable[[list[str]], list[str]], message: str
) -> None:
    labels_of_files(raw)
    header, *rows = (raw / "labels.csv").read_text().splitlines()
    (raw / "labels.csv").write_text("\n".join([header, *change(rows)]))
    assert f"labels.csv: {message}" in refused(raw)[1]


def test_a_key_of_two_files_is_refused(raw: Path, refused: Refused) -> None:
    labels_of_files(raw)
    (raw / "again").mkdir()
    (raw / "again" / "flight_03.csv").write_bytes((raw / "flight_03.csv").read_bytes())
    message = "'flight_03.csv' in column 'file' may be 'again/flight_03.csv' or 'flight_03.csv'; write their paths"
    assert message in refused(raw)[1]


def test_keys_of_no_file_are_said(raw: Path, inspected: Inspected) -> None:
    labels_of_files(raw)
    with (raw / "labels.csv").open("a") as file:
        file.write("\nflight_99.csv,run")
    assert "labels.csv: 1 keys name no file, such as 'flight_99.csv'" in inspected(raw)


def test_a_partition_of_rows_without_a_class_is_refused(raw: Path, refused: Refused) -> None:
    for label, table in frame(known()).groupby("activity"):
        folder = raw / f"activity={'__HIVE_DEFAULT_PARTITION__' if label == 'run' else label}"
        folder.mkdir()
        table.drop(columns="activity").to_parquet(folder / "a.parquet", index=False)
    assert "path[-2] is the partition of rows without a value" in refused(raw)[1]


def test_a_melted_row_without_a_step_is_refused(raw: Path, refused: Refused) -> None:
    melted_by_large_numbers(raw)
    (raw / "a.csv").write_text((raw / "a.csv").read_text().replace("r03,16777216,y,", "r03,,y,"))
    assert "column 'step' is empty" in refused(raw)[1]


@pytest.mark.parametrize(("name", "kind"), [("a.xlsx", "'.xlsx'"), ("a.csv.zip", "'.zip'"), ("a.mat", "'.mat'")])
def test_a_file_that_nothing_reads_is_named(raw: Path, refused: Refused, name: str, kind: str) -> None:
    (raw / "README.md").write_text("What is here.")
    (raw / name).write_bytes(b"PK\3\4")
    assert f"{name}: the format {kind} is not known" in refused(raw)[1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((40, 8, 2), complex), "y": np.arange(40) % 2}, "array 'X' is complex128 of shape (40, 8, 2), expected"),
        ({"X_train": np.zeros((40, 8)), "y_train": np.arange(40), "X_test": np.zeros((9, 8))}, "only one of its splits has 'y' of int64"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_named(raw: Path, refused: Refused, arrays: dict[str, Any], message: str) -> None:
    np.savez(raw / "a.npz", **arrays)
    assert message in refused(raw)[1]


def test_a_class_of_another_type_is_named(raw: Path, refused: Refused) -> None:
    table = frame(known())
    table.assign(activity=table["activity"].str.encode("utf-8")).to_parquet(raw / "a.parquet", index=False)
    assert "a.parquet: column 'activity' is binary, expected text or whole numbers" in refused(raw)[1]


def test_one_recording_is_told_what_tells_more_apart(raw: Path, refused: Refused) -> None:
    entries = known(3, num_steps=30)
    write_steps(raw / "a.csv", entries)
    table = pd.read_csv(raw / "a.csv").drop(columns="rec")
    table.to_csv(raw / "a.csv", index=False)
    assert "all are of one group or recording, 'a'; generate.files.columns.id names the column" in refused(raw)[1]


@pytest.mark.parametrize("order", [[0, 2, 1, 3, 4, 5, 7, 6], [7, 6, 5, 4, 3, 2, 1, 0]], ids=["mixed", "reversed"])
@pytest.mark.parametrize("unit", [1, 0.02], ids=["numbers", "times"])
def test_steps_in_another_order_are_said(raw: Path, inspected: Inspected, order: list[int], unit: float) -> None:
    frame(known(), place=np.tile(np.array(order) * unit, 40)).to_csv(raw / "a.csv", index=False)
    output = " ".join(inspected(raw).split())
    assert (
        "column 'place' is no feature: it numbers steps, but the rows of a recording stand in another order" in output
    )


@pytest.mark.parametrize("first", [2010, 46000, 739000], ids=["years", "days of Excel", "days of Matlab"])
def test_numbers_that_may_be_years_or_days_are_said(raw: Path, inspected: Inspected, first: int) -> None:
    frame(known(), date=np.tile(first + np.arange(8), 40)).to_csv(raw / "a.csv", index=False)
    output = " ".join(inspected(raw).split())
    assert f"the times of column 'date', {first} to {first + 7}, are taken as seconds since 1970; if they are" in output


@pytest.mark.parametrize("other", ["cafe\u0301", "caf\u00e9\u200b", "caf\u00e9\u00a0"])
def test_classes_that_look_alike_are_said(raw: Path, inspected: Inspected, other: str) -> None:
    write_steps(raw / "a.csv", known(1, ("caf\u00e9", other, "sit"), count=60))
    assert "differ only in case, blanks or number format" in " ".join(inspected(raw).split())


def test_classes_written_by_numpy_are_said(raw: Path, inspected: Inspected) -> None:
    entries: Known = known(1, ("0.000e+00", "1.000e+00"), 24)
    table = np.column_stack([np.stack([values[:, 0] for _, values in entries]), [float(label) for label, _ in entries]])
    np.savetxt(raw / "a.csv", table, delimiter=",", fmt="%.3e")
    output = " ".join(inspected(raw).split())
    assert (
        "classes are written as 0.000e+00; generate.files.label_names: {'0.000e+00': '0', '1.000e+00': '1'}" in output
    )


def test_a_line_of_units_is_not_to_be_taken_as_missing(raw: Path, refused: Refused) -> None:
    write_steps(raw / "a.csv", known())
    header, *rows = (raw / "a.csv").read_text().splitlines()
    (raw / "a.csv").write_text("\n".join([header, ",g,g,", *rows]))
    assert "first other: 'g' in line 2; if it is a unit, remove the line;" in " ".join(refused(raw)[0].split())


def test_a_row_that_begins_as_a_comment_is_refused(raw: Path, refused: Refused) -> None:
    table = frame(known(count=60))
    table.loc[table["rec"] == "r50", "rec"] = "#r50"
    (raw / "a.csv").write_text("# made by a logger\n# two axes, one class\n" + table.to_csv(index=False))
    message = "a.csv: line 404 begins as a comment and is like a row, '#r50,"
    assert message in refused(raw)[1]


def test_lists_without_commas_are_refused(raw: Path, refused: Refused) -> None:
    entries = known(1)
    table = {"id": range(40), "sequence": [str(values[:, 0]) for _, values in entries], "label": ["run", "walk"] * 20}
    pd.DataFrame(table).to_csv(raw / "a.csv", index=False)
    message = "a.csv: line 2: column 'sequence': expected a list of numbers such as [1.5, 2], got '[-1.142 -1.069"
    assert message in refused(raw)[1]


def test_zeros_at_the_end_are_said(raw: Path, inspected: Inspected) -> None:
    values = np.random.default_rng(0).normal(size=(40, 9, 2))
    values[::4, 6:] = 0
    np.savez(raw / "a.npz", X=values, y=np.arange(40) % 2)
    assert "10 of 40 sequences end in zeros in all features; if that is padding" in " ".join(inspected(raw).split())


def test_a_number_of_each_recording_is_said(raw: Path, inspected: Inspected) -> None:
    frame(known(), age=np.repeat(np.random.default_rng(0).integers(20, 60, 40), 8)).to_csv(raw / "a.csv", index=False)
    assert "column 'age' never changes within a recording: is it a measurement?" in " ".join(inspected(raw).split())


def test_times_in_a_unit_that_no_guess_finds_need_a_word(raw: Path, refused: Refused, inspected: Inspected) -> None:
    """WISDM counts nanoseconds since a phone was switched on."""
    times = 49105962326000 + 50_000_000 * np.arange(320)
    frame(known(), timestamp=times).to_csv(raw / "a.csv", index=False)
    assert "is no time in s since 1970: 49105962326000.0; generate.files.time_unit or time_format" in refused(raw)[1]
    output = inspected(raw, "--time-unit", "ns")
    assert "a step every 0.05 s" in output
    assert "time_unit: ns" in output
