"""Champion and challenger: which model challenges the one in production, on what they meet, and what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from rnnflow.classifier.parameters import multiply_adds
from rnnflow.evaluation.comparison.comparison import Comparison, Judgement, compare, judge
from rnnflow.evaluation.comparison.dead_features import died
from rnnflow.evaluation.comparison.paired_bootstrap import Pairs, macro_f1
from rnnflow.evaluation.scores.intervals import wilson
from rnnflow.evaluation.scores.scoring import Ids, ScoredSplit, Scores, score
from rnnflow.params.compare import CompareParams
from rnnflow.params.models import ModelParams
from rnnflow.runtime import json_text, npz_files
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import file_md5, folder_md5
from rnnflow.serving.predictor import Predictor

MODEL, TRAINING_IDS, PROMOTION = "model.onnx", "training_ids.npy", "promotion.json"
"""Files of the model in production: itself, hashes of the ids it was trained on, and what was known at its promotion."""
IDS_MD5 = "training_ids_md5"


class Model:
    """An ONNX file with what the comparison asks of it."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self.predictor = Predictor(path)
        self.metadata = self.predictor.metadata
        self.name: str = name or self.metadata["name"]
        self.md5 = file_md5(path)

    def figures(self, labels: np.ndarray, scores: Scores) -> dict[str, object]:
        """Return how large the model is and how well it does."""
        num_right = int((scores.predictions == labels).sum())
        low, high = map(float, wilson(num_right, len(labels)))
        return {
            "name": self.name,
            "md5": self.md5,
            "accuracy": num_right / len(labels),
            "accuracy_low": low,
            "accuracy_high": high,
            "macro_f1": macro_f1(labels, scores.predictions, len(self.predictor.classes)),
            "log_loss": scores.log_loss(),
            "onnx_bytes": self.path.stat().st_size,
            "num_parameters": self.metadata["num_parameters"],
            "multiply_adds": self.multiply_adds(),
        }

    def multiply_adds(self) -> int | None:
        """Return those of a sequence of median length; none where another version's model has settings unknown here."""
        try:
            params = ModelParams.model_validate(self.metadata["model"])
        except ValidationError:
            return None
        predictor = self.predictor
        return multiply_adds(params, len(predictor.features), len(predictor.classes), self.metadata["lengths"][1])


@dataclass(frozen=True)
class Production:
    """The model in production.

    Attributes:
        model: its file.
        training_ids: hashes of the ids of the sequences it was trained on; none where the file does not lie beside it.
        test_md5: of the test split at its promotion; none where that is not known.
    """

    model: Model
    training_ids: Ids | None
    test_md5: str | None

    @classmethod
    def find(cls, folder: Path) -> "Production | None":
        """Return what is in `folder`, or none where nothing has been promoted yet.

        Raises:
            InputError: there is one, and its file is not here.
        """
        file, ids, promotion = folder / MODEL, folder / TRAINING_IDS, folder / PROMOTION
        for path in (file, ids):
            tracking = path.with_name(f"{path.name}.dvc")
            if tracking.exists() and not path.exists():
                raise InputError(f"{path}: tracked by {tracking} and not here; `dvc pull {tracking}` brings it")
        if not file.exists():
            return None
        kept = _promotion(promotion) if promotion.exists() else {}
        if ids.exists() and kept.get(IDS_MD5) not in (None, file_md5(ids)):
            raise InputError(
                f"{ids}: changed or damaged since the promotion; remove it, and `dvc checkout {ids}.dvc` brings it back"
            )
        return cls(Model(file), npz_files.read(ids)[ids.stem] if ids.exists() else None, kept.get("test_md5"))


def _promotion(path: Path) -> Mapping[str, Any]:
    """Return what was known at the promotion.

    One of before there were checksums has neither name, and one flipped bit hides one of them alone.
    """
    expected = "what `flows.promote` wrote"
    kept = json_text.read(path, expected)
    if not isinstance(kept, dict):
        raise InputError(f"{path}: expected {expected}")
    return json_text.read_sealed(path, expected) if {json_text.CHECKSUM, IDS_MD5} & kept.keys() else kept


def choose(candidates: Sequence[Model], validation: Path, by: str) -> tuple[Model, dict[str, dict[str, float]]]:
    """Return the challenger, and what each candidate came to on the validation split, which alone decides.

    They are scored from their files and not taken from the log of the training: the log ends with the last epoch, while
    early stopping keeps the weights of an earlier one, and the file is what would be promoted.
    """
    scored = score(validation, {str(model.path): model.predictor for model in candidates})
    found = {}
    for model in candidates:
        scores = scored.scores[str(model.path)]
        found[model.name] = {"accuracy": scores.accuracy(scored.labels), "log_loss": scores.log_loss()}
    sign = -1 if by == "accuracy" else 1
    return min(candidates, key=lambda model: sign * found[model.name][by]), found


def meet(
    challenger: Model, production: Production | None, test: Path, learnt: Sequence[Path], settings: CompareParams
) -> dict[str, Any]:
    """Return the verdict on the test split, with all that it rests on.

    Args:
        challenger: the model chosen.
        production: the one to beat.
        test: folder of the split that decides.
        learnt: folders of the splits that the challenger is made from.
        settings: section `compare`.

    Raises:
        InputError: classes or features differ, all test sequences are of one class, a probability is not a number.
    """
    models = {str(challenger.path): challenger}
    if production:
        models[str(production.model.path)] = production.model
    scored = score(test, {name: model.predictor for name, model in models.items()})
    if len(np.unique(scored.labels)) < 2:
        name = scored.classes[scored.labels[0]]
        raise InputError(f"{test}: every sequence is of class {name!r}; a comparison needs at least two classes")
    test_md5 = folder_md5(test)
    figures = {name: model.figures(scored.labels, scored.scores[name]) for name, model in models.items()}
    result: dict[str, Any] = {
        "challenger": figures[str(challenger.path)],
        "production": figures[str(production.model.path)] if production else None,
        "test": {"md5": test_md5, "num_sequences": len(scored.labels), "num_compared": len(scored.labels)},
        "comparison": None,
        "remarks": [],
    }
    limits = _broken_limits(result["challenger"], scored.labels, settings)
    if production is None:
        said = "there is no production model yet: the first promotion needs nothing but the limits"
        return _with(result, Judgement("worse", limits) if limits else Judgement("better", [said]))
    result["remarks"], is_fair = _fairness(challenger, production, scored, test_md5)
    result["test"]["num_compared"] = int(is_fair.sum())
    if len(np.unique(scored.labels[is_fair])) < 2:
        said = "too few test sequences are left that the production model was not trained on"
        return _with(result, Judgement("undecided", [said]))
    found = compare(_pairs(scored, challenger, production, is_fair), settings)
    result["comparison"] = asdict(found)
    result["remarks"] += _small_classes(found, settings)
    if limits:
        return _with(result, Judgement("worse", limits))
    if challenger.md5 == production.model.md5:
        return _with(result, Judgement("not worse", ["the challenger is the model in production"]))
    return _with(result, _held_back(judge(found, settings), production, learnt, settings))


def _with(result: dict[str, Any], judgement: Judgement) -> dict[str, Any]:
    return result | {"verdict": judgement.verdict, "reasons": judgement.reasons}


def _held_back(
    judgement: Judgement, production: Production, learnt: Sequence[Path], settings: CompareParams
) -> Judgement:
    """Return a judgement that also looks at what the challenger has learnt from, however good it is on the test split."""
    known, max_share = production.training_ids, settings.max_dead_share
    if known is None or max_share is None:
        return judgement
    dead = list(died(learnt, production.model.predictor.features, known, max_share))
    is_good = judgement.verdict in ("better", "not worse")
    return Judgement("undecided" if dead and is_good else judgement.verdict, [*dead, *judgement.reasons])


def _pairs(scored: ScoredSplit, challenger: Model, production: Production, where: np.ndarray) -> Pairs:
    groups = None if scored.groups is None else np.unique(scored.groups[where], return_inverse=True)[1]
    first, second = (scored.scores[str(model.path)].at(where) for model in (challenger, production.model))
    return Pairs(scored.labels[where], first, second, scored.classes, groups)


def _broken_limits(figures: Mapping[str, Any], labels: np.ndarray, settings: CompareParams) -> list[str]:
    """Return which limits the challenger does not keep, whatever is in production."""
    broken = []
    majority = float(np.bincount(labels).max() / len(labels))
    floor = majority if settings.minimum_accuracy is None else settings.minimum_accuracy
    if figures["accuracy_low"] < floor:
        what = "the most frequent class's share" if settings.minimum_accuracy is None else "minimum_accuracy"
        said = f"{figures['accuracy']:.4f} ({figures['accuracy_low']:.4f} to {figures['accuracy_high']:.4f})"
        broken.append(f"accuracy {said}: the low end is below {what}, {floor:.4f}")
    for name in ("onnx_bytes", "multiply_adds"):
        limit, value = getattr(settings, f"max_{name}"), figures[name]
        if limit is not None and value is not None and value > limit:
            broken.append(f"{name} {value:,}, above max_{name} {limit:,}")
    return broken


def _fairness(
    challenger: Model, production: Production, scored: ScoredSplit, test_md5: str
) -> tuple[list[str], np.ndarray]:
    """Return what makes the comparison unfair, and which sequences neither model was trained on."""
    remarks = []
    is_fair = np.ones(len(scored.labels), dtype=bool)
    if production.training_ids is not None:
        is_fair = ~np.isin(scored.ids, production.training_ids)
        if not is_fair.all():
            count = int((~is_fair).sum())
            remarks.append(
                f"the production model was trained on {count:,} of the {len(is_fair):,} test sequences: left out"
            )
    elif production.model.metadata["md5"].get("train") != challenger.metadata["md5"].get("train"):
        remarks.append(
            "the production model was trained on other data, and no training_ids.npy beside it says whether sequences "
            "of this test split were among them"
        )
    if production.test_md5 not in (None, test_md5):
        remarks.append("the test split has changed since the production model was promoted")
    return remarks, is_fair


def _small_classes(found: Comparison, settings: CompareParams) -> list[str]:
    small = [entry for entry in found.classes if entry.num_sequences < settings.min_class_sequences]
    named = ", ".join(f"{entry.name} ({entry.num_sequences})" for entry in small)
    return [f"too few test sequences to rule out a loss above the margin: class {named}"] if small else []
