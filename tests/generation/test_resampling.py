"""Recordings of unlike rates become sequences of one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.generation.test_files import rows
from tests.recordings import write_frame

PERIOD = 0.2


def written(path: Path, count: int = 24) -> dict[str, pd.DataFrame]:
    """Write recordings with steps at random times and some missing values, and return them."""
    rng = np.random.default_rng(0)
    tables = {}
    for index in range(count):
        num_steps = int(rng.integers(2, 40))
        since = np.cumsum(rng.integers(1, 300_000, num_steps)) / 1e6
        values = rng.normal(size=(num_steps, 2)).astype(np.float32)
        values[rng.random(values.shape) < 0.1] = np.nan
        tables[f"r{index}"] = pd.DataFrame(
            {"id": f"r{index}", "time": 1.7e9 + since, "x": values[:, 0], "y": values[:, 1], "label": "ab"[index % 2]}
        )
    write_frame(path, pd.concat(tables.values()))
    return tables


def expected(table: pd.DataFrame, method: str) -> np.ndarray:
    since = (np.rint(table["time"] * 1e6).astype(int) - round(table["time"].iloc[0] * 1e6)).to_numpy()
    values = table[["x", "y"]].to_numpy(np.float64)
    period = round(PERIOD * 1e6)
    if method == "nearest":
        steps = [values[np.abs(since - made).argmin()] for made in range(0, since[-1] + 1, period)]
        return np.array(steps, np.float32)
    means = pd.DataFrame(values).groupby(since // period).mean()
    return means.reindex(range(since[-1] // period + 1)).to_numpy(np.float32)


@pytest.mark.parametrize("method", ["mean", "nearest"])
@pytest.mark.parametrize("block", [600, 100_000])
def test_steps_are_brought_to_one_rate(
    method: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnflow.generation.sources.csv_files.BLOCK_BYTES", block)
    tables = written(tmp_path / "raw" / "a.csv")
    found = rows(tmp_path / "raw", files={"resample": {"seconds": PERIOD, "method": method}}).set_index("id")
    for name, table in tables.items():
        np.testing.assert_allclose(found.loc[name, "sequence"], expected(table, method).reshape(-1), rtol=1e-6)


def test_windows_are_cut_from_the_new_steps(tmp_path: Path) -> None:
    tables = written(tmp_path / "raw" / "a.csv", 60)
    found = rows(
        tmp_path / "raw", files={"resample": {"seconds": PERIOD}}, windows={"length": 5, "stride": 5}
    ).set_index("id")
    sequence = expected(tables["r3"], "mean")
    assert len([name for name in found.index if name.startswith("r3@")]) == len(sequence) // 5
    np.testing.assert_allclose(found.loc["r3@5", "sequence"], sequence[5:10].reshape(-1), rtol=1e-6)


def test_steps_without_times_cannot_be_resampled(tmp_path: Path, refusal: Callable[..., str]) -> None:
    written(tmp_path / "raw" / "a.csv")
    message = refusal(files={"resample": {"seconds": 1}, "columns": {"time": None}, "features": ["x", "y"]})
    assert message == "raw/a.csv: generate.files.resample needs the time of each step"


def test_recordings_of_another_rate_bring_a_remark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [
        pd.DataFrame(
            {
                "id": f"r{index}",
                "time": np.arange(20) * (0.1 if index < 3 else 0.02),
                "x": np.arange(20.0) + index,
                "label": "ab"[index % 2],
            }
        )
        for index in range(40)
    ]
    write_frame(tmp_path / "raw" / "a.csv", pd.concat(parts))
    rows(tmp_path / "raw")
    message = capsys.readouterr().err
    assert "3 of 40 sequences have another rate: most have a step every 0.02 s" in message
    assert "generate.files.resample: {seconds: 0.02}" in message
