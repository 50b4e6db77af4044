"""Problems, remarks and advice that `rnnflow inspect` ends with."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.inspecting import generated, section
from tests.layouts import as_csv, recordings

DEFAULT_NAMES = {"recording": "id", "activity": "label"}


def many_classes(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=table["id"].str[1:].astype(float) / 4)


def few_of_a_class(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=np.where(table["id"] < "r02", "rare", table["label"]))


def unbalanced(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=np.where(table["id"] < "r56", "often", "seldom"))


def repeated(table: pd.DataFrame) -> pd.DataFrame:
    first = table[table["id"] == "r00"]
    return pd.concat([table, *(first.assign(id=f"again{index}") for index in range(20))])


def irregular(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(time=np.arange(len(table)) ** 2)


def junk(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table] * 200, ignore_index=True).assign(a=lambda all_: [*all_["a"][:-1], "broken"])


def decimal_text(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(a="1.5 V", b="x")


def decimal_commas(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(a=table["a"].map("{:.3f}".format).str.replace(".", ","))


def out_of_order(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(id=[f"r{row % 3}" for row in range(len(table))])


@pytest.mark.parametrize(
    ("change", "message", "is_refused"),
    [
        (many_classes, "60 classes of 60 sequences and look like numbers of a regression", True),
        (few_of_a_class, "fewer than 3 sequences of class 'rare'", True),
        (unbalanced, "the largest class is 14 times the smallest; see train.class_weights: balanced", False),
        (repeated, "20 sequences hold the same values as another one", True),
        (irregular, "files.time_since_last_step: true", False),
        (junk, "expected a number, got 'broken'", True),
        (decimal_text, "expected a number, got '1.5 V'", True),
        (decimal_commas, "column 'a' is no feature: its decimals have commas, write points", False),
        (out_of_order, "the rows of a sequence must stand together", True),
    ],
)
def test_problems_and_remarks_are_listed(
    raw: Path,
    inspected: Callable[..., str],
    refused: Callable[..., tuple[str, str]],
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
    is_refused: bool,
) -> None:
    change(recordings(**DEFAULT_NAMES)).to_csv(raw / "a.csv", index=False)
    output = refused(raw)[0] if is_refused else inspected(raw)
    assert message in " ".join(output.split())
    assert ("Problems" in output) == is_refused
    assert section(output)["source"] == "files"


def test_long_sequences_bring_advice_to_downsample(raw: Path, inspected: Callable[..., str]) -> None:
    rng = np.random.default_rng(0)
    np.savez(raw / "a.npz", data=rng.normal(size=(30, 2000)), target=np.arange(30) % 7 % 2)
    assert "there is detail in every step" in inspected(raw)
    smooth = np.sin(np.arange(2000) / 150 + rng.normal(size=(30, 1)))
    np.savez(raw / "a.npz", data=smooth, target=np.arange(30) % 7 % 2)
    assert "downsampling: 64 (about 31 steps) with differences: true loses little" in inspected(raw)


def test_sizes_that_differ_by_orders_of_magnitude_bring_advice_to_scale(
    raw: Path, inspected: Callable[..., str]
) -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([0.01, 100.0]).repeat(15)[:, None]
    np.savez(raw / "a.npz", data=rng.normal(size=(30, 20)) * sizes, target=np.arange(30) % 7 % 2)
    assert "try models.<name>.scaling: [global, compressed, sequence]" in " ".join(inspected(raw).split())
    np.savez(raw / "a.npz", data=rng.normal(size=(30, 20)), target=np.arange(30) % 7 % 2)
    assert "orders of magnitude" not in inspected(raw)


def test_data_is_compared_with_a_reference(raw: Path, tmp_path: Path, inspected: Callable[..., str]) -> None:
    as_csv(",", **DEFAULT_NAMES)(raw)
    generated({"source": "files"}, raw, tmp_path)
    profile = tmp_path / "report" / "profile.json"
    assert "unlike" not in inspected(raw, "--reference", profile)
    content = json.loads(profile.read_text())
    content["features"]["a"]["max"] = content["features"]["a"]["min"]
    content["sha256"] = None  # as who edits a reference by hand does
    profile.write_text(json.dumps(content))
    assert f"unlike {profile}: feature 'a': range" in inspected(raw, "--reference", profile)
