"""The command `rnnflow`: what a person does with params and models outside the stages."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from rnnflow import prediction, results
from rnnflow.errors import InputError, exit_on_input_error
from rnnflow.inference import Predictor


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    with exit_on_input_error():
        try:
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def predict(arguments: argparse.Namespace) -> None:
    num_rows = prediction.predict_file(Predictor(arguments.model), arguments.input, arguments.output)
    if arguments.output != prediction.STANDARD_OUTPUT:
        print(f"{num_rows:,} sequences predicted, written to {arguments.output}")


def classify(arguments: argparse.Namespace) -> None:
    predictor = Predictor(arguments.model)
    num_features = len(predictor.features)
    if len(arguments.values) % num_features:
        raise InputError(
            f"{len(arguments.values)} values, expected a multiple of the {num_features} features of the model"
        )
    sequence = np.array(arguments.values).reshape(-1, num_features)
    (probabilities,) = predictor.probabilities([sequence])
    print(predictor.classes[probabilities.argmax()])
    for name, probability in zip(predictor.classes, probabilities, strict=True):
        print(f"  {name}: {probability:.4f}")


def describe(arguments: argparse.Namespace) -> None:
    _console().print(results.description(arguments.model))


def summary(arguments: argparse.Namespace) -> None:
    _console().print(results.comparison(arguments.models))
    print("rnnflow describe FILE tells where a model came from, rnnflow predict FILE INPUT OUTPUT uses it.")


def check(arguments: argparse.Namespace) -> None:
    try:
        from rnnflow import params
    except ModuleNotFoundError as error:  # a machine for prediction has no need of params
        raise InputError(f"{error.name} is not installed; pip install 'rnnflow[pipeline]'") from None

    settings = params.load(arguments.params)
    if arguments.list_models:
        print(*settings.models, sep="\n")
    else:
        print(f"{arguments.params}: source {settings.generate.source}, models {', '.join(settings.models)}")


def _console() -> Console:
    """The terminal's width decides on a terminal; a file gets lines that are not cut. Brackets in names are no markup."""
    return Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rnnflow", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("predict", help="classify every sequence of a Parquet file")
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument("input", type=Path, metavar="INPUT.parquet")
    command.add_argument("output", metavar="OUTPUT", help="a .parquet or .csv file, or - for CSV on standard output")
    command.set_defaults(run=predict)

    command = commands.add_parser("classify", help="classify one sequence given as numbers")
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument(
        "values", type=float, nargs=argparse.REMAINDER, metavar="VALUE", help="step after step, each feature in order"
    )
    command.set_defaults(run=classify)

    command = commands.add_parser("describe", help="say what a model is and which data, params and code made it")
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.set_defaults(run=describe)

    command = commands.add_parser("summary", help="compare models side by side")
    command.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    command.set_defaults(run=summary)

    command = commands.add_parser("check", help="say whether params.yaml can be used")
    command.add_argument("params", type=Path, nargs="?", default=Path("params.yaml"))
    command.add_argument("--list-models", action="store_true", help="print the names of the models, a line each")
    command.set_defaults(run=check)
    return parser


if __name__ == "__main__":
    main()
