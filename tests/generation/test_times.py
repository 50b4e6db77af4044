"""Times as people write them."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnflow.generation.sources.times import in_iso
from rnnflow.params.generate import FilesParams
from tests.generation.test_files import rows
from tests.recordings import long_table, recordings, write_frame

FORMATS = ("%d.%m.%Y %H:%M:%S.%f", "%m/%d/%y %I:%M %p", "%Y%m%d%H%M%S", "%b %d, %Y %H:%M:%S")


def written(path: Path, time_format: str, zone: str = "UTC") -> pd.DataFrame:
    """Write recordings with times in a format, and return them with their times."""
    frame = long_table(recordings())
    frame["time"] = pd.to_datetime(frame["time"])
    write_frame(path, frame.assign(time=frame["time"].dt.tz_convert(zone).dt.strftime(time_format)))
    return frame


@given(st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)), st.sampled_from(FORMATS))
def test_a_time_is_what_python_reads(time: datetime, time_format: str) -> None:
    text = time.strftime(time_format)
    expected = datetime.strptime(text, time_format).isoformat()
    (found,) = in_iso(pa.array([text]), time_format).cast(pa.timestamp("us")).to_pylist()
    assert found.isoformat() == expected


@pytest.mark.parametrize(
    "text", ["31.02.2026 10:00", "3.4.26 10:00", "03.04.2026 25:00", "03.04.2026", "13.13.2026 10:00"]
)
def test_what_is_no_time_in_its_format_is_refused_with_its_text(
    text: str, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    path = tmp_path / "raw" / "a.csv"
    written(path, "%d.%m.%Y %H:%M")
    lines = path.read_text().splitlines()
    lines[9] = ",".join([lines[9].split(",")[0], text, *lines[9].split(",")[2:]])
    path.write_text("\n".join(lines))
    assert refusal(files={"time_format": "%d.%m.%Y %H:%M"}).startswith(
        f"raw/a.csv: line 10: column 'time' is no time: {text!r}; tried the format '%d.%m.%Y %H:%M'; generate.files.time_format"
    )


def test_times_of_a_zone_are_read(tmp_path: Path) -> None:
    frame = written(tmp_path / "raw" / "a.csv", "%d.%m.%Y %H:%M:%S", "Europe/Berlin")
    found = rows(tmp_path / "raw", files={"time_format": "%d.%m.%Y %H:%M:%S", "time_zone": "Europe/Berlin"})
    expected = frame.groupby("id")["time"].first()
    assert dict(zip(found["id"], found["time"], strict=True)) == expected.to_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_zone": "Europe/Berlin"}, "is ambiguous"),
        ({"time_zone": "Nowhere/Land"}, "Nowhere/Land not found"),
    ],
)
def test_a_zone_that_leaves_times_open_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    frame = long_table(recordings())
    write_frame(
        tmp_path / "raw" / "a.csv",
        frame.assign(time=[f"2026-10-25 02:{row // 60:02d}:{row % 60:02d}" for row in range(len(frame))]),
    )
    assert message in refusal(files=settings)


@pytest.mark.parametrize("time_format", ["%H", "%d %H:%M", "%d.%m.%Y %Q", "%d.%m.%Y %I:%M", "%d.%m.%Y %d"])
def test_a_format_that_says_no_date_and_time_is_refused(time_format: str) -> None:
    with pytest.raises(ValueError, match="time_format"):
        FilesParams.model_validate({"time_format": time_format})
