"""A reader that makes other steps of a file than it holds is found out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rnnflow.generation.sources import values
from tests.recordings import recordings, write_long, write_rows


def write(folder: Path, form: str) -> None:
    if form == "long":
        write_long(folder / "a.parquet", recordings())
    else:
        lists = pa.array([entry.tolist() for _, _, entry in recordings()], pa.list_(pa.list_(pa.float32(), 2)))
        write_rows(folder / "a.parquet", recordings(), {"sequence": lists})


@pytest.mark.parametrize("form", ["long", "sequence"])
@pytest.mark.parametrize(
    "fault",
    [np.abs, lambda read: read + 1e-4, lambda read: np.where(read > 2, np.nan, read)],
    ids=["sign", "shift", "gap"],
)
def test_other_values_are_refused(
    form: str,
    fault: Callable[[np.ndarray], np.ndarray],
    tmp_path: Path,
    refusal: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault is put into the conversion of numbers, as a mistake in its code would."""
    write(tmp_path / "raw", form)
    right = values.numbers

    def wrong(*arguments: object) -> np.ndarray:
        return fault(right(*arguments)).astype(np.float32)  # type: ignore[arg-type]

    for module in ("long_form", "list_form"):
        monkeypatch.setattr(f"rnnflow.generation.sources.{module}.numbers", wrong)
    message = refusal()
    assert message.startswith("raw/a.parquet: ")
    assert message.endswith("this is a fault of rnnflow, please report it")
