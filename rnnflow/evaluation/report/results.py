"""What the stages found out about each model, read from their files."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rnnflow.runtime import json_text
from rnnflow.runtime.errors import InputError, library
from rnnflow.runtime.provenance import folder_md5
from rnnflow.serving.predictor import Predictor

Rows = Sequence[Mapping[str, Any]]
NAMES = {"actual", "by", "class", "line", "metric", "predicted", "slice", "x_axis"}
"""Columns that hold texts, even where these read as numbers: classes are often called 0, 1, 2."""
STAGE_JSON = "the JSON that a stage wrote (`dvc repro` writes it)"


@dataclass(frozen=True)
class ModelResults:
    """Of one model.

    Attributes:
        name: what the page calls it.
        model: its ONNX file.
        evaluation: folder that stage evaluate wrote.
        training: folder that stage train wrote; none where it is not known.
    """

    name: str
    model: Path
    evaluation: Path
    training: Path | None = None

    def require_intact(self) -> None:
        """Compare what stage evaluate wrote with the checksums in its `calibration.json`.

        Raises:
            InputError: a file has changed since.
        """
        path = self.evaluation / "calibration.json"
        content = json_text.read_sealed(path, STAGE_JSON, {self.evaluation / "metrics.json": self.metrics})
        with library(f"{path}: expected {STAGE_JSON}"):
            tables = dict(content["tables"])
        folders = {kind: self.evaluation / kind for kind in tables}
        changed = [
            kind for kind, folder in folders.items() if not folder.is_dir() or folder_md5(folder) != tables[kind]
        ]
        if changed:
            raise InputError(
                f"{self.evaluation}: {changed[0]} changed or damaged since stage evaluate wrote it; remove it, "
                "and dvc checkout or dvc repro brings it back"
            )

    @cached_property
    def predictor(self) -> Predictor:
        return Predictor(self.model)

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics on the test split."""
        return read_json(self.evaluation / "metrics.json")

    def rows(self, table: str) -> Rows:
        """Return a table of the evaluation, such as `tables/slices`; empty where it has none."""
        return _read_rows(self.evaluation / f"{table}.csv")

    def history(self, metric: str) -> Rows:
        """Return a metric of each epoch, such as `validation/loss`; empty where it is not known."""
        return _read_rows(self.training / f"plots/metrics/{metric}.tsv") if self.training else []

    def tables(self, kind: str) -> list[str]:
        """Return which tables of a kind there are: `curves` or `matrices`."""
        return [f"{kind}/{path.stem}" for path in sorted((self.evaluation / kind).glob("*.csv"))]


@dataclass(frozen=True)
class Results:
    """Of a whole run, or of some models on one split.

    Attributes:
        models: at least one.
        verdict: of stage compare; none where the models were compared with nothing.
        reference: the profile that new data is compared with; empty where none was accepted.
        drift: what lies outside the bounds around it.
    """

    models: Sequence[ModelResults]
    verdict: Mapping[str, Any] | None = None
    reference: Mapping[str, Any] = field(default_factory=dict)
    drift: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        return [model.name for model in self.models]

    @property
    def challenger(self) -> ModelResults:
        """The model that was chosen on the validation split, or the first."""
        chosen = self.verdict["challenger"]["name"] if self.verdict else self.names[0]
        return self.models[self.names.index(chosen)]

    @property
    def others(self) -> Mapping[str, Mapping[str, Any]]:
        """Figures on the test split of what the models have to beat: the model in production, and the baselines."""
        verdict = self.verdict or {}
        production = {"production": verdict["production"]} if verdict.get("production") else {}
        return production | {name: splits["test"] for name, splits in verdict.get("baselines", {}).items()}

    @property
    def profile(self) -> Mapping[str, Any] | None:
        """Of the train split; none where the model's file is of an early version."""
        return self.challenger.predictor.metadata["profile"]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table of all models, each row with its model's name."""
        return [{"model": model.name, **row} for model in self.models for row in model.rows(table)]

    def history(self, metric: str) -> list[dict[str, Any]]:
        return [{"model": model.name, **row} for model in self.models for row in model.history(metric)]


def read_json(path: Path) -> Any:
    """Return what a stage wrote.

    Raises:
        InputError: it is not there or damaged.
    """
    return json_text.read(path, STAGE_JSON)


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the same of a file with a checksum."""
    return json_text.read_sealed(path, STAGE_JSON)


def _read_rows(path: Path) -> Rows:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        return [{name: text if name in NAMES else _number(text) for name, text in row.items()} for row in rows]


def _number(text: str) -> float | None:
    """Return nothing where a figure is undefined, such as the loss on a validation split that is not there."""
    value = float(text or "nan")
    return value if math.isfinite(value) else None
