"""Tables that describe ONNX files: one model in full, or several in one table."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from rnnflow.serving.origin import find_revision, verify_origin
from rnnflow.serving.predictor import Predictor

NUM_LATENCY_RUNS = 300


def comparison(paths: Sequence[Path]) -> Table:
    """Return a line for each model, in the order given; the latency is measured now, on this machine.

    The accuracy on the validation split comes first, since models are chosen by it.
    """
    table = Table("model", title="Results", title_justify="left")
    for heading in (
        "parameters",
        "validation",
        "test",
        "95 % interval",
        "baseline",
        "log loss",
        "ONNX size",
        "one sequence",
    ):
        table.add_column(heading, justify="right")
    table.add_column("file", overflow="fold")
    for path in paths:
        predictor = Predictor(path)
        metrics = predictor.metadata["metrics"]
        table.add_row(
            predictor.metadata["name"],
            f"{predictor.metadata['num_parameters']:,}",
            _accuracy(metrics.get("validation")),
            _accuracy(metrics),
            f"{metrics['accuracy_low']:.4f} – {metrics['accuracy_high']:.4f}",
            f"{metrics['baseline_accuracy']:.4f}",
            f"{metrics['log_loss']:.4f}",
            f"{path.stat().st_size / 1000:.1f} kB",
            f"{latency_microseconds(predictor):.0f} µs",
            str(path),
        )
    return table


def _accuracy(metrics: Mapping[str, Any] | None) -> str:
    return f"{metrics['accuracy']:.4f}" if metrics else "–"


def description(path: Path, *, verified: bool = False) -> Table:
    """Return what a model is, how good it was, and where it came from.

    Args:
        path: an ONNX file.
        verified: also what the repository around the current folder knows of it.

    Raises:
        InputError: the file is damaged, or it is to be verified and that repository has never had it.
    """
    predictor = Predictor(path)
    metadata = predictor.metadata
    shortest, median, longest = metadata["lengths"]
    what = Table(show_header=False, title=f"{path}", title_justify="left")
    what.add_row("name", metadata["name"])
    what.add_row("model", ", ".join(f"{key} {value}" for key, value in metadata["model"].items() if value is not None))
    what.add_row("parameters", f"{metadata['num_parameters']:,}")
    what.add_row("features", ", ".join(predictor.features))
    what.add_row("classes", ", ".join(predictor.classes))
    lengths = f"{shortest} steps" if shortest == longest else f"{shortest} to {longest} steps, median {median}"
    what.add_row("trained on", f"sequences of {lengths}")
    for split, metrics in (
        ("validation split", metadata["metrics"].get("validation", {})),
        ("test split", metadata["metrics"]),
    ):
        figures = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
        if figures:
            what.add_row(split, "\n".join(f"{name} {value:,}" for name, value in sorted(figures.items())))
    if calibration := metadata["calibration"]:
        what.add_row("calibration", "\n".join(_calibration(calibration)))
    if cost := metadata["quantisation"]:
        what.add_row("weights of 8 bits", "\n".join(_cost(cost)))
    what.add_row("md5", "\n".join(f"{name} {value}" for name, value in sorted(metadata["md5"].items())))
    revision = find_revision(metadata["md5"]["weights"], path.resolve().parent)
    what.add_row(
        "revision", revision or "the weights are in no dvc.lock in the history of the repository around the file"
    )
    if verified:
        what.add_row("verified", "\n".join(verify_origin(path, metadata["md5"], Path.cwd())))
    return what


def _calibration(calibration: Mapping[str, Any]) -> list[str]:
    """Return a line for each part; of an early rule without the temperatures, which nobody reads."""
    lines = [f"{name} {value}" for name, value in calibration.items() if value is not None and name != "early"]
    if early := calibration.get("early"):
        looks = ", ".join(map(str, early["steps"]))
        lines.append(
            f"a live stream is decided at a probability of {early['threshold']}, looked at after {looks} steps"
        )
    return lines


def _cost(cost: Mapping[str, Any]) -> list[str]:
    """Return what the validation split says of 32 and of 8 bits."""
    changes = [
        f"{name} {before:.4f} -> {after:.4f}" for name in ("accuracy", "log_loss") for before, after in [cost[name]]
    ]
    return [*changes, f"largest shift of a probability {cost['largest_shift']:.4f}, on the validation split"]


def latency_microseconds(predictor: Predictor) -> float:
    """Return the median time of one sequence of the train split's median length."""
    length = predictor.metadata["lengths"][1]
    sequence = np.zeros((1, length, len(predictor.features)), dtype=np.float32)
    lengths = np.array([length])
    durations = []
    for _ in range(NUM_LATENCY_RUNS):
        start = time.perf_counter()
        predictor.run(sequence, lengths)
        durations.append(time.perf_counter() - start)
    return float(np.median(durations)) * 1e6
