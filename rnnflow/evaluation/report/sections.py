"""The parts of the page that are drawn: which charts stand in each, and what they say."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from rnnflow.evaluation.report import charts
from rnnflow.evaluation.report.drawing import WIDTH, field, svg
from rnnflow.evaluation.report.results import Results

HEADLINES = "accuracy", "macro_f1", "log_loss"
"""The metrics that the verdict rests on: drawn, and first in the table, which has the others as well."""
MAX_ROWS = 16
"""Of a chart with a row for each class, group or feature."""
MAX_LINES = 8
"""Of each model in a chart with a line for each class."""
TITLES = {
    "aurc": "area under risk–coverage",
    "baseline_accuracy": "accuracy of the most frequent class",
    "brier": "Brier score",
    "calibration_error": "expected calibration error",
    "early_accuracy": "accuracy of early decisions",
    "early_harmonic_mean": "harmonic mean of accuracy and earliness",
    "early_share_seen": "share of a sequence until its decision",
    "macro_f1": "macro F1",
    "onnx_bytes": "ONNX file in bytes",
    "num_parameters": "parameters",
    "multiply_adds": "multiply-adds a sequence",
    "roc_auc": "area under ROC",
}
CURVES = {
    "aurc": "Risk over coverage",
    "average_precision": "Precision over recall",
    "calibration_error": "Reliability",
    "early_answers": "Answers before the end",
    "roc_auc": "ROC",
}
NOTES = {
    "early_answers": "Above, the accuracy of the answers; below, the share of the sequences that are decided before their end."
}

DRAWN_AS_SLICES = {"accuracy_by_length"}


@dataclass(frozen=True)
class Figure:
    """A chart with its title and, where it needs one, a remark; a wide one has a row of its own."""

    title: str
    drawing: Markup
    note: str = ""
    is_wide: bool = False


def figure(title: str, spec: Mapping[str, Any], note: str = "") -> Figure:
    return Figure(title, svg(spec, title), note, spec.get("width", WIDTH) > WIDTH)


def words(name: str) -> str:
    """Return the name of a metric as a title."""
    text = TITLES.get(name, name.replace("_", " "))
    return text[0].upper() + text[1:]


def span(shortest: int, longest: int) -> str:
    """Return lengths in words."""
    return f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"


def side_by_side(results: Results) -> Iterator[Figure]:
    """Yield the metrics that count most, with their intervals."""
    of_all = [row for row in results.rows("tables/intervals") if not row["class"]]
    for metric in HEADLINES:
        rows = [row for row in of_all if row["metric"] == metric and row["estimate"] is not None]
        if metric == "accuracy":
            for name, figures in results.others.items():
                if name == "majority":  # far below all others, it would press them together
                    continue
                low, high = figures["accuracy_low"], figures["accuracy_high"]
                rows.append({"model": name, "estimate": figures["accuracy"], "low": low, "high": high})
        if rows:
            yield figure(words(metric), charts.intervals(rows, results.names))
    yield from _against_production(results)


def _against_production(results: Results) -> Iterator[Figure]:
    """Yield how the challenger differs from production, class by class."""
    comparison = (results.verdict or {}).get("comparison")
    if comparison:
        worst = sorted(comparison["classes"], key=lambda row: row["low"])[:MAX_ROWS]
        rows = [{**row, "model": results.challenger.name, "class": row["name"]} for row in worst]
        spec = charts.intervals(rows, results.names, by="class")
        yield figure("Recall: challenger minus production", spec, "By class; left of zero, production is better.")


def learning(results: Results) -> Iterator[Figure]:
    """Yield the metrics of the epochs."""
    for metric in ("train/loss", "validation/loss", "validation/accuracy"):
        split, name = metric.split("/")
        if rows := [row for row in results.history(metric) if row[name] is not None]:
            is_logarithmic = name == "loss" and all(row["loss"] > 0 for row in rows)
            x = field("step", title="epoch", scale={"nice": False})
            y = field(name, title=None, scale={"type": "log" if is_logarithmic else "linear", "zero": False})
            note = "On a logarithmic scale." if is_logarithmic else ""
            yield figure(f"{words(name)} on the {split} split", charts.lines(rows, results.names, x, y), note)


def confusions(results: Results) -> Iterator[Figure]:
    """Yield the matrices of each model."""
    for model in results.models:
        for table in model.tables("matrices"):
            yield figure(f"{model.name}: {table.partition('/')[2]}", charts.confusion(model.rows(table)))


def curves(results: Results) -> Iterator[Figure]:
    """Yield whatever lines the metrics draw."""
    for table in results.challenger.tables("curves"):
        rows, name = results.rows(table), table.partition("/")[2]
        if name in DRAWN_AS_SLICES:
            continue
        lines, note = {row["line"] for row in rows}, NOTES.get(name, "")
        if lines <= set(results.challenger.predictor.classes):
            shown = _worst_classes(results, name, lines)
            rows = [row for row in rows if row["line"] in shown]
            few = len(shown) < len(lines)
            note = f"The {MAX_LINES} classes of {len(lines)} that are worst." if few else "A line for each class."
        yield figure(CURVES.get(name, words(name)), charts.curves(rows, results.names), note)


def _worst_classes(results: Results, metric: str, classes: AbstractSet[str]) -> Sequence[str]:
    """Return for which of the classes the challenger has the lowest values, all of them if they are few."""
    rows = results.challenger.rows("tables/intervals")
    values = {row["class"]: row["estimate"] for row in rows if row["metric"] == metric and row["class"] in classes}
    return sorted(classes, key=lambda name: (values.get(name) or 0.0, name))[:MAX_LINES]


def slices(results: Results) -> Iterator[Figure]:
    """Yield the accuracy of the slices of each kind: by length, class, time and group."""
    rows = results.rows("tables/slices")
    for kind in dict.fromkeys(row["by"] for row in rows if row["slice"]):
        found = {row["slice"]: row for row in results.challenger.rows("tables/slices") if row["by"] == kind}
        if len(found) < 2:
            continue
        worst = sorted(found, key=lambda name: found[name]["high"])[:MAX_ROWS]
        shown = [name for name in found if name in worst]
        of_kind = [
            {**row, "slice": _start(name) if kind == "time" else name}
            for name in shown
            for row in rows
            if row["by"] == kind and row["slice"] == name
        ]
        note = f"The worst {MAX_ROWS} of {len(found)}." if len(found) > MAX_ROWS else ""
        note = "Of the sequences from that time to the next." if kind == "time" else note
        yield figure(f"Accuracy by {kind}", charts.intervals(of_kind, results.names, by="slice"), note)


def _start(times: str) -> str:
    return times.partition(" to ")[0].replace("T", " ")


def weaknesses(results: Results) -> list[str]:
    """Return the worst slice of each kind, where the challenger is certainly less accurate than on all sequences."""
    rows = results.challenger.rows("tables/slices")
    lines = []
    for kind in dict.fromkeys(row["by"] for row in rows if row["slice"]):
        worst = min((row for row in rows if row["by"] == kind), key=lambda row: row["high"])
        if worst["high"] < results.challenger.metrics["accuracy"]:
            name = worst["slice"].replace("T", " ") if kind == "time" else worst["slice"]
            interval = f"{worst['low']:.4f} – {worst['high']:.4f}"
            lines.append(f"{kind} {name}: {worst['accuracy']:.4f} ({interval}) of {worst['count']:,.0f} right")
    return lines


def data(results: Results) -> Iterator[Figure]:
    """Yield the shares of the classes and the ranges of the features, now and in the reference."""
    profile, reference = results.profile, results.reference
    if profile is None:
        return
    contents = {"now": profile, "reference": reference} if reference else {"now": profile}
    shares = [
        {"kind": kind, "name": name, "share": share}
        for kind, content in contents.items()
        for name, share in content["class_shares"].items()
    ]
    yield figure("Classes of the train split", charts.shares(shares[: 2 * MAX_ROWS]))
    known = [name for name in profile["features"] if name in reference.get("features", {})]
    if known:
        rows = [row for name in known[:MAX_ROWS] for row in _ranges(name, contents)]
        note = "Thin: the range. Thick: the mean ± one standard deviation."
        yield figure("Features of the train split", charts.ranges(rows), note)


def _ranges(name: str, contents: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the range of a feature of each profile, in standard deviations of the reference from its mean."""
    scale = contents["reference"]["features"][name]
    for kind, content in contents.items():
        own = content["features"][name]
        if own["min"] is not None:
            below, above = own["mean"] - own["std"], own["mean"] + own["std"]
            ends = {"min": own["min"], "max": own["max"], "below": below, "above": above}
            scaled = {end: (value - scale["mean"]) / (scale["std"] or 1) for end, value in ends.items()}
            yield {"feature": name, "kind": kind, **scaled}


def metrics(results: Results) -> list[str]:
    """Return the names of all metrics, those that count most first."""
    hidden = {"num_sequences", "accuracy_low", "accuracy_high", "validation"}
    return [*HEADLINES, *(name for name in results.challenger.metrics if name not in hidden.union(HEADLINES))]


def columns(results: Results) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Return name and figures of each model, then of what they have to beat."""
    own = []
    for model in results.models:
        intervals = {row["metric"]: row for row in model.rows("tables/intervals") if not row["class"]}
        ends = {f"{name}_{end}": row[end] for name, row in intervals.items() for end in ("low", "high")}
        sizes = {"num_parameters": model.predictor.metadata["num_parameters"], "onnx_bytes": model.model.stat().st_size}
        own.append((model.name, {**model.metrics, **ends, **sizes}))
    return [*own, *results.others.items()]
