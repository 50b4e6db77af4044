"""More files that people have: each is read as it is with a remark, or refused with a line that names the place."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnflow.generation.sources import json_lines
from tests.awkward_files import known, labels_of_files, write_steps
from tests.logged_files import frame

Inspected = Callable[..., str]
Refused = Callable[..., tuple[str, str]]


def changed(raw: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Write one row per time step, its lines changed."""
    write_steps(raw / "a.csv", known())
    (raw / "a.csv").write_text("\n".join(change((raw / "a.csv").read_text().split("\n"))), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:33], lines[0], *lines[33:]], "line 34 repeats the names of the columns; remove it"),
        (lambda lines: [*lines[:36], lines[0], *lines[36:]], "line 37 repeats the names of the columns; remove it"),
        (lambda lines: [lines[0], "-,m/s,[g],-", *lines[1:]], "line 2: column 'ax': expected a number, got 'm/s'; remove the line if it holds units"),
        (lambda lines: [*lines[:-1], "Total,,,", ""], "line 322: column 'activity' is empty"),
        (lambda lines: [*lines[:9], lines[9].replace(".", "\0.", 1), *lines[10:]], "line 10: a zero byte"),
        (lambda lines: [line.replace(",-", ",\u2212") for line in lines], "expected a number, got '\u2212"),
        (lambda lines: [lines[0], *sorted(lines[1:-1], key=lambda line: line[3:]), ""], "came before in the same file"),
        (lambda lines: [*lines[:-1], "320 rows exported"], "line 322: 1 columns, the first line has 4; remove what is no row"),
        (lambda lines: [lines[0] + ",time", *(f"{line},10:{row // 60:02d}:{row % 60:02d} CET" for row, line in enumerate(lines[1:-1]))], "column 'time' is no time: '10:00:00 CET'"),
        (lambda lines: [', '.join(f'"{cell}"' for cell in line.split(",")) for line in lines], "blanks before a quotation mark make it part of the cell"),
        (lambda lines: [line.replace(",", "',") for line in lines], "only double quotation marks are left out around a cell"),
    ],
    ids=["joined files", "joined at a recording", "units", "total", "a zero byte", "long minus signs", "mixed rows", "a footer", "a zone's name", "blanks before quotes", "single quotes"],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(
    raw: Path, refused: Refused, change: Callable[[list[str]], list[str]], message: str
) -> None:
    changed(raw, change)
    assert message in refused(raw)[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", gzip.compress(b"a,b", mtime=0), "compressed by gzip; let its name end in .gz"),
        ("a.csv", b"PK\3\4" + bytes(9), "a zip archive, as .xlsx and .npz files are; unpack it, or save the table as CSV"),
        ("a.tsv", b"PAR1" + bytes(9), "Parquet; let its name end in .parquet"),
        ("a.csv", b"<!DOCTYPE html><html>", "a web page; did a download go wrong?"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; `git lfs pull` brings the file"),
        ("a.csv", "id,x\na,1\n".encode("utf-16-le"), "as in UTF-16 or in no text; save the file in UTF-8"),
        ("a.jsonl", b"", "empty, expected an object in each line"),
        ("a.jsonl", b'[\n {"x": 1}\n]', "line 1: expected an object such as {\"x\": 1.5}, got '['"),
        ("a.jsonl", b'{"id": "a", "label": "k", "x": 1}\n\n{"id": "a", "label": "k", "x": "?"}', "line 3: 'x' is text, '?', and a number above"),
        ("a.jsonl", b'{"id": "a", "label": "k", "x": 1e400}', "line 1: 'x' is infinite, or too large for float64"),
    ],
)  # fmt: skip
def test_what_a_file_is_instead_is_said(raw: Path, refused: Refused, name: str, content: bytes, message: str) -> None:
    (raw / name).write_bytes(content)
    assert f"{name}: {message}" in refused(raw)[1] or message.startswith("as in")


def test_a_key_that_comes_late_is_refused(raw: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "HEAD_BYTES", 100)
    rows: list[dict[str, Any]] = [{"id": f"r{row // 4}", "label": "ab"[row // 4 % 2], "x": row} for row in range(40)]
    (raw / "a.jsonl").write_text("\n".join(json.dumps({**row, **({"y": 1} if row["x"] > 20 else {})}) for row in rows))
    assert "a.jsonl: line 22: 'y' is in none of the first lines; generate.files.features" in refused(raw)[1]


def test_arrays_that_may_be_lengths_are_said(raw: Path, inspected: Inspected) -> None:
    np.savez(raw / "a.npz", X=np.random.default_rng(0).normal(size=(40, 9, 2)), y=np.arange(40) % 2, seq_len=[9] * 40)
    assert "if it says where the padding of each sequence begins, call it 'lengths'" in inspected(raw)


@pytest.mark.parametrize("shape", ["({})", "{}-", "${}", "{} g", "{}%"])
def test_numbers_with_signs_around_them_are_said(raw: Path, inspected: Inspected, shape: str) -> None:
    entries = known()
    table = frame(entries)
    table.assign(ax=[shape.format(abs(value)) for value in table["ax"]]).to_csv(raw / "a.csv", index=False)
    text = shape.format(abs(entries[0][1][0, 0]))
    assert f"column 'ax' is no feature: its numbers are texts such as {text!r}, write plain ones" in inspected(raw)


def test_a_list_between_other_signs_is_said(raw: Path, refused: Refused) -> None:
    rows = [
        f"r{row},{' '.join(f'{value:.3f}' for value in values[:, 0])},{label}"
        for row, (label, values) in enumerate(known(1))
    ]
    (raw / "a.csv").write_text("\n".join(["id,signal,label", *rows]))
    assert refused(raw)[1].endswith("; a list of numbers is written as [1.5, 2]")


def test_a_number_that_may_name_a_feature_is_said(raw: Path, inspected: Inspected) -> None:
    rows = [
        f"r{row},{axis},{value},{label}"
        for row, (label, values) in enumerate(known())
        for axis in (0, 1)
        for value in values[:, axis]
    ]
    (raw / "a.csv").write_text("\n".join(["id,channel,value,label", *rows]))
    assert "column 'channel' is taken as a feature beside 'value'; if it says which feature a row holds" in inspected(
        raw
    )


def test_thousands_without_decimals_need_no_word(raw: Path, inspected: Inspected) -> None:
    table = frame([(label, (values * 1e6).round()) for label, values in known()])
    table.assign(
        **{name: [f"{int(value):,}".replace(",", " ") for value in table[name]] for name in ("ax", "ay")}
    ).to_csv(raw / "a.csv", index=False)
    assert "thousands: ' '" in inspected(raw)


def test_a_table_of_labels_without_names_is_refused(raw: Path, refused: Refused) -> None:
    labels_of_files(raw)
    (raw / "labels.csv").write_text("\n".join((raw / "labels.csv").read_text().splitlines()[1:]))
    assert (
        "labels.csv: line 1 names a file, expected the names of the columns; write such a line above" in refused(raw)[1]
    )


def test_a_step_without_a_column_is_said(raw: Path, inspected: Inspected) -> None:
    values = np.random.default_rng(0).normal(size=(24, 12)).round(3)
    table = pd.DataFrame(values, columns=[f"t{step}" for step in range(12)]).drop(columns="t5")
    table.assign(label=["run", "walk"] * 12).to_csv(raw / "a.csv", index=False)
    assert "no column is between 't4' and 't6': is a step missing there?" in inspected(raw)


def test_a_number_that_stands_for_none_is_said(raw: Path, inspected: Inspected) -> None:
    entries = known()
    entries[3][1][2] = -999, -9999.9
    write_steps(raw / "a.csv", entries)
    output = inspected(raw)
    assert "the outermost value of 'ax' is -999, which often stands for a missing one" in output
    assert "the outermost value of 'ay' is -9999.9, which" in output


def test_steps_without_values_at_the_end_are_said(raw: Path, inspected: Inspected) -> None:
    entries = known()
    for _, values in entries[:5]:
        values[-2:] = np.nan
    write_steps(raw / "a.csv", entries)
    (raw / "a.csv").write_text((raw / "a.csv").read_text().replace("nan", ""))
    assert "the last steps of 5 of 40 sequences have no values; if that is padding" in " ".join(inspected(raw).split())


def test_times_of_two_units_are_refused(raw: Path, refused: Refused) -> None:
    for name, begin, step in (("a", 1772359200, 1), ("b", 1773359200000, 1000)):
        table = frame(known()).assign(timestamp=begin + step * np.arange(320))
        table.assign(rec=name + table["rec"]).to_csv(raw / f"{name}.csv", index=False)
    assert "b.csv: line 2: column 'timestamp' is no time in s since 1970: 1773359200000" in refused(raw)[1]


@pytest.mark.parametrize("sign", [",", "."])
def test_groups_of_three_digits_need_a_word(raw: Path, inspected: Inspected, refused: Refused, sign: str) -> None:
    table = frame([(label, (values * 1500).round()) for label, values in known()])
    for name in ("ax", "ay"):
        table[name] = [f"{int(value):,}".replace(",", sign) for value in table[name]]
    table.to_csv(raw / "a.csv", sep=";", index=False)
    shown = refused(raw)[1]
    assert f"is '-1{sign}713' " in shown
    assert shown.endswith("? --decimal . or --decimal , says it")
    assert "ay         -5720      3818" in inspected(raw, "--decimal", "." if sign == "," else ",")


def test_a_file_without_rows_is_said(raw: Path, inspected: Inspected) -> None:
    write_steps(raw / "a.csv", known())
    (raw / "b.csv").write_text("rec,ax,ay,activity\n")
    assert "left out 1 files without a row" in inspected(raw)


def test_a_test_file_without_classes_is_named(raw: Path, refused: Refused) -> None:
    table = frame(known())
    table[table["rec"] < "r30"].to_csv(raw / "train.csv", index=False)
    table[table["rec"] >= "r30"].drop(columns="activity").to_csv(raw / "test.csv", index=False)
    assert "test.csv: column 'activity' is missing, there are rec, ax, ay" in refused(raw)[1]


def test_classes_apart_from_their_rows_are_refused(raw: Path, refused: Refused) -> None:
    np.savetxt(raw / "X_train.txt", np.zeros((9, 20)))
    np.savetxt(raw / "y_train.txt", np.arange(9), fmt="%d")
    assert "y_train.txt: classes without the rows that they are of; data/raw/README.md has lines" in refused(raw)[1]


def test_values_that_may_be_none_are_said(raw: Path, inspected: Inspected) -> None:
    table = frame(known())
    table.loc[5, "ax"] = 1772359200.0
    table["ay"] += 1e6
    table.to_csv(raw / "a.csv", index=False)
    output = " ".join(inspected(raw).split())
    assert "the largest value of 'ax', 1772359168, looks like a time since 1970" in output
    assert "'ay' varies by " in output


def test_a_torn_row_among_the_first_is_refused_with_its_line(raw: Path, refused: Refused) -> None:
    changed(raw, lambda lines: [*lines[:9], lines[9] + lines[10], *lines[11:]])
    assert "a.csv: line 10: 7 columns, the first line has 4" in refused(raw)[1]
