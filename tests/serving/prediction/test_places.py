"""Columns that nothing but their place tells apart: a model refuses rows in which they are others."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from rnnflow.runtime.errors import InputError
from rnnflow.serving.prediction.predict_files import predict_files
from tests.awkward_files import known
from tests.named_files import steps
from tests.serving.prediction.conftest import Maker

WIDE = {"columns": {"id": "path"}, "layout": "wide"}


def table() -> tuple[pd.DataFrame, list[str]]:
    entries = known(1, ("1", "2"), 24)
    return steps(entries, lambda step: f"t{step}"), [label for label, _ in entries]


def test_rows_without_the_class_before_their_steps_are_refused(trained: Maker, tmp_path: Path) -> None:
    rows, labels = table()

    def write(folder: Path) -> None:
        rows.set_index(pd.Index(labels)).to_csv(folder / "a.csv", header=False)

    model = trained(write, {**WIDE, "columns": {"id": "path", "label": "column_0"}, "names": "numbered"})
    assert len(model.answers()) == 40
    rows.to_csv(tmp_path / "new.csv", header=False, index=False)
    with pytest.raises(
        InputError, match=r"rows of 23 steps, the model was trained on 24 to 24; without names, columns"
    ):
        model.answers(tmp_path / "new.csv")


def test_rows_without_the_class_behind_their_steps_get_the_same_answers(trained: Maker) -> None:
    rows, labels = table()
    write: Callable[[Path], None] = lambda folder: rows.assign(label=labels).to_csv(  # noqa: E731
        folder / "a.csv", header=False, index=False
    )
    model = trained(write, {**WIDE, "columns": {"id": "path", "label": "column_24"}, "names": "numbered"})
    expected = model.answers()
    rows.to_csv(model.raw / "a.csv", header=False, index=False)
    assert model.answers().equals(expected)


def test_named_steps_that_are_missing_are_said(trained: Maker, tmp_path: Path) -> None:
    rows, labels = table()
    model = trained(
        lambda folder: rows.assign(label=labels).to_csv(folder / "a.csv", index=False), {**WIDE, "features": ["t"]}
    )
    rows.drop(columns="t5").to_csv(model.raw / "a.csv", index=False)
    outcome = predict_files(model.predictor, [model.raw], str(tmp_path / "answers.parquet"))
    assert any("rows of 23 steps, the model was trained on 24 to 24" in line for line in outcome.remarks)
