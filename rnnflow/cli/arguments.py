"""The commands, and the arguments that each takes."""

import argparse
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from rnnflow.cli import commands as run
from rnnflow.cli.commands import PARTS
from rnnflow.export.version import VERSION
from rnnflow.runtime.errors import InputError


class _Parser(argparse.ArgumentParser):
    """Says a mistake in one line, as the commands do."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help says what it takes")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _amount(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"expected a number from 0 on, got {text!r}")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = _Parser(prog="rnnflow", description=description)
    made.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")

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
        "--engine",
        choices=["auto", "onnxruntime", "numba"],
        default="auto",
        help="what computes; auto: numba for files of 2 MB or more, where it can and has been compiled, else onnxruntime; "
        "their probabilities differ by up to 1e-5",
    )
    command.add_argument(
        "--rejects", type=Path, metavar="FILE", help="go on without what cannot be read, and list it here"
    )
    command.set_defaults(run=run.predict)

    command = commands.add_parser("classify", help="classify one sequence given as numbers")
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument(
        "values",
        type=float,
        nargs=argparse.REMAINDER,
        metavar="VALUE",
        help="all features of the first step, then of the second, …",
    )
    command.set_defaults(run=run.classify)

    command = commands.add_parser(
        "stream",
        help="classify live streams from standard input, step by step",
        description='Read lines such as {"stream": "a", "steps": [[0.5, 1.2], [0.4, 1.1]]}, or CSV with the columns stream and the '
        "features, and answer each line as it arrives, from all steps of its stream so far. A line may have a `time`, which may "
        "not go backwards within a stream, and `end`: true ends the stream. Lines that arrive together are answered in one batch. "
        "If the model has a rule for deciding early, each answer has the class that its stream is decided for, once it is.",
    )
    command.add_argument("model", type=Path, metavar="MODEL.stream.onnx")
    command.add_argument(
        "--capacity",
        type=_count,
        default=100_000,
        metavar="NUMBER",
        help="most streams open at once (default: %(default)s)",
    )
    command.add_argument(
        "--idle", type=_amount, metavar="SECONDS", help="close a stream that gets no steps for so long (default: never)"
    )
    command.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="go on with the streams in this file, if there is one, and write the open streams to it at the end",
    )
    command.set_defaults(run=run.stream)

    command = commands.add_parser("describe", help="show what a model is and which data, params and code made it")
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument(
        "--verify",
        action="store_true",
        help="also show its hashes, commit and versions; exit status 2 if the repository around the current folder never had it",
    )
    command.set_defaults(run=run.describe)

    command = commands.add_parser(
        "benchmark",
        help="measure latency and throughput of a model on this machine",
        description="Give a model random sequences in batches of several sizes, with several numbers of threads.",
    )
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument("--batch-sizes", type=_count, nargs="+", default=[1, 32, 1024], metavar="SIZE")
    command.add_argument("--threads", type=_count, nargs="+", default=[1, os.cpu_count() or 1], metavar="NUMBER")
    command.add_argument("--length", type=_count, metavar="STEPS", help="default: the median of the train split")
    command.add_argument("--seconds", type=_amount, default=0.5, help="for each line (default: %(default)s)")
    command.set_defaults(run=run.benchmark)

    command = commands.add_parser("summary", help="compare models in one table")
    command.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    command.set_defaults(run=run.summary)

    command = commands.add_parser("report", help="write an HTML report on models and labelled sequences")
    command.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    command.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="of a split: Parquet files with labels"
    )
    command.add_argument(
        "--output", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    command.set_defaults(run=run.report)

    command = commands.add_parser("check", help="check params.yaml")
    command.add_argument("params", type=Path, nargs="?", default=Path("params.yaml"))
    command.add_argument("--list-models", action="store_true", help="print the names of the models, one per line")
    command.set_defaults(run=run.check)

    command = commands.add_parser(
        "verify",
        help="check models, checkpoints and sequences against the checksums that they carry",
        description="Read every .onnx, .safetensors and .parquet file named, or below the folders named, and compare it with the "
        "checksums that it carries. The exit status is 2 if one is damaged.",
    )
    command.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="a file or a folder")
    command.set_defaults(run=run.verify)

    command = commands.add_parser(
        "warmup",
        help="compile the training engine in advance, for example in an image",
        description="Compile what training needs and keep it in RNNFLOW_CACHE (default: ~/.cache/rnnflow), where every clone with the "
        "same source finds it. Otherwise the first training compiles.",
    )
    command.add_argument(
        "engine", nargs="?", metavar="ENGINE", help="default: the one that params.yaml uses by default"
    )
    command.set_defaults(run=run.warmup)

    command = commands.add_parser(
        "export-c",
        help="write a model as C99 for a microcontroller",
        description="Write a header, a source file without malloc, and a test program with golden vectors. The classifier answers "
        "about whole sequences and step by step.",
    )
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument("folder", type=Path, metavar="OUTDIR")
    command.add_argument(
        "--int8",
        type=Path,
        metavar="VALIDATION",
        help="store the weights in 8 bits, if that does not cost too much on this split, such as data/sequences/validation",
    )
    _add_limits(command)
    command.set_defaults(run=run.export_c)

    command = commands.add_parser(
        "quantise",
        help="write an LSTM with weights of 8 bits",
        description="Write an ONNX file of an LSTM that onnxruntime computes with 8 bits, if that does not cost too much on the "
        "validation split. onnxruntime has no such operator for the other cells.",
    )
    command.add_argument("model", type=Path, metavar="MODEL.onnx")
    command.add_argument("output", type=Path, metavar="OUTPUT.onnx")
    command.add_argument(
        "validation", type=Path, metavar="VALIDATION", help="the split, such as data/sequences/validation"
    )
    _add_limits(command)
    command.set_defaults(run=run.quantise)

    _add_tune(commands)
    _add_inspect(commands)
    return made


def _add_limits(command: argparse.ArgumentParser) -> None:
    command.add_argument("--max-loss", type=_amount, help="most accuracy that 8 bits may cost (default: 0.01)")
    command.add_argument("--max-shift", type=_amount, help="most that 8 bits may shift a probability by (default: 0.2)")


def _add_tune(commands: Any) -> None:
    command = commands.add_parser(
        "tune",
        help="choose a model and a recipe by cross-validation, and write them into params.yaml",
        description="Try a few models on the splits train and validation of the data set, by cross-validation; folds keep groups "
        "together or respect time, as the split does. The test split is not read. The best one and its "
        "recipe replace sections models and train of params.yaml. Killed and started again, it goes on where it was.",
    )
    command.add_argument("--minutes", type=_amount, default=10.0, help="of CPU time, for this run (default: 10)")
    command.add_argument("--folds", type=int, default=3, help="default: 3")
    command.add_argument(
        "--search",
        type=Path,
        nargs="?",
        const=Path("reports/tuning.svg"),
        metavar="CHART.svg",
        help="go on from the best model with Optuna until the time is used up, and draw all trials (default: %(const)s)",
    )
    command.add_argument("--params", type=Path, default=Path("params.yaml"))
    command.add_argument("--train", type=Path, default=Path("data/sequences/train"), metavar="FOLDER")
    command.add_argument("--validation", type=Path, default=Path("data/sequences/validation"), metavar="FOLDER")
    command.set_defaults(run=run.tune)


def _add_inspect(commands: Any) -> None:
    command = commands.add_parser(
        "inspect",
        help="preview how files will be read, and print the params for them",
        description="Read recordings (CSV, TSV, Parquet, JSON lines, .npz, .npy, .ts or .arff) as stage generate would: guess "
        "the role of each column, list problems, and print the section of params.yaml that describes the files. The exit status is 0 if stage "
        "generate would accept them, otherwise 2.",
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="a file, a folder, or a glob in quotes")
    parts = command.add_argument_group(
        "roles of columns",
        "COLUMN may also be `path`, `path[-1]` (the file name) or `path[-2]` (the folder name); `null` turns a group, time or "
        "split off.",
    )
    for part, what in PARTS.items():
        parts.add_argument(f"--{part}", metavar="COLUMN", help=what)
    parts.add_argument(
        "--features", nargs="+", metavar="NAME", help="numeric columns, or names for the features in --sequence"
    )
    parts.add_argument("--delimiter", metavar="CHARACTER", help=r"of CSV files; \t is a tab")
    parts.add_argument("--decimal", choices=[".", ","], help="decimal separator of CSV files")
    parts.add_argument("--time-unit", choices=["s", "ms", "us", "ns"], help="of times that are numbers")
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
    command.set_defaults(run=run.inspect)
