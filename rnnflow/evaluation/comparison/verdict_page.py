"""The verdict as a page for people."""

from collections.abc import Mapping
from typing import Any

FIGURES = {"accuracy": ".4f", "macro_f1": ".4f", "log_loss": ".4f"}
SIZES = ("onnx_bytes", "num_parameters", "multiply_adds")


def markdown(result: Mapping[str, Any]) -> str:
    """Return the verdict, its reasons, and the two models side by side."""
    challenger, production = result["challenger"], result["production"]
    against = f"{production['name']} in production" if production else "nothing in production yet"
    lines = [f"# {challenger['name']}: {result['verdict']}", "", f"Against {against}.", ""]
    lines += [f"- {reason}" for reason in result["reasons"]]
    if result["remarks"]:
        lines += ["", "## To bear in mind", "", *[f"- {remark}" for remark in result["remarks"]]]
    test = result["test"]
    lines += ["", f"## On {test['num_compared']:,} of {test['num_sequences']:,} test sequences", ""]
    lines += _side_by_side(result)
    if result["comparison"]:
        lines += ["", "## By class", "", *_classes(result["comparison"])]
    lines += [
        "",
        "## The choice, on the validation split",
        "",
        "| model | accuracy | log loss |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {row['accuracy']:.4f} | {row['log_loss']:.4f} |" for name, row in result["validation"].items()
    ]
    if result["baselines"]:
        lines += ["", "## Baselines, on the test split", "", "| baseline | accuracy | macro F1 | log loss |"]
        lines += ["| --- | ---: | ---: | ---: |"]
        for name, figures in result["baselines"].items():
            shown = (_cell(figures["test"], figure, form) for figure, form in FIGURES.items())
            lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _side_by_side(result: Mapping[str, Any]) -> list[str]:
    challenger, production, comparison = result["challenger"], result["production"], result["comparison"]
    lines = ["| | challenger | production | difference |", "| --- | ---: | ---: | ---: |"]
    for name, form in FIGURES.items():
        difference = _interval(comparison["differences"][name]) if comparison else ""
        lines.append(
            f"| {_words(name)} | {_cell(challenger, name, form)} | {_cell(production, name, form)} | {difference} |"
        )
    lines += [
        f"| {_words(name)} | {_cell(challenger, name, ',')} | {_cell(production, name, ',')} | |" for name in SIZES
    ]
    if comparison:
        lines += [
            "",
            f"Only the challenger is right: {comparison['challenger_only']:,}; only production: "
            f"{comparison['production_only']:,}; McNemar's exact p: {comparison['p_value']:.2g}.",
        ]
    return lines


def _classes(comparison: Mapping[str, Any]) -> list[str]:
    lines = ["| class | sequences | recall, challenger − production |", "| --- | ---: | ---: |"]
    return lines + [f"| {row['name']} | {row['num_sequences']:,} | {_interval(row)} |" for row in comparison["classes"]]


def _cell(figures: Mapping[str, Any] | None, name: str, form: str) -> str:
    if figures is None or figures[name] is None:
        return ""
    interval = f" ({figures['accuracy_low']:.4f} – {figures['accuracy_high']:.4f})" if name == "accuracy" else ""
    return f"{figures[name]:{form}}{interval}"


def _interval(difference: Mapping[str, Any]) -> str:
    return f"{difference['estimate']:+.4f} ({difference['low']:+.4f} to {difference['high']:+.4f})"


def _words(name: str) -> str:
    return name.replace("_", " ").replace("onnx", "ONNX").replace("f1", "F1")
