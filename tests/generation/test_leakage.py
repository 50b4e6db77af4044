from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnflow.runtime.errors import InputError
from tests.generation.test_files import rows
from tests.recordings import Recording, long_table, recordings, write_frame, write_long

SIDES = ["train"] * 20 + ["validation"] * 10 + ["test"] * 10


def given(**changes: Any) -> dict[str, Any]:
    return {"split": {"by": "given", **changes}}


def with_twin(entries: list[Recording], index: int, of: int) -> list[Recording]:
    """Return the recordings, one with the values of another."""
    changed = list(entries)
    changed[index] = (*changed[index][:2], changed[of][2])
    return changed


@pytest.mark.parametrize(("index", "split"), [(25, "validation"), (35, "test")])
def test_the_same_values_in_two_splits_fail(index: int, split: str, tmp_path: Path) -> None:
    write_long(tmp_path / "raw" / "a.csv", with_twin(recordings(), index, of=3), split=SIDES)
    with pytest.raises(InputError) as refusal:
        rows(tmp_path / "raw", **given())
    assert str(refusal.value).replace(f"{tmp_path}/", "") == (
        f"leak: 'r3' of raw/a.csv in train and 'r{index}' of raw/a.csv in {split} hold the same values; "
        "remove one, or set generate.split.duplicates: allow"
    )
    assert len(rows(tmp_path / "raw", **given(duplicates="allow"))) == 40


def test_the_same_values_on_one_side_are_allowed(tmp_path: Path) -> None:
    write_long(tmp_path / "raw" / "a.csv", with_twin(recordings(), 4, of=3), split=SIDES)
    assert len(rows(tmp_path / "raw", **given())) == 40


def test_values_that_differ_in_order_or_by_a_zero_are_no_leak(tmp_path: Path) -> None:
    entries = recordings()
    entries[25] = ("r25", "dog", entries[3][2][::-1].copy())
    entries[35] = ("r35", "dog", np.concatenate([entries[3][2], np.zeros((1, 2), np.float32)]))
    write_long(tmp_path / "raw" / "a.csv", entries, split=SIDES)
    assert len(rows(tmp_path / "raw", **given())) == 40


def test_a_group_in_two_splits_fails(tmp_path: Path) -> None:
    groups = [f"person{index // 10}" for index in range(39)] + ["person0"]
    write_long(tmp_path / "raw" / "a.csv", recordings(), split=SIDES, group=groups)
    with pytest.raises(InputError, match=r"^leak: 'r\d' of .* in train and 'r39' of .* in test belong to one group"):
        rows(tmp_path / "raw", **given())


def test_groups_that_are_split_at_random_fail(tmp_path: Path) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings(), group=[f"person{index % 10}" for index in range(40)])
    with pytest.raises(InputError, match=r"^leak: .* belong to one group"):
        rows(tmp_path / "raw", split={"by": "random"})


def test_overlapping_windows_in_two_splits_fail(tmp_path: Path) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings(30, same_length=40))
    with pytest.raises(InputError, match=r"^leak: 'r\d+@\d+' of .* and 'r\d+@\d+' of .* overlap in one recording"):
        rows(tmp_path / "raw", windows={"length": 10, "stride": 5}, split={"by": "random"})


def by_time(**changes: Any) -> dict[str, Any]:
    return {"split": {"by": "time", "validation_from": "2026-03-15", "test_from": "2026-03-22", **changes}}


def test_a_split_by_time_is_in_the_order_of_time(tmp_path: Path) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings(280))
    found = rows(tmp_path / "raw", **by_time())
    days = found.groupby("split")["time"].agg(lambda times: (times.min().day, times.max().day))
    assert dict(days) == {"train": (1, 14), "validation": (15, 21), "test": (22, 28)}


def test_a_machine_may_be_in_all_splits_by_time(tmp_path: Path) -> None:
    write_long(tmp_path / "raw" / "a.csv", recordings(280), group=["machine"] * 280)
    assert rows(tmp_path / "raw", **by_time())["split"].nunique() == 3


def test_a_sequence_across_a_time_that_divides_the_splits_is_refused(tmp_path: Path) -> None:
    frame = long_table(recordings(280))
    last = frame.index[frame["id"] == "r13"][-1]
    frame.loc[last, "time"] = "2026-03-15T00:00:00Z"
    write_frame(tmp_path / "raw" / "a.csv", frame)
    with pytest.raises(InputError, match=r"sequence 'r13' begins before validation_from .* and ends after it"):
        rows(tmp_path / "raw", **by_time())


def test_windows_across_a_time_that_divides_the_splits_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.DataFrame({
        "id": "machine",
        "time": pd.date_range("2026-03-01", periods=2000, freq="17min", tz="UTC"),
        "x": np.random.default_rng(0).standard_normal(2000),
        "label": np.arange(2000) // 50 % 2,
    })  # fmt: skip
    write_frame(tmp_path / "raw" / "a.parquet", frame)
    found = rows(tmp_path / "raw", windows={"length": 20, "stride": 5}, **by_time())
    spans = found.set_index("id")["time"]
    assert len(found) < (2000 - 20) // 5 + 1
    assert f"left out {(2000 - 20) // 5 + 1 - len(found)} windows across a time" in capsys.readouterr().err
    ends = spans + 19 * pd.Timedelta(minutes=17)
    for split, cut in (("validation", "2026-03-15"), ("test", "2026-03-22")):
        before = found.set_index("id")["split"].isin(["train"] if split == "validation" else ["train", "validation"])
        assert ends[before].max() < pd.Timestamp(cut, tz="UTC") <= spans[~before].min()


def test_a_split_by_time_needs_times(tmp_path: Path) -> None:
    write_frame(tmp_path / "raw" / "a.csv", long_table(recordings()).drop(columns="time"))
    with pytest.raises(InputError, match=r"a split by time .* needs a column 'time'"):
        rows(tmp_path / "raw", **by_time())
