"""What people hand to commands and stages by mistake, written down: each kind of wrong file for each file that is asked for."""

import contextlib
import io
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnflow import cli
from rnnflow.params.models import ModelParams
from rnnflow.runtime import json_text
from rnnflow.runtime.atomic_writes import write_json
from rnnflow.runtime.errors import EXIT_STATUS, REJECTS_STATUS
from rnnflow.serving import checksum
from stages import compare, evaluate, export, generate, train
from tests import toys
from tests.faults.flips import streaming_file
from tests.faults.fuzz.targets import PROFILE
from tests.faults.fuzz.trials import ADDRESS_BYTES, SECONDS, Tally, address_bytes
from tests.faults.wrong_files import KINDS

Main = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Command:
    """What a person calls.

    Attributes:
        main: gets the arguments.
        arguments: right ones; one with `@` is a place below the folder of all good files.
        files: those below that folder that are replaced by wrong ones, one at a time.
        wrong: further arguments, each wrong by itself.
    """

    main: Main
    arguments: Sequence[str]
    files: Sequence[str]
    wrong: Sequence[Sequence[str]] = ()


def _options(**files: str) -> list[str]:
    return [part for option, name in files.items() for part in (f"--{option}", name)]


SPLITS = {split: f"@{split}" for split in ("train", "validation", "test")}
COMMANDS: Mapping[str, Command] = {
    "predict": Command(
        cli.main,
        ["predict", "@model.onnx", "@test", "@answers.csv"],
        ["model.onnx", "test"],
        [["--recordings", "median"], ["--engine", "tpu"], ["--rejects"], ["--wrong"]],
    ),
    "classify": Command(
        cli.main, ["classify", "@model.onnx", "1", "2"], ["model.onnx"], [["x"], ["3"], ["1e999"], ["1,5"], [""]]
    ),
    "stream": Command(
        cli.main,
        ["stream", "@model.stream.onnx", "--state", "@streams.npz"],
        ["model.stream.onnx", "streams.npz"],
        [["--capacity", "0"], ["--capacity", "x"], ["--idle", "x"], ["--idle", "-1"], ["--idle", "nan"]],
    ),
    "describe": Command(cli.main, ["describe", "@model.onnx"], ["model.onnx"], [["--verify=1"], ["a", "b"]]),
    "benchmark": Command(
        cli.main,
        ["benchmark", "@model.onnx", "--seconds", "0.01"],
        ["model.onnx"],
        [
            ["--batch-sizes", "0"],
            ["--batch-sizes"],
            ["--threads", "-1"],
            ["--length", "1.5"],
            ["--seconds", "nan"],
            ["--seconds", "-1"],
        ],
    ),
    "summary": Command(cli.main, ["summary", "@model.onnx"], ["model.onnx"]),
    "report": Command(
        cli.main,
        ["report", "@model.onnx", "--data", "@test", "--output", "@page.html"],
        ["model.onnx", "test"],
        [["--data", ""], ["--output", "/"]],
    ),
    "check": Command(cli.main, ["check", "@params.yaml"], ["params.yaml"], [["two"]]),
    "verify": Command(cli.main, ["verify", "@model.onnx"], ["model.onnx"]),
    "warmup": Command(cli.main, ["warmup"], [], [["numbers"], ["../torch"], [""]]),
    "export-c": Command(
        cli.main,
        ["export-c", "@model.onnx", "@c", "--int8", "@validation"],
        ["model.onnx", "validation"],
        [["--max-loss", "x"], ["--max-loss", "nan"], ["--max-shift", "-1"]],
    ),
    "quantise": Command(
        cli.main,
        ["quantise", "@lstm.onnx", "@small.onnx", "@validation"],
        ["lstm.onnx", "validation"],
        [["--max-loss", ""], ["--max-loss", "-1"], ["--max-shift", "nan"]],
    ),
    "tune": Command(
        cli.main,
        ["tune", "--params", "@params.yaml", "--train", "@train", "--validation", "@validation"],
        ["params.yaml", "train", "validation"],
        [["--minutes", "x"], ["--minutes", "nan"], ["--minutes", "-1"], ["--folds", "1"], ["--folds", "1.5"]],
    ),
    "inspect": Command(
        cli.main,
        ["inspect", "@raw.csv", "--reference", "@reference.json"],
        ["raw.csv", "reference.json"],
        [
            ["--label", "nobody"],
            ["--id", ""],
            ["--delimiter", "ab"],
            ["--decimal", ";"],
            ["--window", "x"],
            ["--window", "0"],
            ["--window", "5", "--stride", "-1"],
            ["--stride", "3"],
            ["--time", "x", "--time-format", "%Q"],
            ["--features", "nobody"],
        ],
    ),
    "stage generate": Command(
        generate.main,
        _options(params="@params.yaml", raw="@raw", reference="@reference.json", output="@out", report="@rep"),
        ["params.yaml", "raw", "reference.json"],
    ),
    "stage train": Command(
        train.main,
        [
            "toy",
            *_options(params="@params.yaml", profile="@profile.json", checkpoint="@new.safetensors", log="@log"),
            *_options(train="@train", validation="@validation"),
        ],
        ["params.yaml", "train", "validation", "profile.json"],
    ),
    "stage evaluate": Command(
        evaluate.main,
        toys.evaluate_arguments(Path("@")),
        ["params.yaml", "checkpoint.safetensors", "validation", "test"],
        [["--engine", "tpu"]],
    ),
    "stage export": Command(
        export.main,
        toys.export_arguments(Path("@")),
        ["params.yaml", "checkpoint.safetensors", "metrics.json", "calibration.json"],
    ),
    "stage compare": Command(
        compare.main,
        _options(params="@params.yaml", models="@models", output="@comparison", **SPLITS),
        ["params.yaml", "models", "validation", "test", "models/toy/model.onnx"],
    ),
}


VALID = {("streams.npz", "nothing")}
"""What is no mistake: the first start of a stream."""


def write(folder: Path) -> None:
    """Write one good file of each kind."""
    folder.mkdir()
    classifier = toys.random_classifier(ModelParams(cell="gru", hidden_size=4))
    toys.exported(folder, classifier)
    toys.exported(folder / "lstm", toys.random_classifier(ModelParams(cell="lstm", hidden_size=4)))
    shutil.move(folder / "lstm/model.onnx", folder / "lstm.onnx")
    for split in ("train", "validation", "test"):
        path = folder / split / "part-00000.parquet"
        toys.write_sequences(path, toys.random_sequences([3, 5, 4] * 8), [*toys.CLASSES] * 8, id_prefix=split)
    (folder / "models/toy").mkdir(parents=True)
    shutil.copy(folder / "model.onnx", folder / "models/toy")
    for name in ("profile", "reference"):
        write_json(folder / f"{name}.json", json_text.sealed(PROFILE))
    rows = "".join(f"r{row // 4},{row},{row % 5},{'ab'[row // 4 % 2]}\n" for row in range(24))
    for name in ("raw.csv", "raw/raw.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"id,x,y,label\n{rows}")
    toys.write_params(folder, generate={"source": "files"}, models={"toy": {"cell": "gru", "hidden_size": 4}})
    streaming_file(folder, classifier, checksum.properties((folder / "model.onnx").read_bytes()))


def trials(folder: Path, names: Iterable[str] = COMMANDS) -> Iterator[Tally]:
    """Call each command with each of its files wrong in each way, and with each wrong argument."""
    write(folder)
    with _bounded_memory():
        for name in names:
            tally = Tally(name)
            for what, lost in _outcomes(folder, COMMANDS[name]):
                tally.tries += 1
                tally.refused += lost is None
                tally.losses += [(tally.tries, f"{what}: {lost}")] if lost else []
            yield tally


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    """Let whoever reads a device that has no end fail, and not the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_bytes() + ADDRESS_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _outcomes(folder: Path, command: Command) -> Iterator[tuple[str, str | None]]:
    """Yield each wrong input, and what went wrong with it if it was not refused as it should be."""
    for wrong in command.wrong:
        yield " ".join(wrong), refusal(folder, command, wrong)
    for file in command.files:
        for kind, make in KINDS.items():
            if (file, kind) in VALID:
                continue
            with _replaced(folder / file, make):
                yield f"{file}: {kind}", refusal(folder, command)


@contextlib.contextmanager
def _replaced(path: Path, make: Callable[[Path], object]) -> Iterator[None]:
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        make(path)
        yield
    finally:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
        aside.rename(path)


def refusal(folder: Path, command: Command, more: Sequence[str] = ()) -> str | None:
    """Return nothing if a command ends with one line and the status of a mistake, else what it does."""
    given = [
        str(folder / part[1:].lstrip("/")) if part.startswith("@") else part for part in (*command.arguments, *more)
    ]
    status, said = called(command.main, given)
    if status not in (EXIT_STATUS, REJECTS_STATUS):
        return f"{status}: {said[-200:]!r}"
    return None if said.startswith("error: ") and said.count("\n") == 1 else f"not one line: {said[:300]!r}"


def called(main: Main, arguments: Sequence[str]) -> tuple[object, str]:
    """Return the exit status of a call, or its exception, and what it printed to standard error."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGALRM)}
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    errors = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(errors),
            Path(os.devnull).open() as nothing,
            _standard_input(nothing),
        ):
            main(arguments)
            return 0, errors.getvalue()
    except SystemExit as end:
        return end.code, errors.getvalue()
    except Exception as error:
        return f"{type(error).__name__}: {error}", errors.getvalue()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in handlers.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _standard_input(file: io.TextIOBase) -> Iterator[None]:
    before, sys.stdin = sys.stdin, file
    try:
        yield
    finally:
        sys.stdin = before


def _too_long(*_: object) -> None:
    raise TimeoutError(f"no end after {SECONDS:g} s")
