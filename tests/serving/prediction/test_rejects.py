from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.serving.prediction.conftest import Maker, Trained


@pytest.fixture
def wide(trained: Maker) -> Trained:
    """One row per sequence, one column per step, without ids."""

    def write(raw: Path) -> None:
        values = np.random.default_rng(0).normal(size=(40, 6)).round(3)
        table = pd.DataFrame(values, columns=[f"t{step}" for step in range(6)])
        table.assign(label=["up", "down"] * 20).to_csv(raw / "a.csv", index=False)

    return trained(write, {"layout": "wide", "columns": {"id": "path"}})


def test_a_bad_cell_of_a_wide_table_costs_its_row_alone(wide: Trained) -> None:
    expected = wide.answers().to_pandas()
    file = wide.raw / "a.csv"
    lines = file.read_text().splitlines()
    lines[8] = "oops" + lines[8][lines[8].index(",") :]
    file.write_text("\n".join(lines) + "\n")
    rejects = wide.raw.parent / "rejects.csv"
    found = wide.answers(rejects_path=rejects).to_pandas()
    (row,) = pd.read_csv(rejects, keep_default_na=False).to_dict("records")
    assert (row["id"], row["line"], row["column"], row["text"]) == ("a#7", 9, "t0", "oops")
    pd.testing.assert_frame_equal(found, expected[expected["id"] != "a#7"].reset_index(drop=True))


def test_a_torn_row_of_a_wide_table_without_ids_costs_the_file(wide: Trained) -> None:
    """The rows below it would have the ids of others."""
    file = wide.raw / "a.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:8], lines[8][:9], *lines[9:]]) + "\n")
    rejects = wide.raw.parent / "rejects.csv"
    assert not len(wide.answers(rejects_path=rejects))
    (row,) = pd.read_csv(rejects, keep_default_na=False).to_dict("records")
    assert "line 9: 2 columns, the first line has 7" in row["reason"]
