import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rnnflow.cli import main
from tests.layouts import as_csv

DEFAULT_NAMES = {"recording": "id", "activity": "label"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"\xff\xfe\x00\x00garbage\x00", "a.csv"),
        ("a.csv", b"id,label,x\n", "no sequences"),
        ("a.csv", b"1.0,2.0\n3.0,4.0\n", "column 'label' is missing, there are column_0, column_1"),
        ("a.csv", b"x,x\n1,2\n", "two columns are called 'x'"),
        ("a.csv.gz", b"no gzip", "cannot be read"),
        ("a.parquet", b"PAR1 nothing PAR1", "Parquet"),
        ("a.npz", b"no zip", "not an .npz file"),
        ("a.ts", b"@data nothing", "a.ts"),
        ("a.txt", b"text", "cannot be read as CSV"),
    ],
)
def test_garbage_gives_one_line(
    raw: Path, refused: Callable[..., tuple[str, str]], name: str, content: bytes, message: str
) -> None:
    (raw / name).write_bytes(content)
    assert message in refused(raw)[1]


def test_two_columns_of_one_name_are_refused(raw: Path, refused: Callable[..., tuple[str, str]]) -> None:
    columns = [pa.array(["a"]), pa.array([1.0]), pa.array([2.0])]
    pq.write_table(pa.Table.from_arrays(columns, names=["id", "x", "x"]), raw / "a.parquet")
    assert "two columns are called 'x'" in refused(raw)[1]


def test_paths_that_are_not_there_are_refused(
    raw: Path, tmp_path: Path, refused: Callable[..., tuple[str, str]]
) -> None:
    assert refused(raw / "nothing") == ("", f"error: {raw / 'nothing'}: no such file or folder")
    assert "no file" in refused(raw / "*.csv")[1]
    assert "some are below" in refused(raw, tmp_path)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "nothing"], "column 'nothing' is missing"),
        (["--features", "a", "a"], "two have the same name"),
        (["--features", "label"], "expected a number, got 'run'"),
        (["--delimiter", "ab"], "expected one character"),
        (["--window", "0"], "generate.windows.length"),
    ],
)
def test_hints_that_cannot_be_met_are_refused(
    raw: Path, refused: Callable[..., tuple[str, str]], arguments: list[str], message: str
) -> None:
    as_csv(",", **DEFAULT_NAMES)(raw)
    assert message in refused(raw, *arguments)[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.lists(
        st.sampled_from(["id", "label", "x", "y", "t", "time", "split", "group", "class", "", "[1]", "data"]),
        min_size=1,
        max_size=5,
    ),
    rows=st.lists(
        st.lists(st.sampled_from(["1", "2.5", "a", "", "train", "[1,2]", "[[1],[2]]", "nan", "2026-01-01", '"', "[x"])),
        max_size=8,
    ),
)
@example(header=["", ""], rows=[])
@example(header=["label", "x"], rows=[["a", "[[1],[2]]"]])
def test_no_text_in_columns_brings_a_traceback(tmp_path: Path, header: list[str], rows: list[list[str]]) -> None:
    shutil.rmtree(tmp_path / "raw", ignore_errors=True)
    (tmp_path / "raw").mkdir()
    lines = [";".join(cells) for cells in [header, *rows]]
    (tmp_path / "raw" / "a.csv").write_text("\n".join(lines))
    with suppress(SystemExit):
        main(["inspect", str(tmp_path / "raw")])
