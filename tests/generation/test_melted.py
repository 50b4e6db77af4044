"""Tables with a row for each feature of a step."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.generation.test_files import rows
from tests.recordings import Recording, long_table, recordings, write_frame

SETTINGS = {"layout": "melted", "columns": {"id": "recording", "time": None}}
BY_TIME = {"layout": "melted", "columns": {"id": "recording", "step": None}}


def table(entries: list[Recording]) -> pd.DataFrame:
    frame = (
        long_table(entries)
        .assign(step=lambda steps: steps.groupby("id").cumcount())
        .rename(columns={"id": "recording"})
    )
    return frame.melt(["recording", "time", "step", "label"], ["x", "y"], "dimension", "value")


@pytest.mark.parametrize("settings", [SETTINGS, BY_TIME], ids=["by step", "by time"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_features_are_brought_side_by_side(settings: dict[str, object], suffix: str, tmp_path: Path) -> None:
    entries = recordings()
    entries[3][2][1, 1] = np.nan
    written = table(entries)
    written = written[~((written["recording"] == "r4") & (written["step"] == 0) & (written["dimension"] == "x"))]
    if settings is SETTINGS:  # numbers say the order, whatever the rows'
        written = written.sample(frac=1, random_state=0)
    write_frame(tmp_path / "raw" / f"a{suffix}", written)
    entries[4][2][0, 0] = np.nan
    found = rows(tmp_path / "raw", files=settings).set_index("id")
    assert len(found) == len(entries)
    for name, label, values in entries:
        assert found.loc[name, "label"] == label
        np.testing.assert_array_equal(found.loc[name, "sequence"], values.reshape(-1))


def test_the_params_choose_features_and_their_order(tmp_path: Path) -> None:
    entries = recordings()
    write_frame(tmp_path / "raw" / "a.csv", table(entries))
    found = rows(tmp_path / "raw", files=SETTINGS | {"features": ["y"]}).set_index("id")
    np.testing.assert_array_equal(found.loc["r3", "sequence"], entries[3][2][:, 1])


@pytest.mark.parametrize(
    ("row", "entries", "message"),
    [
        (5, {"step": 0, "recording": "r0"}, "line 7: its feature came before at this step of the recording"),
        (3, {"label": "bird"}, "column 'label' differs from other rows of the same step"),
        (3, {"value": "abc"}, "line 5: column 'value': expected a number, got 'abc'"),
        (3, {"dimension": None}, "line 5: column 'dimension' is empty"),
        (3, {"step": "second"}, "line 5: column 'step': expected a number, got 'second'"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    row: int, entries: dict[str, object], message: str, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    written = table(recordings()).astype(dict.fromkeys(entries, object))
    for name, entry in entries.items():
        written.loc[row, name] = entry
    write_frame(tmp_path / "raw" / "a.csv", written)
    assert message in refusal(files=SETTINGS)


def test_columns_and_features_that_are_missing_are_refused(tmp_path: Path, refusal: Callable[..., str]) -> None:
    write_frame(tmp_path / "raw" / "a.csv", table(recordings()).drop(columns="step"))
    assert "column 'step' is missing" in refusal(files=SETTINGS)
    neither = {"layout": "melted", "columns": {"id": "recording", "step": None, "time": None}}
    assert "needs a column of steps or of times" in refusal(files=neither)
    assert "column 'dimension' never says 'z'" in refusal(files=BY_TIME | {"features": ["z"]})
