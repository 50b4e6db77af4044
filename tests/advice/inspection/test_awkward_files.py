"""Files that were once misread in silence, or refused with the wrong words."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.awkward_files import READ, Known, known, spellings, write_steps
from tests.exported_files import EXPORTED
from tests.inspecting import generated, section
from tests.layouts import folders_with_splits, recordings
from tests.logged_files import LOGGED
from tests.named_files import NAMED


def contents(entries: Known) -> Counter[tuple[str, bytes]]:
    return Counter((label, np.asarray(values, np.float32).tobytes()) for label, values in entries)


def found_in(splits: dict[str, list[dict[str, Any]]], num_features: int) -> Known:
    return [
        (row["label"], np.array(row["sequence"], np.float32).reshape(-1, num_features))
        for rows in splits.values()
        for row in rows
    ]


CASES = {**READ, **LOGGED, **EXPORTED, **NAMED}


@pytest.mark.parametrize("name", CASES)
def test_what_inspect_prints_reads_just_what_the_file_holds(
    raw: Path, tmp_path: Path, inspected: Callable[..., str], name: str
) -> None:
    write, remark = CASES[name]
    entries = write(raw)
    output = inspected(raw)
    assert remark in " ".join(output.split())
    assert "that nothing reads" not in output
    found = found_in(generated(section(output), raw, tmp_path), entries[0][1].shape[1])
    assert contents(found) == contents(entries)


def test_given_splits_of_arrays_are_kept(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    READ["arrays of splits"][0](raw)
    found = generated(section(inspected(raw)), raw, tmp_path)
    assert {row["id"] for row in found["test"]} == {f"har/test#{row}" for row in range(20)}


def test_classes_are_merged_as_the_remark_says(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    entries = spellings(raw)
    content = section(inspected(raw))
    names = {"label_names": {"Walk": "walk", "walk ": "walk"}}
    found = found_in(generated(content | {"files": content["files"] | names}, raw, tmp_path), 1)
    assert contents(found) == contents([(label.strip().lower(), values) for label, values in entries])
    trimmed = found_in(generated(content | {"files": content["files"] | {"trim_labels": True}}, raw, tmp_path), 1)
    assert contents(trimmed) == contents([(label.strip(), values) for label, values in entries])


def test_labels_of_a_wrong_shape_are_named(raw: Path, refused: Callable[..., tuple[str, str]]) -> None:
    np.savez(raw / "d.npz", X=np.zeros((60, 20, 3)), y=np.zeros((60, 2)))
    assert refused(raw)[1].endswith("d.npz: array 'y' has the shape (60, 2), expected (60,) as there are sequences")


def test_labels_may_be_a_column_of_an_array(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    entries = known(2, ("0", "1"))
    labels = np.array([[float(label)] for label, _ in entries])
    np.savez(raw / "d.npz", X=np.stack([values for _, values in entries]), y=labels, note=np.zeros((3, 3)))
    output = inspected(raw)
    assert "array 'note' of (3, 3) is not read" in output
    assert contents(found_in(generated(section(output), raw, tmp_path), 2)) == contents(entries)


def test_a_line_of_units_below_the_names_is_refused(raw: Path, refused: Callable[..., tuple[str, str]]) -> None:
    write_steps(raw / "a.csv", known())
    lines = (raw / "a.csv").read_text().split("\n")
    (raw / "a.csv").write_text("\n".join([lines[0], ",m/s2,m/s2,", *lines[1:]]))
    output, line = refused(raw)
    assert "320 of 321 cells are numbers, first other: 'm/s2' in line 2" in output
    assert "line 2: column 'rec' is empty" in line or "line 2: column 'ax': expected a number, got 'm/s2'" in line


def test_folders_of_splits_are_said(raw: Path, inspected: Callable[..., str]) -> None:
    folders_with_splits(raw)
    assert "names of files or folders, path[-3], are taken as given splits" in inspected(raw)


def test_files_that_nothing_reads_are_counted(raw: Path, inspected: Callable[..., str]) -> None:
    write_steps(raw / "a.csv", known())
    for name in ("a.mat", "b.mat", "notes.txt", "README.md", "june.dvc", ".hidden"):
        (raw / name).write_text("nothing")
    assert "files that nothing reads: 2 .mat, 1 .txt" in inspected(raw)


def test_a_counter_that_starts_again_within_a_recording_is_said(raw: Path, inspected: Callable[..., str]) -> None:
    frame = recordings(recording="id", activity="label")
    frame["frame"] = frame.groupby("id").cumcount() % 5
    frame.to_csv(raw / "a.csv", index=False)
    output = inspected(raw)
    assert "column 'frame' is no feature: it counts the rows and starts again 60 times within recordings" in output
    assert section(output)["files"] == {"features": ["a", "b"]}


def test_rates_that_differ_are_said(raw: Path, inspected: Callable[..., str]) -> None:
    frame = recordings(recording="id", activity="label")
    steps = frame.groupby("id").cumcount()
    frame["time"] = np.where(frame["id"] < "r30", steps * 0.02, steps * 0.1)
    frame.to_csv(raw / "a.csv", index=False)
    output = " ".join(inspected(raw).split())
    assert "have another rate: most have a step every 0.02 s on average, one has a step every 0.1 s" in output
    assert "generate.files.resample: {seconds: 0.02} brings them to one" in output


def test_sequences_of_one_step_are_said(
    raw: Path, tmp_path: Path, inspected: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_steps(raw / "a.csv", known(num_steps=1))
    output = inspected(raw)
    lines = (
        "40 of 40 sequences have one step only",
        "more features (2) than steps (at most 1): are the columns steps (generate.files.layout: wide)",
    )
    assert all(line in output for line in lines)
    generated(section(output), raw, tmp_path)
    message = capsys.readouterr().err
    assert all(line in message for line in lines)


def test_a_comment_may_name_the_columns(raw: Path, inspected: Callable[..., str]) -> None:
    write_steps(raw / "a.csv", known())
    (raw / "a.csv").write_text("# " + (raw / "a.csv").read_text())
    content = section(inspected(raw))["files"]
    assert (content["comment"], content["names"]) == ("#", ["rec", "ax", "ay", "activity"])


def test_commas_that_may_mean_two_things_need_a_word(
    raw: Path, tmp_path: Path, inspected: Callable[..., str], refused: Callable[..., tuple[str, str]]
) -> None:
    entries = [(label, np.sign(values) + values) for label, values in known()]
    write_steps(raw / "a.csv", entries, "\t", ",")
    message = refused(raw)[1]
    assert re.search(r"a.csv: is '(-?\d),(\d+)' \1\2 or \1\.\2\? --decimal \. or --decimal , says it$", message)
    found = found_in(generated(section(inspected(raw, "--decimal", ",")), raw, tmp_path), 2)
    assert contents(found) == contents(entries)
    whole = [(label, (values * 1000).round()) for label, values in entries]
    found = found_in(generated(section(inspected(raw, "--decimal", ".")), raw, tmp_path), 2)
    assert contents(found) == contents(whole)


@pytest.mark.parametrize(
    "line",
    [
        "r00,?,5,walk",
        "r00,-,nan,walk",
        'r00,"1,234.5",0.1,walk',
    ],
)
def test_a_first_line_of_values_is_no_line_of_names(raw: Path, inspected: Callable[..., str], line: str) -> None:
    write_steps(raw / "a.csv", known(), header=False)
    (raw / "a.csv").write_text(line + "\n" + (raw / "a.csv").read_text())
    assert section(inspected(raw))["files"]["names"] == "numbered"


def test_a_row_for_each_feature_of_a_step_is_read(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    frame = recordings(recording="id", activity="label")
    frame["step"] = frame.groupby("id").cumcount()
    melted = frame.melt(["id", "label", "step"], ["a", "b"], "dimension", "value")
    melted.sort_values(["id", "dimension", "step"]).to_csv(raw / "a.csv", index=False)
    output = inspected(raw)
    assert "column 'dimension' says which feature a row holds: 'a', 'b'" in output
    assert section(output)["files"] == {"layout": "melted"}
    found = found_in(generated(section(output), raw, tmp_path), 2)
    assert contents(found) == contents(
        [(rows["label"].iloc[0], rows[["a", "b"]].to_numpy()) for _, rows in frame.groupby("id")]
    )


@pytest.mark.parametrize(
    "time_format", ["%d.%m.%Y %H:%M:%S", "%m/%d/%y %I:%M %p", "%d %b %Y %H:%M", "%Y-%m-%d %H:%M:%S"]
)
def test_the_format_of_times_is_found(
    raw: Path, tmp_path: Path, inspected: Callable[..., str], time_format: str
) -> None:
    frame = recordings(recording="id", activity="label")
    times = [datetime(2026, 5, 28) + timedelta(minutes=7 * row) for row in range(len(frame))]
    frame.assign(time=[time.strftime(time_format) for time in times]).to_csv(raw / "a.csv", index=False)
    output = inspected(raw)
    assert section(output).get("files", {}).get("time_format") == (None if "-" in time_format else time_format)
    assert f"2026-05-28T00:00:00Z to {times[-1].isoformat()}Z" in output


def test_a_day_that_may_be_a_month_is_asked_for(
    raw: Path, inspected: Callable[..., str], refused: Callable[..., tuple[str, str]]
) -> None:
    frame = recordings(recording="id", activity="label")
    frame["time"] = [f"03/04/2026 {10 + row // 60}:{row % 60:02d}" for row in range(len(frame))]
    frame.to_csv(raw / "a.csv", index=False)
    assert "which number of '03/04/2026 10:00' is the day? --time-format '%d/%m/%Y %H:%M' or" in refused(raw)[1]
    assert "2026-03-04T10:00:00Z" in inspected(raw, "--time-format", "%m/%d/%Y %H:%M")


def test_rows_that_begin_with_a_sign_are_no_comments(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    entries = known()
    write_steps(raw / "a.csv", entries)
    (raw / "a.csv").write_text((raw / "a.csv").read_text().replace("\nr", "\n#"))
    found = found_in(generated(section(inspected(raw)), raw, tmp_path), 2)
    assert contents(found) == contents(entries)
