"""A model reads files as it did when it was trained: the answers to raw files are those to the data set, to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnnflow.runtime.errors import InputError
from rnnflow.serving.prediction.predict_files import predict_files
from tests import exported_files, layouts, logged_files
from tests.awkward_files import known, write_ts
from tests.layouts import LAYOUTS
from tests.serving.prediction.conftest import Maker

NEEDS_WINDOWS = {
    "one stream": {"by": "time", "validation_from": "2026-01-01T00:00:36", "test_from": "2026-01-01T00:00:48"},
    "subjects who change": {"by": "group", "validation": 0.3, "test": 0.3},
}


def wide(folder: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(40, 6)), columns=[f"{name}_{step}" for name in "ab" for step in range(3)])
    table.iloc[3, 2] = np.nan
    table.assign(id=range(40), label=["cat", "dog"] * 20).to_csv(folder / "a.csv", index=False)


def features_first(folder: Path) -> None:
    content = layouts.sequences()
    table = {"id": content["recording"], "label": content["activity"]}
    table["sequence"] = [[a, b] for a, b in zip(content["a"], content["b"], strict=True)]
    pq.write_table(pa.table(table), folder / "a.parquet")


def with_gaps(folder: Path) -> None:
    table = layouts.recordings(recording="id", activity="label", stamp="time")
    table.loc[table.index % 7 == 3, "a"] = np.nan
    table.to_csv(folder / "a.csv", index=False)


CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    **{name: (write, files, {}) for name, (write, files) in LAYOUTS.items() if name not in NEEDS_WINDOWS},
    **{
        name: (*LAYOUTS[name], {"windows": {"length": 30, "stride": 10}, "split": split})
        for name, split in NEEDS_WINDOWS.items()
    },
    "wide": (wide, {"layout": "wide", "features": ["a", "b"]}, {}),
    "features first": (features_first, {"axes": "sequence-feature-time", "features": ["a", "b"]}, {}),
    "JSON lines": (exported_files.lines_of_steps, {"columns": {"id": "rec", "label": "activity"}}, {}),
    "gaps": (with_gaps, {}, {}),
    "gaps and time since the last step": (with_gaps, {"time_since_last_step": True}, {}),
    "resampled": (with_gaps, {"resample": {"seconds": 1.0}}, {}),
    "windows in steps": (with_gaps, {}, {"windows": {"length": 4, "stride": 2}}),
    "windows in seconds": (with_gaps, {}, {"windows": {"length": 1.5, "stride": 1.0, "unit": "seconds"}}),
}


MANY_FILES = ("folders", "folders with splits", "folders of subjects")
"""Which take as long as all others together."""


def by_id(table: pa.Table) -> dict[str, tuple[Any, ...]]:
    names = [name for name in table.column_names if name == "prediction" or name.startswith("probability_")]
    rows = zip(table["id"].to_pylist(), *(table[name].to_pylist() for name in names), strict=True)
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in MANY_FILES else ()) for name in CASES]
)
def test_raw_files_get_the_answers_of_the_data_set_made_of_them(name: str, trained: Maker) -> None:
    write, files, settings = CASES[name]
    model = trained(write, files, **settings)
    raw, made = model.answers(), model.answers(*model.sequences)
    assert by_id(made)
    assert by_id(made).items() <= by_id(raw).items()
    assert len(raw) == len(made) or name == "one stream"  # which has windows across the times that divide the splits
    assert "recording" in raw.column_names
    assert "recording" not in made.column_names


def test_archives_need_no_classes(trained: Maker, tmp_path: Path) -> None:
    model = trained(lambda folder: write_ts(folder, known()), {})
    (tmp_path / "new").mkdir()
    logged_files.unlabelled_ts(tmp_path / "new")
    assert model.answers(tmp_path / "new").equals(model.answers())


def test_the_table_of_labels_is_no_recording(trained: Maker) -> None:
    labels = {"path": "labels.csv", "key": "id", "label": "class"}
    model = trained(logged_files.numbers_of_files, {"columns": {"id": "path"}, "labels": labels})
    assert len(model.answers()) == 40
    with pytest.raises(InputError, match="the table of labels, which holds no recordings"):
        model.answers(model.raw / "labels.csv")


def test_the_order_of_features_is_none_of_their_names(trained: Maker, tmp_path: Path) -> None:
    model = trained(
        lambda folder: logged_files.frame(known()).to_csv(folder / "a.csv", index=False),
        {"features": ["ay", "ax"], "columns": {"id": "rec", "label": "activity"}},
    )
    assert not predict_files(model.predictor, [model.raw], str(tmp_path / "answers.csv")).remarks
