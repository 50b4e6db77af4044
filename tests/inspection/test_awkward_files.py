"""Files that were once misread in silence, or refused with the wrong words."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.awkward_files import READ, Known, known, spellings, write_steps
from tests.inspecting import generated, section


def contents(entries: Known) -> Counter[tuple[str, bytes]]:
    return Counter((label, np.asarray(values, np.float32).tobytes()) for label, values in entries)


def found_in(splits: dict[str, list[dict[str, Any]]], num_features: int) -> Known:
    return [
        (row["label"], np.array(row["sequence"], np.float32).reshape(-1, num_features))
        for rows in splits.values()
        for row in rows
    ]


@pytest.mark.parametrize("name", READ)
def test_what_inspect_prints_reads_just_what_the_file_holds(
    raw: Path, tmp_path: Path, inspected: Callable[..., str], name: str
) -> None:
    write, remark = READ[name]
    entries = write(raw)
    output = inspected(raw)
    assert remark in output
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
