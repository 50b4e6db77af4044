"""What `predict` says of recordings: which steps, in which order of columns, and what it refuses or leaves out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rnnflow.runtime.errors import InputError
from rnnflow.serving.prediction.one_recording import probabilities_of_windows
from rnnflow.serving.prediction.predict_files import predict_files
from rnnflow.serving.predictor import Predictor
from tests.layouts import epochs, recordings
from tests.serving.prediction.conftest import Maker, Trained, onnx_file

WINDOWS = {"windows": {"length": 4, "stride": 2}}


def table() -> pd.DataFrame:
    return recordings(recording="id", activity="label", stamp="time")


def write(folder: Path) -> None:
    table().to_csv(folder / "a.csv", index=False)


def write_files(folder: Path) -> None:
    found = table()
    for index, (_, part) in enumerate(found.groupby(found["id"].str[1:2])):
        part.to_csv(folder / f"{index}.csv", index=False)


@pytest.fixture
def windowed(trained: Maker) -> Trained:
    return trained(write_files, {}, **WINDOWS)


def changed(model: Trained, frame: pd.DataFrame, name: str = "new.csv") -> Path:
    path = model.raw.parent / "new" / name
    path.parent.mkdir(exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def test_each_answer_says_its_recording_steps_and_times(windowed: Trained) -> None:
    found = table()
    answers = windowed.answers().to_pandas()
    steps = found.groupby("id")["time"].agg(list)
    for row in answers.itertuples():
        assert row.id == f"{row.recording}@{row.first_step}"
        assert row.last_step == row.first_step + 3
        assert row.start.tz_localize(None) == steps[row.recording][row.first_step]
        assert row.end.tz_localize(None) == steps[row.recording][row.last_step]


def test_columns_are_found_by_name_and_labels_are_not_needed(windowed: Trained) -> None:
    frame = table()[["b", "time", "a", "id"]].assign(note="x")
    assert windowed.answers(changed(windowed, frame)).equals(windowed.answers())


def test_a_label_is_not_looked_at(windowed: Trained) -> None:
    frame = table().assign(label=[f"odd {row}" if row % 3 else "" for row in range(len(table()))])
    assert windowed.answers(changed(windowed, frame)).equals(windowed.answers())


@pytest.mark.parametrize("summing", ["mean", "vote", "max"])
def test_windows_are_summed_up_to_one_answer_a_recording(windowed: Trained, summing: str) -> None:
    windows = windowed.answers().to_pandas()
    found = windowed.answers(summing=summing).to_pandas().set_index("recording")
    names = [name for name in windows.columns if name.startswith("probability_")]
    assert list(found.index) == list(windows["recording"].unique())
    for name, part in windows.groupby("recording"):
        values = part[names].to_numpy(np.float64)
        expected = {
            "mean": values.mean(0),
            "max": values.max(0),
            "vote": np.bincount(values.argmax(1), minlength=len(names)) / len(values),
        }[summing]
        row = found.loc[name]
        np.testing.assert_allclose(row[names].to_numpy(np.float64), expected, rtol=1e-6)
        assert row["prediction"] == names[int(expected.argmax())].removeprefix("probability_")
        assert (row["windows"], row["first_step"]) == (len(part), 0)
        assert row["last_step"] == part["last_step"].max()


def test_recordings_of_two_files_with_the_same_id_are_not_summed_up(windowed: Trained) -> None:
    for name in ("a", "b"):
        folder = windowed.raw.parent / "new"
        folder.mkdir(exist_ok=True)
        table().to_csv(folder / f"{name}.csv", index=False)
    with pytest.raises(InputError, match=r"recording 'r00' begins 2 times, in one file or several; --recordings needs"):
        windowed.answers(folder, summing="mean")


def test_windows_of_the_data_set_are_summed_up_as_well(windowed: Trained) -> None:
    raw = windowed.answers(summing="mean").to_pandas().set_index("recording")
    made = windowed.answers(*windowed.sequences, summing="mean").to_pandas().set_index("recording")
    names = [name for name in raw.columns if name.startswith("probability_")]
    np.testing.assert_allclose(made.loc[raw.index, names], raw[names], rtol=1e-6)
    assert (made.loc[raw.index, "windows"] == raw["windows"]).all()


def test_a_recording_in_memory_is_cut_as_in_a_file(windowed: Trained) -> None:
    windows = windowed.answers().to_pandas()
    names = [name for name in windows.columns if name.startswith("probability_")]
    values = table().query("id == 'r03'")[["a", "b"]].to_numpy()
    found = probabilities_of_windows(windowed.predictor, values)
    np.testing.assert_array_equal(found, windows.query("recording == 'r03'")[names].to_numpy(np.float32))
    with pytest.raises(InputError, match="3 steps are shorter than a window of 4 steps"):
        probabilities_of_windows(windowed.predictor, values[:3])


def test_a_missing_feature_is_named(windowed: Trained) -> None:
    path = changed(windowed, table().drop(columns="b"))
    with pytest.raises(InputError, match=r"new\.csv: column 'b' is missing, there are id, label, time, a"):
        windowed.answers(path)


def test_another_rate_is_refused(windowed: Trained) -> None:
    frame = epochs(table(), "time", 1)
    frame["time"] = frame.groupby("id").cumcount() * 2.0 + frame["time"]
    with pytest.raises(InputError, match=r"new\.csv: a step every 2\.\d+ s, the model was trained on 0\.5 s"):
        windowed.answers(changed(windowed, frame))


def test_values_in_another_unit_are_said(windowed: Trained) -> None:
    for factor, message in ((9.81, "feature 'b': range"), (0.01, "feature 'b': varies by 0.01.*in another unit")):
        path = changed(windowed, table().assign(b=factor * table()["b"]))
        outcome = predict_files(windowed.predictor, [path], str(path.with_suffix(".parquet")))
        assert any(pd.Series(outcome.remarks).str.contains(message)), outcome.remarks
    assert not predict_files(windowed.predictor, [windowed.raw], str(path.with_suffix(".parquet"))).remarks


def test_recordings_that_are_all_shorter_than_a_window_are_refused(windowed: Trained) -> None:
    with pytest.raises(InputError, match="every recording is shorter than a window"):
        windowed.answers(changed(windowed, table().groupby("id").head(3)))


def test_a_row_that_cannot_be_read_costs_its_recording_alone(windowed: Trained) -> None:
    expected = windowed.answers().to_pandas()
    first = sorted(windowed.raw.iterdir())[0]
    lines = first.read_text().splitlines()
    cells = lines[5].split(",")
    lines[5] = ",".join([*cells[:3], "=1+1", *cells[4:]])
    lines[-1] = lines[-1][: len(lines[-1]) // 2].rpartition(",")[0]  # where the power failed
    lost = [lines[5].split(",")[0], lines[-1].split(",")[0]]
    first.write_text("\n".join(lines) + "\n")
    rejects = windowed.raw.parent / "rejects.csv"
    found = windowed.answers(rejects_path=rejects).to_pandas()
    kept = expected[~expected["recording"].isin(lost)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, kept)
    cell, torn = pd.read_csv(rejects, keep_default_na=False).to_dict("records")
    assert (cell["file"], cell["id"], cell["line"]) == (str(first), lost[0], 6)
    assert (cell["column"], cell["text"], cell["reason"]) == (
        "a",
        "'=1+1",
        "expected a number",
    )  # no formula for a spreadsheet
    assert (torn["id"], torn["line"], torn["text"]) == (lost[1], len(lines), lines[-1])
    assert torn["reason"] == f"{lines[-1].count(',') + 1} columns, expected 5"


def test_a_torn_row_between_two_recordings_costs_both(windowed: Trained) -> None:
    expected = windowed.answers().to_pandas()
    first = sorted(windowed.raw.iterdir())[0]
    lines = first.read_text().splitlines()
    ids = [line.split(",")[0] for line in lines]
    place = next(row for row in range(2, len(ids)) if ids[row] != ids[row - 1])
    first.write_text("\n".join([*lines[:place], "r", *lines[place:]]) + "\n")
    rejects = windowed.raw.parent / "rejects.csv"
    found = windowed.answers(rejects_path=rejects).to_pandas()
    around = ids[place - 1 : place + 1]
    pd.testing.assert_frame_equal(found, expected[~expected["recording"].isin(around)].reset_index(drop=True))
    assert [(row["id"], row["line"]) for row in pd.read_csv(rejects).to_dict("records")] == [
        (name, place + 1) for name in around
    ]


def test_a_run_that_goes_on_says_what_the_first_one_saw(windowed: Trained) -> None:
    frame = table()
    few = frame.groupby("id").head(3)[lambda rows: rows["id"] < "r05"]
    paths = [
        changed(windowed, pd.concat([few, frame[frame["id"] >= "r05"]]).assign(b=981 * frame["b"]), "a.csv"),
        changed(windowed, frame.assign(id="z" + frame["id"]), "b.csv"),
    ]
    target = str(windowed.raw.parent / "answers.parquet")
    expected = predict_files(windowed.predictor, paths, target)
    assert "left out 5 recordings shorter than a window" in expected.remarks
    assert any("unlike the data that the model was trained on: feature 'b'" in line for line in expected.remarks)
    content = paths[1].read_bytes()
    paths[1].write_bytes(b"not yet")
    with pytest.raises(InputError):
        predict_files(windowed.predictor, paths, target)
    paths[1].write_bytes(content)
    assert predict_files(windowed.predictor, paths, target).remarks == expected.remarks


def test_advice_is_none_on_params_which_a_model_brings_along(windowed: Trained) -> None:
    path = changed(windowed, table().astype({"a": object}))
    path.write_text(path.read_text().replace(",0.", ",x0.", 1))
    with pytest.raises(
        InputError, match=r"expected a number, got 'x0.*; write the file as those that the model was trained on$"
    ):
        windowed.answers(path)


def test_what_was_finished_before_a_kill_is_not_computed_again(
    windowed: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = windowed.answers()
    target = windowed.raw.parent / "answers.parquet"
    target.unlink()
    last = sorted(windowed.raw.iterdir())[-1]
    content = last.read_bytes()
    status = last.stat()
    last.write_bytes(b"not yet")
    with pytest.raises(InputError):  # leaves what a kill leaves: the answers to all files but the last
        windowed.answers()
    parts = target.with_name(".answers.parquet.parts")
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert len(kept) == len(list(windowed.raw.iterdir())) - 1
    last.write_bytes(content)
    read = [path for path in windowed.raw.iterdir() if path != last]
    times = {path: path.stat().st_mtime_ns for path in read}
    for path in read:  # nobody can read them now; their answers are there
        path.write_bytes(bytes(path.stat().st_size))
        import os

        os.utime(path, ns=(times[path], times[path]))
    assert windowed.answers().equals(expected)
    assert not parts.exists()
    assert status.st_size == len(content)


@pytest.mark.parametrize("ending", ["parquet", "json"])
def test_damaged_answers_of_before_are_computed_again(windowed: Trained, ending: str) -> None:
    expected = windowed.answers()
    target = windowed.raw.parent / "answers.parquet"
    target.unlink()
    last = sorted(windowed.raw.iterdir())[-1]
    content = last.read_bytes()
    last.write_bytes(b"not yet")
    with pytest.raises(InputError):
        windowed.answers()
    last.write_bytes(content)
    for path in target.with_name(".answers.parquet.parts").glob(f"*.{ending}"):
        kept = bytearray(path.read_bytes())
        kept[len(kept) // 2] ^= 1
        path.write_bytes(kept)
    assert windowed.answers().equals(expected)


def test_answers_of_before_are_not_those_of_the_same_weights_with_another_threshold(
    windowed: Trained, tmp_path: Path
) -> None:
    last = sorted(windowed.raw.iterdir())[-1]
    content = last.read_bytes()
    last.write_bytes(b"not yet")
    with pytest.raises(InputError):
        windowed.answers()
    last.write_bytes(content)
    origin = {name: windowed.predictor.metadata[name] for name in ("recipe", "profile")}
    unsure = tmp_path / "unsure.onnx"
    unsure.write_bytes(
        onnx_file(windowed.predictor.features, calibration={"temperature": 1.0, "threshold": 1.0}, **origin)
    )
    answers = windowed._replace(predictor=Predictor(unsure)).answers()
    assert answers["prediction"].unique().to_pylist() == ["unknown"]


def test_a_file_that_cannot_be_read_goes_to_the_rejects(windowed: Trained) -> None:
    first = sorted(windowed.raw.iterdir())[0]
    expected = windowed.answers().to_pandas()
    lost = pd.read_csv(first)["id"].unique()
    first.write_text("id,time\n")
    rejects = windowed.raw.parent / "rejects.csv"
    found = windowed.answers(rejects_path=rejects).to_pandas()
    kept = expected[~expected["recording"].isin(lost)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, kept)
    (row,) = pd.read_csv(rejects, keep_default_na=False).to_dict("records")
    assert (row["file"], row["id"], row["line"]) == (str(first), "", "")
    assert row["reason"].startswith("column 'a' is missing")


def test_a_model_without_a_recipe_says_so_and_takes_the_contract(windowed: Trained) -> None:
    windowed.predictor.metadata |= {"recipe": None, "profile": None}
    with pytest.raises(InputError, match="its parts 'recipe' and 'profile' are missing"):
        windowed.answers()
    assert len(windowed.answers(*windowed.sequences)) == sum(
        pq.read_metadata(path).num_rows for path in windowed.sequences
    )
