import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rnnflow.advice.inspection.recordings import Recordings
from rnnflow.cli import main
from rnnflow.cli.windows import windows_of
from rnnflow.generation.sources.files import open_all
from rnnflow.params.generate import GenerateParams
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import ROOT
from tests.inspecting import generated, promised, section
from tests.layouts import LAYOUTS, as_csv, folders, lists_of_features, one_stream, recordings, subjects_who_change

DEFAULT_NAMES = {"recording": "id", "activity": "label"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_guessed_and_its_section_works(
    raw: Path, tmp_path: Path, inspected: Callable[..., str], name: str
) -> None:
    write, expected = LAYOUTS[name]
    write(raw)
    output = inspected(raw)
    content = section(output)
    assert content.get("files", {}) == expected
    found = generated(content, raw, tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == promised(output)
    assert {row["label"] for row in found["train"]} in ({"run", "walk"}, {"0", "1"})


def test_files_elsewhere_get_paths_by_name_and_a_comment(tmp_path: Path, inspected: Callable[..., str]) -> None:
    (tmp_path / "walks").mkdir()
    folders(tmp_path / "walks")
    (tmp_path / "other.txt").write_text("not looked at")
    output = inspected(tmp_path / "walks")
    assert f"below data/raw, under the same names: move them from {tmp_path} or `dvc add` them there" in output
    content = section(output)
    assert content["files"]["paths"] == ["walks"]
    assert len(generated(content, tmp_path, tmp_path / "out")["train"]) == promised(output)["train"]


@pytest.mark.parametrize("name", ["a.csv", "sub [1]/a [2].csv"])
def test_a_file_is_named_in_the_section_whatever_its_name(
    raw: Path, tmp_path: Path, inspected: Callable[..., str], name: str
) -> None:
    (raw / name).parent.mkdir(exist_ok=True)
    as_csv(",", name)(raw)
    as_csv(";", "b.csv")(raw)
    content = section(inspected(raw / name))
    assert generated(content, raw, tmp_path)["train"]


def test_a_glob_in_quotes_is_looked_at(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    folders(raw)
    lists_of_features(raw)
    content = section(inspected(raw / "*" / "*.csv"))
    assert content["files"] == {"paths": ["*/*.csv"], "columns": {"id": "path", "label": "path[-2]"}}
    assert generated(content, raw, tmp_path)["train"]


def test_two_formats_are_counted_and_refused(raw: Path, refused: Callable[..., tuple[str, str]]) -> None:
    folders(raw)
    lists_of_features(raw)
    line = refused(raw)[1]
    assert "CSV (60 files), but" in line
    assert "is Parquet (1); name the files of one format" in line


def test_what_the_data_looks_like_is_printed(raw: Path, inspected: Callable[..., str]) -> None:
    columns = DEFAULT_NAMES | {"subject": "group", "stamp": "time"}
    table = recordings(**columns).assign(a=2.0)
    table.loc[:9, "b"] = np.nan
    table.to_csv(raw / "a.csv", index=False)
    output = inspected(raw)
    for pattern in (
        r"^format +CSV, one row per time step",
        r"^recordings +60 of 540 time steps, shortest 8, median 9, longest 10 steps",
        r"^groups +20, the largest is 'p0' with 3 sequences",
        r"^time +2026-01-01T00:00:00Z to 2026-01-03T11:00:04.500000Z, a step every 0.5 s",
        r"^  a +2 +2 +2 +0 +0.0%",
        r"^  run +34 +56.7% +█{30}",
        r"^  walk +26 +43.3% +█{23} ",
        r"^  8 +20 +33.3% +█{30}",
        r"feature 'a' is always 2",
        r"values are missing in 'b'; models.<name>.missing",
        r"the split is by group: none of the 20 groups",
    ):
        assert re.search(pattern, output, re.MULTILINE), pattern


def test_times_without_groups_bring_an_offer_to_split_by_time(
    raw: Path, tmp_path: Path, inspected: Callable[..., str]
) -> None:
    as_csv(",", stamp="time", **DEFAULT_NAMES)(raw)
    output = inspected(raw)
    offer = re.sub("^  # ", "  ", output[output.index("  # split:") :], flags=re.MULTILINE)
    content = YAML(typ="safe").load("generate:\n  source: files\n" + offer)["generate"]
    assert content["split"]["by"] == "time"
    assert content["split"]["validation_from"].isoformat() == "2026-01-02T18:00:00+00:00"
    assert content["split"]["test_from"].isoformat() == "2026-01-03T03:00:00+00:00"
    found = generated(content, raw, tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 42, "validation": 9, "test": 9}


def test_a_person_overrules_the_guess(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    table = recordings(subject="subject", **DEFAULT_NAMES)
    table["mood"] = table["id"].str[1:].astype(int) % 5
    table.to_csv(raw / "a.csv", index=False, sep="|")
    output = inspected(raw, "--label", "mood", "--group", "id", "--features", "b", "--delimiter", "|", "--window", "4")
    content = section(output)
    assert content["files"] == {"columns": {"label": "mood", "group": "id"}, "features": ["b"], "delimiter": "|"}
    assert content["windows"] == {"length": 4, "stride": 2}
    assert {"r00@0", "r00@2"} <= {row["id"] for rows in generated(content, raw, tmp_path).values() for row in rows}


@pytest.mark.parametrize(
    ("length", "stride", "expected"),
    [
        (None, None, None),
        ("100", None, {"length": 100, "stride": 50}),
        ("1", None, {"length": 1, "stride": 1}),
        ("2.5s", None, {"length": 2.5, "stride": 1.25, "unit": "seconds"}),
        ("2s", "1s", {"length": 2, "stride": 1, "unit": "seconds"}),
    ],
)
def test_windows_are_in_steps_or_seconds(length: str | None, stride: str | None, expected: object) -> None:
    assert windows_of(length, stride) == expected


@pytest.mark.parametrize(("length", "stride"), [("many", None), (None, "5"), ("10", "2s"), ("-1", None)])
def test_windows_that_are_none_are_refused(length: str | None, stride: str | None) -> None:
    with pytest.raises(InputError, match=r"--window|--stride"):
        windows_of(length, stride)


def test_one_stream_of_changing_labels_is_cut_and_split_by_time(raw: Path, inspected: Callable[..., str]) -> None:
    one_stream(raw)
    output = inspected(raw)
    assert "the label changes within 1 of 1 recordings" in output
    assert "windows of 1 recordings only" in output
    content = section(output)
    assert content["windows"] == {"length": 10, "stride": 5}
    assert content["split"]["by"] == "time"


def test_a_recording_that_is_too_long_is_cut(raw: Path, inspected: Callable[..., str]) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 6).tolist()
    values = [rng.normal(size=10_001 if row == 3 else 9000).tolist() for row in range(12)]
    ids = [f"s{row}" for row in range(12)]
    pq.write_table(pa.table({"id": ids, "label": labels, "signal": values}), raw / "a.parquet")
    output = inspected(raw)
    assert "1 of 12 recordings have more than 10,000 steps" in output
    assert section(output)["windows"] == {"length": 1000, "stride": 500}


def test_classes_that_random_splits_miss_are_dealt_out(
    raw: Path, tmp_path: Path, inspected: Callable[..., str]
) -> None:
    table = recordings(**DEFAULT_NAMES)
    table[table["id"] < "r08"].to_csv(raw / "a.csv", index=False)
    content = section(inspected(raw))
    assert content["split"] == {"by": "stratified"}
    assert generated(content, raw, tmp_path)


def test_a_seed_is_found_where_groups_are_few(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    table = recordings(subject="group", **DEFAULT_NAMES)
    table["group"] = [f"g{int(name[1:]) % 4}" for name in table["id"]]
    table.to_csv(raw / "a.csv", index=False)
    content = section(inspected(raw))
    assert content["seed"] > 0
    assert all(generated(content, raw, tmp_path).values())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_rows=st.integers(1, 40))
def test_recordings_are_the_same_however_a_file_is_cut_into_batches(tmp_path: Path, batch_rows: int) -> None:
    table = recordings(stamp="time", **DEFAULT_NAMES)[:100]
    table["label"] = ["a" if row % 13 < 9 else "b" for row in range(len(table))]
    found = []
    for size in (batch_rows, 1000):
        path = tmp_path / f"{size}.parquet"
        table.to_parquet(path, index=False, row_group_size=size)
        noted = Recordings()
        ((_, opened),) = open_all([path], tmp_path, GenerateParams().files)
        for _ in noted.watch(opened.chunks):
            pass
        found.append((noted.lengths, noted.num_changes, noted.num_changing, noted.earliest, noted.latest))
    assert found[0] == found[1]
    assert found[1][1:3] == (13, 9)


def test_the_command_works_as_a_program(raw: Path) -> None:
    subjects_who_change(raw)
    command = [sys.executable, "-m", "rnnflow.cli", "inspect", str(raw)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert section(result.stdout)["windows"] == {"length": 20, "stride": 10}


def test_help_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["inspect", "--help"])
    output = " ".join(capsys.readouterr().out.split())
    assert "a file, a folder, or a glob in quotes" in output
    assert "path[-2]" in output
