"""What each command does; it imports what it needs, for what another needs takes longer to load than most take to run."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from rnnflow.cli.windows import windows_of
from rnnflow.runtime.errors import REJECTS_STATUS, InputError

if TYPE_CHECKING:
    from rnnflow.serving.quantisation import Limits

TAB = "\t"
MAX_BYTES = 1 << 18
"""Of standard input, read at once: what has arrived until then is answered together."""
PARTS = {
    "id": "names the recording or the sequence",
    "label": "the class",
    "group": "subject, device, machine: kept within one split",
    "time": "of each step, or the start of a sequence",
    "split": "train, validation or test",
    "sequence": "holds all values of a sequence",
}


def predict(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.generation import threads
        from rnnflow.serving.compiled import predictor_for
        from rnnflow.serving.prediction.predict_files import STANDARD_OUTPUT, predict_files
        from rnnflow.serving.prediction.reading import find

    num_bytes = sum(source.path.stat().st_size for source in find(arguments.paths))
    predictor = predictor_for(arguments.model, threads.number(), arguments.engine, num_bytes)
    summing, rejects = arguments.recordings, arguments.rejects
    outcome = predict_files(predictor, arguments.paths, arguments.output, summing, rejects)
    for remark in outcome.remarks:
        print(remark, file=sys.stderr)
    if arguments.output != STANDARD_OUTPUT:
        what = "recordings" if summing else "sequences"
        print(f"{outcome.num_rows:,} {what} predicted by {predictor.engine}, written to {arguments.output}")
    if outcome.num_rejects:
        print(f"{outcome.num_rejects:,} could not be read, see {rejects}", file=sys.stderr)
        sys.exit(REJECTS_STATUS)


def classify(arguments: argparse.Namespace) -> None:
    import numpy as np

    from rnnflow.serving.predictor import Predictor

    predictor = Predictor(arguments.model)
    num_features = len(predictor.features)
    if len(arguments.values) % num_features:
        raise InputError(
            f"{len(arguments.values)} values, expected a multiple of the {num_features} features of the model"
        )
    with _extra():
        from rnnflow.serving.prediction.one_recording import probabilities_of_windows

    found = probabilities_of_windows(predictor, np.array(arguments.values).reshape(-1, num_features))
    probabilities = found.mean(0)
    print(predictor.answers(probabilities[None])[0])
    if len(found) > 1:
        print(f"  mean of {len(found)} windows")
    for name, probability in zip(predictor.classes, probabilities, strict=True):
        print(f"  {name}: {probability:.4f}")


def stream(arguments: argparse.Namespace) -> None:
    if sys.stdin is None:
        raise InputError("standard input is closed, where the lines would come from; pipe them in, or a file")
    from rnnflow.serving.stream_lines import answer_lines
    from rnnflow.serving.streaming import StreamingPredictor

    predictor = StreamingPredictor(arguments.model, arguments.capacity, arguments.idle)
    if arguments.state and os.path.lexists(arguments.state):  # a link that leads nowhere is not the first start
        predictor.restore(arguments.state)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service that is stopped writes its streams, too
    try:
        answer_lines(predictor, partial(os.read, sys.stdin.fileno(), MAX_BYTES), partial(print, end="", flush=True))
    finally:
        if arguments.state:
            predictor.save(arguments.state)


def export_c(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.serving import c_code
        from rnnflow.serving.quantisation import with_rounded_weights

    if arguments.int8:
        with with_rounded_weights(arguments.model, arguments.int8, _limits(arguments)) as (rounded, cost):
            sizes = c_code.write(arguments.model, arguments.folder, rounded)
        print(f"{arguments.model}: weights of 8 bits: {cost}")
    elif (arguments.max_loss, arguments.max_shift) != (None, None):
        raise InputError("--max-loss and --max-shift are of weights in 8 bits; name a validation split by --int8")
    else:
        sizes = c_code.write(arguments.model, arguments.folder)
    print(
        f"{arguments.folder}: {sizes['flash']:,} bytes of constants in flash (the code comes on top), "
        f"{sizes['ram']:,} bytes of RAM for a stream, {sizes['multiply_adds']:,} multiply-adds a step with its answer"
    )


def quantise(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.serving import quantisation

    if arguments.output.exists() and arguments.output.samefile(arguments.model):
        raise InputError(f"{arguments.output}: is the file of 32 bits, which would be lost; name another file to write")
    cost = quantisation.quantise(arguments.model, arguments.output, arguments.validation, _limits(arguments))
    before, after = arguments.model.stat().st_size, arguments.output.stat().st_size
    print(f"{arguments.output}: {before:,} -> {after:,} bytes, {cost}")


def _limits(arguments: argparse.Namespace) -> "Limits":
    """Return what 8 bits may cost; what is not said has its default."""
    from rnnflow.serving.quantisation import Limits

    said = {"accuracy": arguments.max_loss, "shift": arguments.max_shift}
    return Limits(**{name: limit for name, limit in said.items() if limit is not None})


def describe(arguments: argparse.Namespace) -> None:
    from rnnflow.serving.describe import description

    _console().print(description(arguments.model, verified=arguments.verify))


def benchmark(arguments: argparse.Namespace) -> None:
    from rnnflow.serving.benchmark import benchmark as measured

    sizes, threads = arguments.batch_sizes, arguments.threads
    _console().print(measured(arguments.model, sizes, threads, arguments.length, arguments.seconds))


def summary(arguments: argparse.Namespace) -> None:
    from rnnflow.serving.describe import comparison

    _console().print(comparison(arguments.models))
    print("rnnflow describe FILE tells where a model came from, rnnflow predict FILE INPUT OUTPUT uses it.")


def report(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.evaluation.report import from_files

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
        from rnnflow.serving.verify import verify as verified

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
    where = engines.warm_up(TrainParams().engine if arguments.engine is None else arguments.engine)
    print(f"ready after {time.monotonic() - start:.1f} s, kept in {where}" if where else "there is nothing to compile")


def inspect(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.advice import inspection
        from rnnflow.advice.inspection.guess import UserHints

    hints = UserHints(
        {part: None if name == "null" else name for part in PARTS if (name := getattr(arguments, part)) is not None},
        arguments.features,
        TAB if arguments.delimiter == r"\t" else arguments.delimiter,
        arguments.decimal,
        arguments.time_format,
        arguments.time_unit,
    )
    windows = windows_of(arguments.window, arguments.stride)
    params = arguments.params if arguments.write else None
    inspection.inspect(_console(), arguments.paths, hints, windows, arguments.reference, params)


def tune(arguments: argparse.Namespace) -> None:
    with _extra():
        from rnnflow.advice.tuning.tune import tune as tuned

    folders = arguments.train, arguments.validation
    tuned(_console(), arguments.params, *folders, arguments.minutes, arguments.folds, arguments.search)


@contextmanager
def _extra() -> Iterator[None]:
    """Name the extra that is missing: an installation for prediction alone lacks what reads params."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; pip install 'rnnflow[pipeline]'") from None


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let `main` end the command as it does for those that print by themselves."""
        raise BrokenPipeError


def _console() -> Console:
    """Return a console as wide as the terminal, or wide enough for a file. Brackets in names are not markup."""
    return _Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False)
