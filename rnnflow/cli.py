"""Look at data, check params and use models, outside the stages."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rnnflow.export.version import VERSION
from rnnflow.runtime.errors import REJECTS_STATUS, InputError, exit_on_input_error
from rnnflow.serving.benchmark import benchmark as measured
from rnnflow.serving.describe import comparison, description
from rnnflow.serving.predictor import Predictor
from rnnflow.serving.verify import verify as verified

TAB = "\t"
_PARTS = {
    "id": "names the recording or the sequence",
    "label": "the class",
    "group": "subject, device, machine: kept within one split",
    "time": "of each step, or the start of a sequence",
    "split": "train, validation or test",
    "sequence": "holds all values of a sequence",
}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    with exit_on_input_error():
        try:
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def predict(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.generation import threads
        from rnnflow.prediction.predict_files import STANDARD_OUTPUT, predict_files

    predictor = Predictor(arguments.model, threads.number())
    summing, rejects = arguments.recordings, arguments.rejects
    outcome = predict_files(predictor, arguments.paths, arguments.output, summing, rejects)
    for remark in outcome.remarks:
        print(remark, file=sys.stderr)
    if arguments.output != STANDARD_OUTPUT:
        what = "recordings" if summing else "sequences"
        print(f"{outcome.num_rows:,} {what} predicted, written to {arguments.output}")
    if outcome.num_rejects:
        print(f"{outcome.num_rejects:,} could not be read, see {rejects}", file=sys.stderr)
        sys.exit(REJECTS_STATUS)


def classify(arguments: argparse.Namespace) -> None:
    predictor = Predictor(arguments.model)
    num_features = len(predictor.features)
    if len(arguments.values) % num_features:
        raise InputError(
            f"{len(arguments.values)} values, expected a multiple of the {num_features} features of the model"
        )
    with _extra():
        from rnnflow.prediction.one_recording import probabilities_of_windows

    found = probabilities_of_windows(predictor, np.array(arguments.values).reshape(-1, num_features))
    probabilities = found.mean(0)
    print(predictor.answers(probabilities[None])[0])
    if len(found) > 1:
        print(f"  mean of {len(found)} windows")
    for name, probability in zip(predictor.classes, probabilities, strict=True):
        print(f"  {name}: {probability:.4f}")


def describe(arguments: argparse.Namespace) -> None:
    _console().print(description(arguments.model))


def benchmark(arguments: argparse.Namespace) -> None:
    sizes, threads = arguments.batch_sizes, arguments.threads
    _console().print(measured(arguments.model, sizes, threads, arguments.length, arguments.seconds))


def summary(arguments: argparse.Namespace) -> None:
    _console().print(comparison(arguments.models))
    print("rnnflow describe FILE tells where a model came from, rnnflow predict FILE INPUT OUTPUT uses it.")


def report(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.report import from_files

    from_files.write(arguments.models, arguments.data, arguments.output)
    print(f"{arguments.output}: open it in any browser")


def check(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.params import whole

    settings = whole.load(arguments.params)
    if arguments.list_models:
        print(*settings.models, sep="\n")
    else:
        print(f"{arguments.params}: source {settings.generate.source}, models {', '.join(settings.models)}")


def verify(arguments: argparse.Namespace) -> None:
    with _extra():
        checked = list(verified(arguments.paths))
    faults = [fault for _, fault in checked if fault]
    for fault in faults[:-1]:
        print(f"error: {fault}", file=sys.stderr)
    if faults:
        raise InputError(faults[-1])
    print(f"{len(checked):,} files are as they were written")


def warmup(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow import engines
        from rnnflow.params.train import TrainParams
    start = time.monotonic()
    where = engines.warm_up(arguments.engine or TrainParams().engine)
    print(f"ready after {time.monotonic() - start:.1f} s, kept in {where}" if where else "there is nothing to compile")


def inspect(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow import inspection
        from rnnflow.inspection.guess import UserHints

    hints = UserHints(
        {part: None if name == "null" else name for part in _PARTS if (name := getattr(arguments, part))},
        arguments.features,
        TAB if arguments.delimiter == r"\t" else arguments.delimiter,
        arguments.decimal,
        arguments.time_format,
    )
    windows = inspection.windows_of(arguments.window, arguments.stride)
    params = arguments.params if arguments.write else None
    inspection.inspect(_console(), arguments.paths, hints, windows, arguments.reference, params)


def tune(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.tuning.tune import tune as tuned

    tuned(_console(), arguments.params, arguments.train, arguments.validation, arguments.minutes, arguments.folds)


@contextmanager
def _extra() -> Iterator[None]:
    """Name the extra that is missing: an installation for prediction alone lacks what reads params."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; pip install 'rnnflow[pipeline]'") from None


def _console() -> Console:
    """Return a console as wide as the terminal, or wide enough for a file. Brackets in names are not markup."""
    return Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rnnflow", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "predict",
        help="classify every sequence of files, as the model was trained to read them",
        description="Read files in the layout that the model was trained on, as stage generate would; labels are not needed. "
        "Recordings are cut into windows as in training. Parquet files of a data set are taken as they are. The exit status is "
        "3 if files or sequences were left out and written to FILE, 2 if nothing was predicted.",
    )
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="a file or a folder")
    command.add_argument("output", metavar="OUTPUT", help="a .parquet or .csv file, or - for CSV on standard output")
    command.add_argument(
        "--recordings",
        choices=["mean", "vote", "max"],
        help="one answer a recording: the mean of its windows' probabilities, their votes, or the largest of each class",
    )
    command.add_argument(
        "--rejects", type=Path, metavar="FILE", help="go on without what cannot be read, and list it here"
    )
    command.set_defaults(run=predict)

    command = commands.add_parser("classify", help="classify one sequence given as numbers")
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument(
        "values", type=float, nargs=argparse.REMAINDER, metavar="VALUE", help="step after step, each feature in order"
    )
    command.set_defaults(run=classify)

    command = commands.add_parser("describe", help="show what a model is and which data, params and code made it")
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.set_defaults(run=describe)

    command = commands.add_parser(
        "benchmark",
        help="measure latency and throughput of a model on this machine",
        description="Give a model random sequences in batches of several sizes, with several numbers of threads.",
    )
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument("--batch-sizes", type=_count, nargs="+", default=[1, 32, 1024], metavar="SIZE")
    command.add_argument("--threads", type=_count, nargs="+", default=[1, os.cpu_count() or 1], metavar="NUMBER")
    command.add_argument("--length", type=_count, metavar="STEPS", help="default: the median of the train split")
    command.add_argument("--seconds", type=float, default=0.5, help="for each line (default: %(default)s)")
    command.set_defaults(run=benchmark)

    command = commands.add_parser("summary", help="compare models in one table")
    command.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    command.set_defaults(run=summary)

    command = commands.add_parser("report", help="show models on labelled sequences, as a page for people")
    command.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    command.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="of a split: Parquet files with labels"
    )
    command.add_argument(
        "--output", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    command.set_defaults(run=report)

    command = commands.add_parser("check", help="check params.yaml")
    command.add_argument("params", type=Path, nargs="?", default=Path("params.yaml"))
    command.add_argument("--list-models", action="store_true", help="print the names of the models, one per line")
    command.set_defaults(run=check)

    command = commands.add_parser(
        "verify",
        help="check models, checkpoints and sequences against the checksums that they carry",
        description="Read every .onnx, .safetensors and .parquet file named, or below the folders named, and compare it with the "
        "checksums that it carries. The exit status is 2 if one is damaged.",
    )
    command.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="a file or a folder")
    command.set_defaults(run=verify)

    command = commands.add_parser(
        "warmup",
        help="compile the training engine in advance, for example in an image",
        description="Compile what training needs and keep it in RNNFLOW_CACHE (default: ~/.cache/rnnflow), where every clone with the "
        "same source finds it. Otherwise the first training compiles.",
    )
    command.add_argument(
        "engine", nargs="?", metavar="ENGINE", help="default: the one that params.yaml uses by default"
    )
    command.set_defaults(run=warmup)

    _add_tune(commands)
    _add_inspect(commands)
    return parser


def _add_tune(commands: Any) -> None:
    command = commands.add_parser(
        "tune",
        help="choose a model and a recipe by cross-validation, and write them into params.yaml",
        description="Try a few models on the splits train and validation of the data set, by cross-validation: folds keep groups "
        "together, or hold out what came later, where the split does. The test split is not read. The most accurate one and its "
        "recipe replace sections models and train of params.yaml. Killed and started again, it goes on where it was.",
    )
    command.add_argument("--minutes", type=float, default=10.0, help="of CPU time, for this run (default: 10)")
    command.add_argument("--folds", type=int, default=3, help="default: 3")
    command.add_argument("--params", type=Path, default=Path("params.yaml"))
    command.add_argument("--train", type=Path, default=Path("data/sequences/train"), metavar="FOLDER")
    command.add_argument("--validation", type=Path, default=Path("data/sequences/validation"), metavar="FOLDER")
    command.set_defaults(run=tune)


def _add_inspect(commands: Any) -> None:
    command = commands.add_parser(
        "inspect",
        help="preview how files will be read, and print the params for them",
        description="Read recordings in Parquet, CSV, .npz, .ts or .arff as stage generate would: guess the role of each column, "
        "list problems, and print the section of params.yaml that describes the files. The exit status is 0 if stage "
        "generate would accept them, otherwise 2.",
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="a file, a folder, or a glob in quotes")
    parts = command.add_argument_group(
        "roles of columns",
        "COLUMN may also be `path`, `path[-1]` (the file name) or `path[-2]` (the folder name); `null` turns a group, time or "
        "split off.",
    )
    for part, what in _PARTS.items():
        parts.add_argument(f"--{part}", metavar="COLUMN", help=what)
    parts.add_argument(
        "--features", nargs="+", metavar="NAME", help="numeric columns, or names for the features in --sequence"
    )
    parts.add_argument("--delimiter", metavar="CHARACTER", help=r"of CSV files; \t is a tab")
    parts.add_argument("--decimal", choices=[".", ","], help="decimal separator of CSV files")
    parts.add_argument("--time-format", metavar="FORMAT", help="of times, such as '%%d.%%m.%%Y %%H:%%M:%%S'")
    command.add_argument(
        "--window", metavar="LENGTH", help="cut recordings into windows of so many steps (100) or seconds (2.5s)"
    )
    command.add_argument(
        "--stride", metavar="STRIDE", help="distance between the starts of windows (default: half of LENGTH)"
    )
    command.add_argument(
        "--reference",
        type=Path,
        metavar="PROFILE.json",
        help="compare with a profile such as reports/data/profile.json",
    )
    command.add_argument(
        "--write", action="store_true", help="put the section into params.yaml, with a model and a recipe for such data"
    )
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="what --write changes")
    command.set_defaults(run=inspect)


if __name__ == "__main__":
    main()
