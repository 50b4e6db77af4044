"""Accuracy on fresh test sequences, over several seeds; the test split is predicted once for each fit."""

import argparse
import contextlib
import copy
import io
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from ruamel.yaml import YAML

from benchmarks.examples import Fit
from benchmarks.measuring import Figure, console, table
from rnnflow.classifier.predict_split import log_loss_and_accuracy
from rnnflow.params.whole import Params, parse
from rnnflow.sequences import dataset
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.loop import Training
from stages.generate import generate

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
NUM_SEEDS = 5


@dataclass(frozen=True)
class Setting:
    """A task as changes of `params.yaml`, named as `dvc exp run -S` takes them."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, float] = field(default_factory=dict)
    """Mean accuracy to reach, by model."""


def adding(length: int, **targets: float) -> Setting:
    """Return the adding problem, with the gates' memory spread over the whole sequence."""
    return Setting(
        {
            "generate.source": "adding",
            "generate.length": length,
            "generate.num_sequences.train": 10000,
            "train.epochs": 10,
            "models.lstm.max_dependency": length,
            "models.gru.max_dependency": length,
        },
        targets,
    )


SETTINGS = {
    "sum_sign": Setting({}, {"rnn": 0.965, "lstm": 0.970, "gru": 0.978}),
    "sum_sign_10k": Setting(
        {"generate.num_sequences.train": 10000, "train.epochs": 20}, {"rnn": 0.990, "lstm": 0.990, "gru": 0.990}
    ),
    "digits": Setting(
        {
            "generate.source": "digits",
            "train.epochs": 40,
            "train.jitter": 0.3,
            **{f"models.{model}.bidirectional": True for model in ("rnn", "lstm", "gru")},
        },
        {"rnn": 0.975, "lstm": 0.975, "gru": 0.975},
    ),
    "adding_10": adding(10),
    "adding_100": adding(100, lstm=0.97),
    "adding_500": adding(500, lstm=0.95),
}


def with_overrides(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> Params:
    """Return the params that `content`, the parsed YAML, says once each dotted key is set to its value."""
    changed = copy.deepcopy(dict(content))
    for key, value in overrides.items():
        *sections, name = key.split(".")
        section = changed
        for part in sections:
            section = section[part]
        section[name] = value
    return parse(changed)


def fits(params: Params, models: Sequence[str]) -> dict[str, Fit]:
    """Generate the data, train each of `models` on it and predict the test split."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        generate(params.generate, Path(name) / "raw", Path(name), {}, Path(name) / "report")
        train = dataset.load(Path(name) / "train")
        held_out = [dataset.load(Path(name) / split, train.classes, train.features) for split in ("validation", "test")]
    return {model: _fit(params, model, train, *held_out) for model in models}


def _fit(params: Params, model: str, train: SequenceDataset, validation: SequenceDataset, test: SequenceDataset) -> Fit:
    start = time.process_time()
    training = Training(train, validation, params.model(model), params.train)
    training.run()
    cpu_seconds = time.process_time() - start
    loss, accuracy = log_loss_and_accuracy(test.labels, training.predict(test))
    print(f"  seed {params.train.seed} {model}: {accuracy:.4f}, {cpu_seconds:.0f} s", file=sys.stderr, flush=True)
    return Fit(accuracy, loss, len(training.weights), cpu_seconds)


def measure(
    out: Console,
    names: Sequence[str] = tuple(SETTINGS),
    num_seeds: int = NUM_SEEDS,
    models: Sequence[str] = (),
    params_path: Path = PARAMS,
) -> list[Figure]:
    """Print a line for each setting and model and return the figures with a target; no `models` means all."""
    content = YAML(typ="safe").load(params_path)
    results = table(
        f"Accuracy on the test split, mean ± deviation over {num_seeds} seeds",
        "setting and model", "accuracy", "lowest", "log loss", "parameters", "CPU s a fit", "target",
    )  # fmt: skip
    figures = []
    for name in names:
        print(name, file=sys.stderr)
        overrides, chosen = SETTINGS[name].overrides, models or tuple(content["models"])
        seeds = ({"generate.seed": seed, "train.seed": seed} for seed in range(num_seeds))
        runs = [fits(with_overrides(content, {**overrides, **seed}), chosen) for seed in seeds]
        for model in chosen:
            of_model = [run[model] for run in runs]
            accuracy, target = mean(fit.accuracy for fit in of_model), SETTINGS[name].targets.get(model)
            bound = f">= {target:.3f}" if target else "–"
            results.add_row(f"{name}, {model}", *_cells(of_model), bound)
            if target:
                figures.append(Figure(f"accuracy, {name}, {model}", bound, f"{accuracy:.4f}", accuracy >= target))
    out.print(results)
    return figures


def _cells(runs: Sequence[Fit]) -> list[str]:
    accuracies = [fit.accuracy for fit in runs]
    spread = f" ± {stdev(accuracies):.4f}" if len(runs) > 1 else ""
    return [
        f"{mean(accuracies):.4f}{spread}",
        f"{min(accuracies):.4f}",
        f"{mean(fit.log_loss for fit in runs):.3f}",
        f"{runs[0].num_parameters:,}",
        f"{mean(fit.cpu_seconds for fit in runs):.1f}",
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SETTING", help=f"of {', '.join(SETTINGS)}; all by default")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help="0 and so many following (default %(default)s)")
    parser.add_argument("--models", nargs="+", default=(), help="of params.yaml; all by default")
    parser.add_argument("--params", type=Path, default=PARAMS, help="what the settings change (default params.yaml)")
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.names) - set(SETTINGS)):
        parser.error(f"no setting {unknown[0]!r}, there are {', '.join(SETTINGS)}")
    out = Console(width=120, record=True) if arguments.output else console()
    measure(out, arguments.names or tuple(SETTINGS), arguments.seeds, arguments.models, arguments.params)
    if arguments.output:
        arguments.output.write_text(f"```\n{out.export_text()}```\n", encoding="utf-8")


if __name__ == "__main__":
    main()
