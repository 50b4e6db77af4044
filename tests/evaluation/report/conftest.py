"""What the stages before `report` leave: two models, `good` and `poor`, and nothing in production."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnflow.classifier import checkpoint
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.params.models import ModelParams
from rnnflow.runtime import json_text
from rnnflow.runtime.atomic_writes import write_json
from rnnflow.serving.predictor import Predictor
from rnnflow.training.log import TrainingLog
from rnnflow.training.loop import Epoch
from stages import compare, evaluate, export, report
from tests import toys
from tests.made_once import made_once

SEQUENCES = toys.random_sequences([3, 1, 7, 5, 2, 9] * 50)

PROFILE: dict[str, Any] = {
    "sequences": 60,
    "features": {
        name: {"min": -1.0, "max": 2.0, "mean": 0.5, "std": 0.5, "missing_share": 0.0} for name in toys.FEATURES
    },
    "lengths": {"shortest": 1, "longest": 9, "steps": 300},
    "class_shares": {"down": 0.5, "level": 0.25, "up": 0.25},
}
"""Of a train split that has never been."""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "report", make_reported)


def make_reported(folder: Path) -> None:
    for seed, name in enumerate(("good", "poor")):
        classifier = toys.random_classifier(ModelParams(cell="gru", hidden_size=8), seed=seed)
        (folder / "models" / name).mkdir(parents=True)
        shutil.copy2(exported(folder / f"work-{name}", name, classifier), folder / "models" / name / "model.onnx")
    right = Predictor(folder / "models/good/model.onnx").predict(SEQUENCES)
    labels = [toys.CLASSES[index % 3] if index % 10 == 0 else label for index, label in enumerate(right)]
    for split in ("train", "validation", "test"):
        toys.write_sequences(folder / split / "part-00000.parquet", SEQUENCES, labels)
    for name in ("good", "poor"):
        work = folder / f"work-{name}"
        for split in ("validation", "test"):
            shutil.copytree(folder / split, work / split)
        evaluate.main(toys.evaluate_arguments(work))
        for result in ("metrics.json", "calibration.json"):
            shutil.copy2(work / "evaluation" / result, work / result)
        export.main(toys.export_arguments(work))
        shutil.copy2(work / "model.onnx", folder / "models" / name / "model.onnx")
        shutil.copytree(work / "evaluation", folder / "reports/models" / name / "evaluation")
        with TrainingLog(name, folder / "reports/models" / name / "training", 3, "cpu") as log:
            for epoch in range(3):
                log.add(Epoch(1 / (epoch + 1), 0.9, 0.5, 0.001), 1)
    toys.write_params(folder, models={name: {"cell": "gru"} for name in ("good", "poor")}, report={"num_errors": 3})
    compare.main(toys.compare_arguments(folder))
    shutil.move(folder / "comparison", folder / "reports/comparison")
    (folder / "reports/data").mkdir()
    write_json(folder / "reports/data/drift.json", json_text.sealed({"differences": []}))
    (folder / "reference.json").write_text("{}")
    report.main(toys.report_arguments(folder))


def exported(folder: Path, name: str, classifier: SequenceClassifier) -> Path:
    """Return an ONNX file of a classifier, and let the checkpoint know its name and the profile of its train split."""
    file = toys.exported(folder, classifier)
    saved = folder / "checkpoint.safetensors"
    description = replace(toys.save_checkpoint(saved, classifier), name=name, profile=PROFILE)
    checkpoint.save(saved, toys.arrays(classifier), description)
    return file


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of them with the page and the card, to be changed."""
    return Path(shutil.copytree(template, tmp_path / "copy"))
