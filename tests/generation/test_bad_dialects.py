"""Settings that do not fit a file, and files that no setting fits: one line that names the place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnflow.params.generate import GenerateParams
from tests.awkward_files import known, labels_of_files, labels_of_ids, wide, wide_of_two_features, write_steps

STEPS = {"columns": {"id": "rec", "label": "activity"}}
WIDE = {"columns": {"id": "path", "label": "target"}, "layout": "wide"}
LABELS = {"columns": {"id": "path"}, "labels": {"path": "labels.csv"}}


Refusal = Callable[..., str]


def change_line(path: Path, number: int, change: Callable[[str], str]) -> None:
    lines = path.read_text().split("\n")
    lines[number - 1] = change(lines[number - 1])
    path.write_text("\n".join(lines))


def test_a_file_without_names_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_steps(tmp_path / "raw" / "a.csv", known(), header=False)
    assert refusal(files=STEPS).startswith("raw/a.csv: line 1 looks like values, expected the names of the columns")
    assert refusal(files=STEPS | {"names": ["rec", "x", "activity"]}) == (
        "raw/a.csv: line 1: 4 cells, generate.files.names has 3"
    )


def test_the_line_of_a_bad_cell_counts_lines_that_are_left_out(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "raw" / "a.csv"
    write_steps(path, known())
    path.write_text("sep=,\n# by a logger\n\n" + path.read_text())
    change_line(path, 50, lambda line: "# a pause\n\n" + line.replace(line.split(",")[1], "off"))
    expected = "raw/a.csv: line 52: column 'ax': expected a number, got 'off'; "
    assert refusal(files=STEPS | {"skip": 1, "comment": "#"}).startswith(expected)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1.234,5", ""),
        ("12.34", "line 3: column 'ax': expected a number, got '12.34'"),
        ("0.123", "line 3: column 'ax': expected a number, got '0.123'"),
        ("1,5 V", "line 3: column 'ax': expected a number, got '1,5 V'"),
    ],
)
def test_a_number_of_another_format_is_refused(cell: str, expected: str, tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "raw" / "a.csv"
    write_steps(path, known(), ";", ",")
    change_line(path, 3, lambda line: line.replace(line.split(";")[1], cell))
    change_line(path, 5, lambda line: line.replace(line.split(";")[1], "end"))  # so that all are refused at last
    message = refusal(files=STEPS | {"delimiter": ";", "decimal": ",", "thousands": "."})
    assert (expected or "line 5: column 'ax': expected a number, got 'end'") in message


def test_another_delimiter_is_hinted_at(tmp_path: Path, refusal: Refusal) -> None:
    write_steps(tmp_path / "raw" / "a.csv", known(), ";")
    assert refusal(files=STEPS).endswith("generate.files.delimiter says what stands between two columns")


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (["z"], "no column is called like 'z0', which generate.files.features names"),
        (None, "columns of several features, 'x', 'y'; name them in generate.files.features"),
    ],
)
def test_steps_that_are_not_there_are_refused(
    features: list[str] | None, expected: str, tmp_path: Path, refusal: Refusal
) -> None:
    wide_of_two_features(tmp_path / "raw")
    columns = {"id": "case", "label": "label"}
    assert refusal(files=WIDE | {"columns": columns, "features": features}) == f"raw/a.csv: {expected}"


def test_features_of_unlike_steps_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    wide_of_two_features(tmp_path / "raw")
    change_line(tmp_path / "raw" / "a.csv", 1, lambda line: line.replace("y_3,", "y_13,"))
    files = WIDE | {"columns": {"id": "case", "label": "label"}, "features": ["x", "y"]}
    assert refusal(files=files) == "raw/a.csv: feature 'y' has other steps than feature 'x'"


def test_two_columns_of_one_step_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    wide_of_two_features(tmp_path / "raw")
    change_line(tmp_path / "raw" / "a.csv", 1, lambda line: line.replace("y_3,", "y_02,"))
    files = WIDE | {"columns": {"id": "case", "label": "label"}, "features": ["x", "y"]}
    expected = "raw/a.csv: columns 'y_2' and 'y_02' are one step of feature 'y'; rename one"
    assert refusal(files=files) == expected


def test_a_bad_cell_of_a_wide_table_is_named(tmp_path: Path, refusal: Refusal) -> None:
    wide(tmp_path / "raw")
    change_line(tmp_path / "raw" / "ecg.csv", 7, lambda line: line.replace(line.split(",")[2], "?", 1))
    assert refusal(files=WIDE).startswith("raw/ecg.csv: line 7: column 't2': expected a number, got '?'; ")


@pytest.mark.parametrize(
    ("number", "line", "expected"),
    [
        (4, "", "raw/labels.csv: no 'flight_02.csv' in column 'file', and so no class for the file"),
        (4, "flight_01.csv,run", "raw/labels.csv: line 4: 'flight_01.csv' came before in column 'file'"),
        (4, "flight_02.csv,", "raw/labels.csv: line 4: column 'label' is empty"),
        (1, "name,label", "raw/labels.csv: column 'file' is missing, there are name, label"),
    ],
)
def test_a_table_of_labels_that_does_not_fit_is_refused(
    number: int, line: str, expected: str, tmp_path: Path, refusal: Refusal
) -> None:
    labels_of_files(tmp_path / "raw")
    change_line(tmp_path / "raw" / "labels.csv", number, lambda _: line)
    assert refusal(files=LABELS) == expected


def test_an_id_without_a_class_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    labels_of_ids(tmp_path / "raw")
    change_line(tmp_path / "raw" / "labels.csv", 3, lambda line: line.replace("r01", "r99"))
    files = {"columns": {"id": "rec"}, "labels": {"path": "labels.csv", "key": "rec", "label": "activity"}}
    assert refusal(files=files) == "raw/data.csv: line 10: no class in raw/labels.csv for what is in column 'rec'"
    assert refusal(files=files | {"labels": {"path": "no.csv"}, "paths": ["data.csv"]}).startswith(
        "raw/no.csv: no such file"
    )


@pytest.mark.parametrize(
    ("ending", "header", "line", "expected"),
    [
        ("ts", "@timeStamps true", "(0,1),(1,x):run", "line 4: expected a number or '?', got 'x'"),
        ("ts", "@timeStamps true", "(0,1) 2:run", "line 4: expected (time, value) pairs, got '(0,1) 2'"),
        ("ts", "@timeStamps true", "(0,1):(1,1):run", "line 4: its dimensions have time stamps of their own"),
        ("ts", "", "1,2:1:run", "line 4: dimensions of 1 and of 2 steps in one sequence"),
        ("ts", "", "1,2:fly", "line 4: class 'fly' is none of the header's, run, walk"),
        ("ts", "", "1,2", "line 4: no class after the last ':'"),
        ("ts", "", "1,1_0:run", "line 4: expected a number or '?', got '1_0'"),
        ("ts", "@univariate true", "1,2:1,2:run", "line 4: 2 dimensions, the header says 1"),
        ("ts", "@equalLength true\n@seriesLength 3", "1,2:run", "line 5: 2 steps, the header says 3"),
        ("arff", "@attribute a numeric", "1,2,run", "line 4: 3 values, the header has 2 attributes"),
        ("arff", "@attribute a numeric", "1,fly", "line 4: class 'fly' is none of the header's, run, walk"),
        ("arff", "@attribute a relational", "1,run", "line 4: expected a quoted sequence and a class, got '1,run'"),
    ],
)
def test_a_line_that_is_none_of_its_archive_is_refused(
    ending: str, header: str, line: str, expected: str, tmp_path: Path, refusal: Refusal
) -> None:
    classes = {"ts": "@classLabel true run walk", "arff": "@attribute class {run,walk}"}[ending]
    (tmp_path / "raw" / f"a.{ending}").write_text(f"{header}\n{classes}\n@data\n{line}\n")
    assert refusal(files={}) == f"raw/a.{ending}: {expected}"


def test_an_archive_of_no_classes_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "raw" / "a.ts").write_text("@targetLabel true\n@data\n1,2:0.5\n")
    assert refusal(files={}).startswith("raw/a.ts: line 2: the header has no '@classLabel true'")


def test_arrays_of_splits_that_are_not_alike_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    arrays: dict[str, Any] = {"x_train": np.zeros((9, 4, 3)), "x_test": np.zeros((9, 4, 2))}
    arrays |= {"y_train": np.arange(9) % 2, "y_test": np.arange(9) % 2}
    np.savez(tmp_path / "raw" / "a.npz", **arrays)
    message = refusal(files={"columns": {"sequence": "x", "label": "y"}})
    assert message == "raw/a.npz: array 'x' has 3 features, expected 2 as in its other split"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
        ({"comment": ","}, "comment and delimiter are both ','"),
        ({"names": ["a", "a"]}, "names: two are the same"),
    ],
)
def test_signs_that_mean_two_things_are_refused(files: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        GenerateParams.model_validate({"files": files})
