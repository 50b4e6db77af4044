from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnflow.runtime.errors import InputError
from tests.generation.test_files import rows
from tests.recordings import Recording, long_table, recordings, write_frame, write_long


def long_recordings(count: int = 24, length: int = 50) -> list[Recording]:
    return recordings(count, same_length=length)


def expected_windows(entries: list[Recording], length: int, stride: int) -> dict[str, np.ndarray]:
    return {
        f"{name}@{start}": values[start : start + length]
        for name, _, values in entries
        for start in range(0, len(values) - length + 1, stride)
    }


@pytest.mark.parametrize(("length", "stride"), [(10, 5), (10, 10), (7, 20), (50, 1), (1, 1)])
@pytest.mark.parametrize("block", [900, 100_000])
def test_recordings_are_cut_into_windows(
    length: int, stride: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnflow.generation.sources.csv_files.BLOCK_BYTES", block)
    entries = long_recordings()
    write_long(tmp_path / "raw" / "a.csv", entries)
    found = rows(tmp_path / "raw", windows={"length": length, "stride": stride})
    expected = expected_windows(entries, length, stride)
    assert set(found["id"]) == set(expected)
    for _, row in found.iterrows():
        np.testing.assert_array_equal(row["sequence"], expected[row["id"]].reshape(-1))
        assert row["group"] == row["id"].split("@")[0]


def test_a_recording_is_on_one_side_with_all_its_windows(tmp_path: Path) -> None:
    write_long(tmp_path / "raw" / "a.csv", long_recordings(40))
    found = rows(tmp_path / "raw", windows={"length": 10, "stride": 2})
    assert found.groupby("group")["split"].nunique().max() == 1
    assert found["split"].nunique() == 3


def test_a_window_keeps_the_group_of_its_recording(tmp_path: Path) -> None:
    entries = long_recordings(40)
    write_long(tmp_path / "raw" / "a.csv", entries, group=[f"person{index % 10}" for index in range(40)])
    found = rows(tmp_path / "raw", windows={"length": 10, "stride": 10})
    assert set(found["group"]) == {f"person{index}" for index in range(10)}


@pytest.mark.parametrize(("choice", "expected"), [("majority", ["cat", "cat", "dog"]), ("last", ["cat", "dog", "dog"])])
def test_a_window_takes_the_label_of_its_steps(choice: str, expected: list[str], tmp_path: Path) -> None:
    frame = long_table(long_recordings(12, 12)).assign(label=(["cat"] * 7 + ["dog"] * 5) * 12)
    write_frame(tmp_path / "raw" / "a.csv", frame)
    found = rows(tmp_path / "raw", windows={"length": 4, "stride": 4, "label": choice})
    assert [found.set_index("id").loc[f"r3@{step}", "label"] for step in (0, 4, 8)] == expected


def test_recordings_shorter_than_a_window_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [*long_recordings(), ("short", "cat", np.zeros((9, 2), np.float32))]
    write_long(tmp_path / "raw" / "a.csv", entries)
    found = rows(tmp_path / "raw", windows={"length": 10, "stride": 10})
    assert "short" not in set(found["group"])
    assert "left out 1 recordings shorter than a window" in capsys.readouterr().err


@pytest.mark.parametrize("block", [900, 100_000])
@pytest.mark.parametrize(("length", "stride"), [(1.0, 0.5), (2.0, 3.0), (0.35, 0.35)])
def test_windows_may_be_in_seconds(
    length: float, stride: float, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnflow.generation.sources.csv_files.BLOCK_BYTES", block)
    rng = np.random.default_rng(0)
    frame = long_table(long_recordings(12, 80))
    gaps = rng.integers(50, 150, len(frame)) * (1 + 20 * (rng.random(len(frame)) < 0.02))  # and some long ones
    frame["time"] = gaps.cumsum() / 1000
    write_frame(tmp_path / "raw" / "a.csv", frame)
    found = rows(tmp_path / "raw", windows={"length": length, "stride": stride, "unit": "seconds"}).set_index("id")
    expected = timed_windows(frame, length, stride)
    assert set(found.index) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found.loc[name, "sequence"], values)


@pytest.mark.parametrize("block", [250, 333, 900])
def test_a_recording_that_has_given_windows_is_not_counted_as_left_out_wherever_a_block_ends(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rnnflow.generation.sources.csv_files.BLOCK_BYTES", block)
    frame = long_table(long_recordings(90, 3))
    frame["time"] = np.tile([0.0, 1.0, 2.0], 90)
    write_frame(tmp_path / "raw" / "a.csv", frame)
    found = rows(tmp_path / "raw", windows={"length": 2, "stride": 2, "unit": "seconds"})
    assert len(found) == 90
    assert "left out" not in capsys.readouterr().err


def timed_windows(frame: pd.DataFrame, length: float, stride: float) -> dict[str, Any]:
    """Return the windows as a person would cut them, one after another."""
    windows = {}
    for name, recording in frame.groupby("id"):
        times = np.rint(1e6 * recording["time"].to_numpy())
        times -= times[0]
        end = times[-1] + np.diff(times[-3:]).min()
        for index in range(1000):
            begin = index * stride * 1e6
            inside = (times >= begin) & (times < begin + length * 1e6)
            if begin + length * 1e6 <= end and inside.any():
                values = recording[["x", "y"]].to_numpy(np.float32)[inside]
                windows[f"{name}@{index * stride:g}"] = values.reshape(-1)
    return windows


def test_windows_in_seconds_need_times(tmp_path: Path) -> None:
    write_frame(tmp_path / "raw" / "a.csv", long_table(long_recordings()).drop(columns="time"))
    with pytest.raises(InputError, match=r"a\.csv: windows in seconds need the time of each step"):
        rows(tmp_path / "raw", windows={"length": 1, "stride": 1, "unit": "seconds"})
