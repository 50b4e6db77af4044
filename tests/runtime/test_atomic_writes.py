import json
from pathlib import Path

import pytest

from rnnflow.runtime.atomic_writes import atomic_folders, atomic_write, write_json, write_rows


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename is atomic within one file system only"
    assert names(tmp_path) == ["new/report.txt"]


def test_an_interrupted_file_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("before")

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "before"
    assert names(tmp_path) == ["report.txt"]


def test_folders_replace_the_earlier_ones_together(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for round_name in ("first", "second"):
        with atomic_folders(*folders) as temporaries:
            for temporary in temporaries:
                (temporary / round_name).touch()
    assert names(tmp_path) == ["a/second", "b/second"]


def test_interrupted_folders_leave_the_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "before").touch()

    def write() -> None:
        with atomic_folders(tmp_path / "a", tmp_path / "b") as temporaries:
            (temporaries[0] / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert names(tmp_path) == ["a/before"]


def test_what_a_killed_run_left_does_not_reach_the_next_one(tmp_path: Path) -> None:
    with atomic_folders(tmp_path / "a") as (temporary,):
        left_behind = temporary / "half"
    left_behind.parent.mkdir()
    left_behind.touch()
    with atomic_folders(tmp_path / "a") as (temporary,):
        (temporary / "whole").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert names(tmp_path) == ["a/whole"]


def test_json_is_sorted_and_its_floats_are_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"b": 1 / 3, "a": {"d": [2 / 3, 1], "c": None}})
    assert path.read_text() == json.dumps({"a": {"c": None, "d": [0.666667, 1]}, "b": 0.333333}, indent=2) + "\n"


def test_json_that_no_other_program_could_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "metrics.json", {"loss": float("nan")})
    assert names(tmp_path) == []


def test_rows_become_csv_with_unix_line_ends_and_short_floats(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, [{"name": "a, b", "share": 1 / 3}, {"name": "c", "share": 1}])
    assert path.read_bytes() == b'name,share\n"a, b",0.333333\nc,1\n'


def test_rows_with_other_columns_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with pytest.raises(ValueError, match="extra"):
        write_rows(path, [{"name": "a"}, {"name": "b", "extra": 1}])
    assert names(tmp_path) == []
