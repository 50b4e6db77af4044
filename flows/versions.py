"""What is known of each version of the classifier: kept when it is promoted, shown by `python -m flows.promote show`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.repository import production, registry
from flows.repository.git import git
from flows.repository.registry import Version
from rnnflow.evaluation.comparison.challenge import MODEL, PROMOTION
from rnnflow.runtime import json_text
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.provenance import file_md5, folder_md5
from rnnflow.serving.predictor import Predictor

VERDICT = Path("reports/comparison/verdict.json")


def read_verdict(top: Path) -> dict[str, Any] | None:
    """Return what stage compare found, or none where it has not run.

    Raises:
        InputError: it is damaged.
    """
    if not (top / VERDICT).exists():
        return None
    return json_text.read_sealed(top / VERDICT, "the verdict that stage compare wrote (`dvc repro compare` does)")


def facts_now(
    top: Path, name: str, predictor: Predictor, verdict: Mapping[str, Any] | None, why: str
) -> dict[str, object]:
    """Return what is known of a model when it is promoted: from the verdict, or from the file itself."""
    md5 = file_md5(top / "models" / name / MODEL)
    is_judged = verdict is not None and verdict["challenger"]["md5"] == md5
    figures = verdict["challenger"] if verdict and is_judged else predictor.metadata["metrics"]
    test = top / production.SPLITS / "test"
    return {
        "model": name,
        "model_md5": md5,
        **{figure: figures.get(figure) for figure in ("accuracy", "accuracy_low", "accuracy_high")},
        "verdict": verdict["verdict"] if verdict and is_judged else "none",
        "reasons": verdict["reasons"] if verdict and is_judged else [],
        "test_md5": folder_md5(test) if test.is_dir() else None,
        "train_md5": predictor.metadata["md5"].get("train"),
        "why": why,
    }


def facts_of(top: Path, version: Version) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(git(top, "show", f"{version.commit}:{production.PRODUCTION / PROMOTION}"))
    except (InputError, ValueError):  # a version that somebody tagged by hand
        return {}
    return found


def taken_back(top: Path, md5: str) -> str | None:
    """Return the name of the version with this model if it was in production and is not any more, or None.

    A person has rolled it back, which a nightly run is not to undo.
    """
    history = registry.in_production(top)
    known = {version.name: facts_of(top, version).get("model_md5") for version in history}
    if not history or known[history[-1].name] == md5:
        return None
    return next((name for name, model_md5 in known.items() if model_md5 == md5), None)


def commit_message(facts: Mapping[str, Any]) -> str:
    lines = [f"Accuracy {_accuracy(facts)} on the test split.", f"Verdict: {facts['verdict']}."]
    lines += [f"- {reason}" for reason in facts["reasons"]]
    return "\n".join([*lines, *([f"Forced: {facts['why']}"] if facts["why"] else [])])


def _accuracy(figures: Mapping[str, Any]) -> str:
    share, low, high = (figures.get(name) for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return "" if None in (share, low, high) else f"{share:.4f} ({low:.4f} – {high:.4f})"


def show(top: Path) -> None:
    """Print a line for each version: when, which model, how good, which commit."""
    history = registry.in_production(top)
    verdict = read_verdict(top) or {}
    judged = [model for role in ("challenger", "production") if (model := verdict.get(role))]
    today = {model["md5"]: model for model in judged}  # of which the last verdict gives the accuracy
    table = Table("version", "", "date", "model", title="Versions", title_justify="left")
    table.add_column("accuracy when promoted", justify="right")
    table.add_column("on today's test split", justify="right")
    table.add_column("commit")
    for version in reversed(registry.versions(top)):
        facts = facts_of(top, version)
        is_current = bool(history) and version.name == history[-1].name
        table.add_row(
            version.name,
            registry.STAGE if is_current else "",
            version.date,
            str(facts.get("model", "")),
            _accuracy(facts),
            _accuracy(today.get(facts.get("model_md5"), {})),
            version.commit[:9],
        )
    if not table.row_count:
        print("no version yet; `python -m flows.promote` makes the first")
        return
    Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False).print(table)
