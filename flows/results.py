"""What the stages have made of data and params, and what that changes: for the commit's message and for Prefect's pages."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rnnflow.runtime import json_text
from rnnflow.runtime.errors import InputError

PROFILE, DRIFT, VERDICT, REPORT = "profile.json", "drift.json", "verdict.json", "report.html"
"""Names of outputs; `dvc.yaml` says where they are and which stage writes them."""
WORDS = {
    "better": "better than",
    "not worse": "not worse than",
    "worse": "worse than",
    "undecided": "neither clearly better nor worse than",
}
MAX_LINES = 20


@dataclass(frozen=True)
class Results:
    """The results in a workspace; what is not there is empty.

    Attributes:
        params: those that DVC has recorded with the results, by their dotted names.
        files: the number of sequences of each source file.
        drift: how new files differ from the reference, beyond the bounds.
        verdict: what stage `compare` says.
        verdict_stage: that stage's name.
        left_out: how many recordings or windows `generate` did not take, by reason.
        report: path of the report for people, if there is one.
    """

    params: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    drift: Sequence[str] = ()
    verdict: Mapping[str, Any] = field(default_factory=dict)
    verdict_stage: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    report: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Results":
        lock = folder / "dvc.lock"
        content = YAML(typ="safe").load(lock.read_text(encoding="utf-8")) if lock.exists() else None
        stages = (content or {}).get("stages", {})
        params = [file for stage in stages.values() for file in stage.get("params", {}).values()]
        outs = {Path(out["path"]).name: (name, out) for name, stage in stages.items() for out in stage.get("outs", [])}
        profile, drift, verdict = (
            _load(folder / outs[name][1]["path"]) if name in outs else {} for name in (PROFILE, DRIFT, VERDICT)
        )
        return cls(
            params=dict(entry for file in params for entry in _flat(file)),
            files=profile.get("files", {}),
            drift=drift.get("differences", []),
            verdict=verdict,
            verdict_stage=outs[VERDICT][0] if VERDICT in outs else "",
            left_out=profile.get("left_out", {}),
            report=outs[REPORT][1]["path"] if REPORT in outs else "",
        )

    def of(self, stages: Collection[str]) -> "Results":
        """Return the results of a run of these stages: the verdict of another run is not about them."""
        return self if self.verdict_stage in stages else replace(self, verdict={})

    def judged(self) -> str:
        """Return the verdict in a few words, or nothing where there is none."""
        if not self.verdict:
            return ""
        name, production = self.verdict["challenger"]["name"], self.verdict["production"]
        if production is None:
            limits = "keeps" if self.verdict["verdict"] == "better" else "does not keep"
            return f"{name} {limits} the limits, nothing is in production yet"
        return f"{name} is {WORDS[self.verdict['verdict']]} {production['name']} in production"

    def reasons(self) -> list[str]:
        """Return what the verdict rests on, and what is to be kept in mind with it."""
        return [*self.verdict.get("reasons", []), *self.verdict.get("remarks", [])]

    def figures(self) -> list[tuple[str, str, str, str]]:
        """Return of challenger and production its role, name, accuracy with interval, and log loss."""
        models = [(role, self.verdict[role]) for role in ("challenger", "production") if self.verdict.get(role)]
        return [
            (
                role,
                model["name"],
                f"{model['accuracy']:.4f} ({model['accuracy_low']:.4f} – {model['accuracy_high']:.4f})",
                f"{model['log_loss']:.4f}",
            )
            for role, model in models
        ]

    def said_left_out(self) -> str:
        """Return what is not among the data in a few words, or nothing where all is."""
        reasons = [f"{count:,} {reason}" for reason, count in self.left_out.items()]
        return f"left out: {', '.join(reasons)}" if reasons else ""


def changes(before: Results, after: Results) -> str:
    """Return what has changed from earlier results to later ones, and how good the models are, for people to read."""
    parts = [_judgement(after), _listed("Data", _data(before.files, after.files))]
    parts.append(_listed("Drift", (line for line in after.drift if line not in before.drift)))
    parts.append(_listed("Params", _params(before.params, after.params)))
    return "\n\n".join(part for part in parts if part)


def _judgement(results: Results) -> str:
    if not results.verdict:
        return ""
    figures = [
        f"{role}: {name}, accuracy {accuracy}, log loss {loss}" for role, name, accuracy, loss in results.figures()
    ]
    return "\n".join([f"{results.judged()}.", *(f"- {reason}" for reason in results.reasons()), "", *figures])


def _data(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None:
            yield f"{name}: new, {new:,} sequences"
        elif new is None:
            yield f"{name}: gone, with {old:,} sequences"
        elif old != new:
            yield f"{name}: {new:,} sequences, were {old:,}"


def _params(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*before, *after} if before else ()):
        if name not in after:
            yield f"{name}: gone"
        elif name not in before:
            yield f"{name}: {after[name]}, new"
        elif before[name] != after[name]:
            yield f"{name}: {after[name]}, was {before[name]}"


def _listed(title: str, lines: Iterator[str]) -> str:
    found = list(lines)
    more = [f"- and {len(found) - MAX_LINES} more"] if len(found) > MAX_LINES else []
    return "\n".join([f"{title}:", *(f"- {line}" for line in found[:MAX_LINES]), *more]) if found else ""


def _flat(params: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in params.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _load(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; nothing where no cache holds it any more, or it is damaged: DVC makes it anew."""
    if not path.exists():
        return {}
    try:
        return json_text.read_sealed(path, "what a stage wrote")
    except InputError:
        return {}
