import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rnnflow.evaluation.scores.scoring import ids_of
from rnnflow.export.graph import serialise
from rnnflow.params.models import ModelParams
from rnnflow.runtime.provenance import folder_md5
from rnnflow.serving.predictor import Predictor
from stages import compare
from tests import toys

SEQUENCES = toys.random_sequences([3, 1, 7, 5, 2, 9] * 100)
"""More than one chunk of them, so that a class has enough to prove something."""


def write_split(folder: Path, name: str, labels: Sequence[str], start: int = 0) -> None:
    shutil.rmtree(folder / name, ignore_errors=True)
    toys.write_sequences(folder / name / "part-00000.parquet", SEQUENCES[start : start + len(labels)], labels)


def new_model(path: Path, seed: int, **toy: Any) -> Predictor:
    """Export a random classifier to `path`."""
    classifier = toys.random_classifier(ModelParams(cell="gru", hidden_size=8), seed=seed)
    made = toys.exported(path.parents[2] / f"work-{seed}", classifier, **toy)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(made, path)
    return Predictor(path)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, of which `good` is nearly always right; nothing in production."""
    folder = tmp_path_factory.mktemp("compare")
    good = new_model(folder / "models/good/model.onnx", seed=1)
    new_model(folder / "models/poor/model.onnx", seed=2)
    (folder / "models/production").mkdir()
    right = good.predict(SEQUENCES)
    nearly_right = ["down" if index % 20 == 0 else label for index, label in enumerate(right)]
    for name, size in (("train", 30), ("validation", 300), ("test", 600)):
        write_split(folder, name, nearly_right[:size])
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    change_params(tmp_path, "poor", "good")
    return tmp_path


def change_params(folder: Path, *models: str, **compared: Any) -> None:
    few = {"min_class_sequences": 50}
    named = {name: {"cell": "gru"} for name in models}
    toys.write_params(folder, models=named, compare=few | compared)


def labels(folder: Path) -> list[str]:
    return list(Predictor(folder / "models/good/model.onnx").predict(SEQUENCES))


def produce(folder: Path, name: str) -> None:
    """Put a model into production."""
    shutil.copy2(folder / "models" / name / "model.onnx", folder / "models/production/model.onnx")


def verdict(folder: Path) -> dict[str, Any]:
    compare.main(toys.compare_arguments(folder))
    found: dict[str, Any] = json.loads((folder / "comparison/verdict.json").read_text())
    return found


def test_without_a_production_model_the_best_is_the_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verdict(folder)
    assert (found["verdict"], found["challenger"]["name"], found["production"]) == ("better", "good", None)
    assert capsys.readouterr().out.startswith("good: better; there is no production model yet")


def test_a_better_model_is_found_and_a_worse_one(folder: Path) -> None:
    produce(folder, "poor")
    assert verdict(folder)["verdict"] == "better"
    produce(folder, "good")
    change_params(folder, "poor")
    found = verdict(folder)
    assert (found["verdict"], found["challenger"]["name"]) == ("worse", "poor")
    assert found["comparison"]["production_only"] > found["comparison"]["challenger_only"]


def test_the_model_in_production_is_not_worse_than_itself(folder: Path) -> None:
    produce(folder, "good")
    found = verdict(folder)
    assert (found["verdict"], found["reasons"]) == ("not worse", ["the challenger is the model in production"])


def test_the_page_says_what_the_file_says(folder: Path) -> None:
    produce(folder, "poor")
    found = verdict(folder)
    page = (folder / "comparison/verdict.md").read_text()
    assert page.startswith("# good: better\n\nAgainst toy in production.")
    for part in (found["reasons"][0], f"{found['challenger']['accuracy']:.4f}", "| poor |", "| up | "):
        assert part in page


def test_it_writes_the_same_bytes_again_however_the_split_is_cut(folder: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "comparison").iterdir()}

    produce(folder, "poor")
    verdict(folder)
    first = contents()
    verdict(folder)
    assert contents() == first
    assert set(first) == {"verdict.json", "verdict.md"}


def test_changed_test_labels_change_the_verdict_and_not_the_choice(folder: Path) -> None:
    before = verdict(folder)
    poor = Predictor(folder / "models/poor/model.onnx")
    write_split(folder, "test", poor.predict(SEQUENCES))
    after = verdict(folder)
    assert after["challenger"]["accuracy"] < before["challenger"]["accuracy"]
    assert (after["challenger"]["name"], after["validation"]) == ("good", before["validation"])


def test_the_choice_is_made_on_the_validation_split(folder: Path) -> None:
    write_split(folder, "validation", Predictor(folder / "models/poor/model.onnx").predict(SEQUENCES[:300]))
    assert verdict(folder)["challenger"]["name"] == "poor"


def test_the_order_of_the_classes_is_no_difference(folder: Path) -> None:
    new_model(folder / "models/production/model.onnx", seed=1, classes=("up", "down", "level"))
    with_other_names = verdict(folder)["production"]["accuracy"]
    renamed = {"down": "up", "level": "down", "up": "level"}
    expected = np.mean(
        [renamed[label] == actual for label, actual in zip(labels(folder), of_test(folder), strict=True)]
    )
    assert with_other_names == pytest.approx(expected, abs=1e-6)


def of_test(folder: Path) -> list[str]:
    return ["down" if index % 20 == 0 else label for index, label in enumerate(labels(folder))]


def test_sequences_that_the_production_model_was_trained_on_are_left_out(folder: Path) -> None:
    produce(folder, "poor")
    np.save(folder / "models/production/training_ids.npy", ids_of(folder / "train"))
    found = verdict(folder)
    assert found["test"] | {"md5": ""} == {"md5": "", "num_sequences": 600, "num_compared": 570}
    assert found["remarks"][0] == "the production model was trained on 30 of the 600 test sequences: left out"
    np.save(folder / "models/production/training_ids.npy", ids_of(folder / "test"))
    assert verdict(folder)["verdict"] == "undecided"


def test_it_says_when_nobody_knows_what_the_production_model_was_trained_on(folder: Path) -> None:
    produce(folder, "poor")
    assert not verdict(folder)["remarks"]
    model = onnx.load(folder / "models/production/model.onnx")
    (entry,) = [entry for entry in model.metadata_props if entry.key == "md5"]
    entry.value = json.dumps(json.loads(entry.value) | {"train": "e" * 32})
    (folder / "models/production/model.onnx").write_bytes(serialise(model))
    assert verdict(folder)["remarks"][0].startswith(
        "the production model was trained on other data, and no training_ids"
    )


def test_a_better_model_that_learnt_from_a_dead_feature_is_held_back_unless_the_params_allow_it(folder: Path) -> None:
    produce(folder, "poor")
    np.save(folder / "models/production/training_ids.npy", ids_of(folder / "validation"))
    dead = [np.column_stack([steps[:, :1], np.full((len(steps), 1), 4095, np.float32)]) for steps in SEQUENCES[:30]]
    toys.write_sequences(folder / "train/part-00000.parquet", dead, ["up", "down"] * 15, id_prefix="new")
    found = verdict(folder)
    assert found["verdict"] == "undecided"
    assert found["reasons"][0].startswith("feature 'y' is constant or missing in 83% of the 30 sequences that are new")
    assert found["reasons"][1].startswith("significantly more accurate")
    change_params(folder, "poor", "good", max_dead_share=None)
    assert verdict(folder)["verdict"] == "better"


def test_it_says_that_the_test_split_has_changed_since_the_promotion(folder: Path) -> None:
    produce(folder, "poor")
    promotion = folder / "models/production/promotion.json"
    promotion.write_text(json.dumps({"test_md5": folder_md5(folder / "test")}))
    assert not verdict(folder)["remarks"]
    promotion.write_text(json.dumps({"test_md5": "0" * 32}))
    assert verdict(folder)["remarks"] == ["the test split has changed since the production model was promoted"]


def test_it_names_the_classes_that_are_too_small_to_prove_anything(folder: Path) -> None:
    produce(folder, "poor")
    change_params(folder, "good", min_class_sequences=100)
    assert verdict(folder)["remarks"] == ["too few test sequences to rule out a loss above the margin: class up (67)"]


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"minimum_accuracy": 0.99}, "the low end is below minimum_accuracy, 0.9900"),
        ({"max_onnx_bytes": 100}, "above max_onnx_bytes 100"),
        ({"max_multiply_adds": 10}, "above max_multiply_adds 10"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_challenger_beyond_a_limit_is_worse(folder: Path, limit: dict[str, Any], reason: str, is_first: bool) -> None:
    if not is_first:
        produce(folder, "poor")
    change_params(folder, "good", **limit)
    found = verdict(folder)
    assert found["verdict"] == "worse"
    assert found["reasons"][0].endswith(reason)


def test_a_first_model_must_beat_the_most_frequent_class(folder: Path) -> None:
    write_split(folder, "test", ["up" if index % 4 else "down" for index in range(600)])
    found = verdict(folder)
    assert found["verdict"] == "worse"
    assert found["reasons"][0].endswith("below the most frequent class's share, 0.7500")


def missing_file(folder: Path) -> str:
    tracking = folder / "models/production/model.onnx.dvc"
    tracking.write_text("outs:\n")
    return f"{folder}/models/production/model.onnx: tracked by {tracking} and not here; `dvc pull {tracking}` brings it"


def other_classes(folder: Path) -> str:
    new_model(folder / "models/production/model.onnx", seed=1, classes=("down", "level", "sideways"))
    return (
        f"{folder}/models/production/model.onnx has the classes down, level, sideways, "
        f"{folder}/models/good/model.onnx has down, level, up: they cannot be compared"
    )


def other_features(folder: Path) -> str:
    new_model(folder / "models/production/model.onnx", seed=1, features=("x", "z"))
    return f"{folder}/models/production/model.onnx has the features x, z, {folder}/models/good/model.onnx has x, y"


def one_class(folder: Path) -> str:
    write_split(folder, "test", ["up"] * 600)
    return f"{folder}/test: every sequence is of class 'up'; a comparison needs at least two classes"


def unknown_class(folder: Path) -> str:
    write_split(folder, "test", ["up", "sideways", "down"])
    return f"{folder}/test/part-00000.parquet: id 'sequence-1': label 'sideways' is unknown to the models"


def no_number(folder: Path) -> str:
    path = folder / "models/good/model.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(np.full_like(values, np.nan), tensor.name))
    path.write_bytes(serialise(model))
    return f"{folder}/validation/part-00000.parquet: {path} gives probabilities that are not numbers"


def no_candidate(folder: Path) -> str:
    (folder / "models/good/model.onnx").unlink()
    return f"{folder}/models/good/model.onnx: no such file"


def no_test_split(folder: Path) -> str:
    shutil.rmtree(folder / "test")
    return f"{folder}/test: no Parquet file"


MISTAKES = [
    missing_file, other_classes, other_features, one_class, unknown_class, no_number, no_candidate, no_test_split
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_ends_it_with_one_line_and_leaves_the_last_verdict(
    folder: Path, mistake: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    verdict(folder)
    before = (folder / "comparison/verdict.json").read_bytes()
    message = mistake(folder)
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        compare.main(toys.compare_arguments(folder))
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert (folder / "comparison/verdict.json").read_bytes() == before
