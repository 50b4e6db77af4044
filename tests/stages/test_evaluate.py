import csv
import json
from pathlib import Path

import numpy as np
import pytest

from rnnflow.params.models import Cell, ModelParams
from stages import evaluate
from tests import toys

SEQUENCES = toys.random_sequences([3, 1, 7, 5, 2, 9])
LABELS = ["up", "down", "level", "up", "down", "level"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds params, checkpoint and a test split."""
    toys.write_params(tmp_path, evaluate={"batch_size": 4, "num_length_slices": 2, "num_resamples": 100})
    toys.save_checkpoint(
        tmp_path / "checkpoint.safetensors", toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    )
    for split in ("validation", "test"):
        toys.write_sequences(tmp_path / split / "part-00000.parquet", SEQUENCES, LABELS)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("cell", toys.CELLS)
def test_it_writes_metrics_and_tables_that_agree(folder: Path, cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    model = toys.random_classifier(ModelParams(cell=cell, hidden_size=4, bidirectional=True))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    evaluate.main(toys.evaluate_arguments(folder))
    output = folder / "evaluation"
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["num_sequences"] == 6
    assert metrics["baseline_accuracy"] == pytest.approx(2 / 6, abs=1e-6)  # 'down' led the train split
    confusion = rows(output / "matrices" / "confusion.csv")
    right = sum(int(row["count"]) for row in confusion if row["actual"] == row["predicted"])
    assert sum(int(row["count"]) for row in confusion) == 6
    assert metrics["accuracy"] == pytest.approx(right / 6, abs=1e-6)
    intervals = {(row["metric"], row["class"]): row for row in rows(output / "tables" / "intervals.csv")}
    assert {name for name, of_class in intervals if not of_class} <= set(metrics) & set(metrics["validation"])
    assert next(iter(metrics)) == "validation"  # which is what choices are made by
    assert {of_class for name, of_class in intervals if name == "macro_f1"} == {"", *toys.CLASSES}
    assert float(intervals["accuracy", ""]["low"]) == metrics["accuracy_low"]
    slices = rows(output / "tables" / "slices.csv")
    assert sum(int(row["count"]) for row in slices if row["by"] == "length") == 6
    assert len([row for row in slices if row["by"] == "length"]) == 2
    curves = {path.stem for path in (output / "curves").iterdir()}
    assert curves == {"accuracy_by_length", "aurc", "average_precision", "calibration_error", "roc_auc"}
    assert f"toy: accuracy {metrics['accuracy']:.4f}" in capsys.readouterr().out


def test_it_writes_the_same_bytes_again_and_nothing_that_is_left_over(folder: Path) -> None:
    evaluate.main(toys.evaluate_arguments(folder))
    first = contents(folder / "evaluation")
    (folder / "evaluation" / "old.csv").write_text("from an earlier version\n")
    evaluate.main(toys.evaluate_arguments(folder))
    assert contents(folder / "evaluation") == first


def test_other_labels_of_the_test_split_change_nothing_that_is_chosen(folder: Path) -> None:
    toys.write_params(folder, evaluate={"max_error_share": 0.5, "num_resamples": 100})
    chosen = []
    for labels in (LABELS, LABELS[::-1]):
        toys.write_sequences(folder / "test" / "part-00000.parquet", SEQUENCES, labels)
        evaluate.main(toys.evaluate_arguments(folder))
        on_validation = json.loads((folder / "evaluation" / "metrics.json").read_text())["validation"]
        calibration = json.loads((folder / "evaluation" / "calibration.json").read_text())
        del calibration["sha256"], calibration["tables"]  # of the metrics and tables as well
        chosen.append((calibration, on_validation))
    assert chosen[0] == chosen[1]


def test_figures_are_those_at_the_temperature(folder: Path) -> None:
    found = {}
    for has_temperature in (False, True):
        toys.write_params(folder, evaluate={"temperature": has_temperature, "num_resamples": 100})
        evaluate.main(toys.evaluate_arguments(folder))
        found[has_temperature] = json.loads((folder / "evaluation" / "metrics.json").read_text())
    temperature = json.loads((folder / "evaluation" / "calibration.json").read_text())["temperature"]
    assert temperature > 1  # weights that are drawn know nothing
    assert found[True]["validation"]["log_loss"] < found[False]["validation"]["log_loss"]
    assert found[True]["accuracy"] == found[False]["accuracy"]


def test_a_rule_for_deciding_early_comes_with_its_figures_or_not_at_all(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why = (
        "toy: live streams are decided at their end: that an earlier decision loses less than 0.01 of accuracy "
        "(evaluate.max_early_loss) is not shown by the validation split of 6 sequences; it takes 268 at least\n"
    )
    for max_loss in (0.9, 0.01, None):
        toys.write_params(folder, evaluate={"max_early_loss": max_loss, "num_resamples": 100})
        evaluate.main(toys.evaluate_arguments(folder))
        early = json.loads((folder / "evaluation" / "calibration.json").read_text())["early"]
        metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
        names = {f"early_{name}" for name in ("accuracy", "share_seen", "harmonic_mean")}
        curve = rows(folder / "evaluation" / "curves" / "early_answers.csv")
        assert float([row for row in curve if row["line"] == "accuracy"][-1]["share"]) == metrics["accuracy"]
        assert (why in capsys.readouterr().out) == (max_loss == 0.01)
        if max_loss == 0.9:
            assert early["steps"] == [*range(1, 10)]  # the longest has nine
            assert names <= set(metrics) & set(metrics["validation"])
            assert metrics["early_share_seen"] < 1
        else:
            assert early is None
            assert not names & set(metrics)


def test_shards_change_no_figure(folder: Path) -> None:
    evaluate.main(toys.evaluate_arguments(folder))
    first = contents(folder / "evaluation")
    toys.write_sequences(folder / "test" / "part-00000.parquet", SEQUENCES[:2], LABELS[:2])
    toys.write_sequences(folder / "test" / "part-00001.parquet", SEQUENCES[2:], LABELS[2:])
    evaluate.main(toys.evaluate_arguments(folder))
    assert contents(folder / "evaluation") == first


def unknown_class(folder: Path) -> str:
    toys.write_sequences(folder / "test" / "part-00001.parquet", SEQUENCES[:2], ["up", "sideways"])
    return f"{folder / 'test'}: row 7: label 'sideways' is unknown to the train split, which has down, level, up"


def other_features(folder: Path) -> str:
    path = toys.write_sequences(folder / "test" / "part-00000.parquet", SEQUENCES, LABELS, features=("x", "z"))
    return f"{path}: features x, z, expected x, y"


def no_files(folder: Path) -> str:
    (folder / "test" / "part-00000.parquet").unlink()
    return f"{folder / 'test'}: no Parquet file"


def no_rows(folder: Path) -> str:
    toys.write_sequences(folder / "test" / "part-00000.parquet", [], [])
    return f"{folder / 'test'}: no rows"


def no_labels(folder: Path) -> str:
    path = toys.write_sequences(folder / "test" / "part-00000.parquet", SEQUENCES)
    return f"{path}: column 'label' is missing"


def unknown_setting(folder: Path) -> str:
    path = toys.write_params(folder, evaluate={"batchsize": 4})
    return f"{path}: evaluate.batchsize: unknown parameter; did you mean 'batch_size'?"


def refused_value(folder: Path) -> str:
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4, missing="refuse"))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    return (
        "validation split: sequence 2: a value of feature 'x' is missing and the model's setting 'missing' is 'refuse'"
    )


def trained_on_validation(folder: Path) -> str:
    toys.write_params(folder, evaluate={"max_error_share": 0.1})
    model = toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model, final_fit=True)
    return "evaluate.max_error_share: the validation split is among what this model was trained on"


@pytest.mark.parametrize(
    "mistake",
    [
        trained_on_validation,
        refused_value,
        unknown_class,
        other_features,
        no_files,
        no_rows,
        no_labels,
        unknown_setting,
    ],
    ids=lambda m: m.__name__,
)
def test_a_mistake_ends_it_with_one_line_and_leaves_the_last_evaluation(
    folder: Path, capsys: pytest.CaptureFixture[str], mistake: object
) -> None:
    evaluate.main(toys.evaluate_arguments(folder))
    assert callable(mistake)
    message = mistake(folder)
    before = contents(folder / "evaluation"), sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as exit_:
        evaluate.main(toys.evaluate_arguments(folder))
    assert exit_.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {message}")
    assert (contents(folder / "evaluation"), sorted(folder.rglob("*"))) == before


def test_probabilities_that_are_no_numbers_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = toys.random_classifier(ModelParams(cell="mingru", hidden_size=4, scaling="none", differences=True))
    toys.save_checkpoint(folder / "checkpoint.safetensors", model)
    huge = [
        np.array([[3e38, 3e38], [-3e38, -3e38], [3e38, 3e38]], np.float32),
        *SEQUENCES[1:],
    ]  # their differences overflow
    toys.write_sequences(folder / "test" / "part-00000.parquet", huge, LABELS)
    with pytest.raises(SystemExit):
        evaluate.main(toys.evaluate_arguments(folder))
    assert "the model's probabilities of 1 sequences are no numbers" in capsys.readouterr().err
