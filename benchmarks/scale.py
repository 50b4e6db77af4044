"""Time of a sequence and peak memory of the stages and of `rnnflow predict`, from 100,000 to 10,000,000 sequences.

python -m benchmarks.scale      # some 25 minutes; writes its part of docs/performance.md, with a plot
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks import performance_page
from benchmarks.measuring import Figure, alternated, command, table
from benchmarks.resource_usage import usage_of
from rnnflow import cli
from rnnflow.params.compare import CompareParams
from rnnflow.params.evaluate import EvaluateParams
from rnnflow.params.export import ExportParams
from rnnflow.params.generate import GenerateParams, NumSequences
from rnnflow.params.models import ModelParams
from rnnflow.params.report import ReportParams
from rnnflow.params.train import TrainParams
from rnnflow.params.whole import Params
from rnnflow.sequences import dataset
from rnnflow.training.loop import Training
from stages import evaluate, export, generate, train

REPOSITORY = Path(__file__).resolve().parents[1]
FEW = 1_000
"""Sequences whose time counts as what a stage costs however many there are."""
SIZES = (100_000, 1_000_000, 10_000_000)
"""Sequences in train and test each."""
NUM_ROUNDS = 3
REPEATS = {FEW: 5, SIZES[0]: 5, SIZES[1]: 1, SIZES[2]: 1}
"""How often each is gone through in a round, of which the mean counts."""
TOUCHED_BYTES = 2 * 10**9
"""Memory used once beforehand: one that a virtual machine has given back is slow to come again."""
MODEL, TRAIN = ModelParams(cell="rnn"), TrainParams(epochs=1)
TARGET_PEAK_GB = 1.5
TARGET_DEVIATION = 0.10
UNTIMED = ("export",)
"""Reads no sequences, but the others need what it writes."""
MAINS: Mapping[str, tuple[str, Callable[[Sequence[str]], None]]] = {
    "generate": ("stages.generate", generate.main),
    "import": ("stages.generate", generate.main),
    "train": ("stages.train", train.main),
    "evaluate": ("stages.evaluate", evaluate.main),
    "export": ("stages.export", export.main),
    "predict": ("rnnflow.cli", cli.main),
}


@dataclass(frozen=True)
class Growth:
    """Of one stage: the time of a sequence at each of `SIZES`, the last against the first in the same round, and the memory."""

    microseconds: list[float]
    growth: float
    peak_gb: float


def arguments(num_sequences: int, folder: Path) -> dict[str, list[str]]:
    """Write params for so many sequences to `folder` and return what each stage is called with."""
    counts = NumSequences(train=num_sequences, validation=num_sequences // 10, test=num_sequences)
    params = Params(
        generate=GenerateParams(num_sequences=counts),
        train=TRAIN,
        models={"rnn": MODEL},
        evaluate=EvaluateParams(),
        export=ExportParams(),
        compare=CompareParams(),
        report=ReportParams(),
    )
    (folder / "raw").mkdir(parents=True)
    (folder / "params.json").write_text(params.model_dump_json())  # JSON is YAML
    imported = params.model_copy(update={"generate": GenerateParams(source="files")})
    (folder / "import.json").write_text(imported.model_dump_json())
    (folder / "reference.json").write_text("{}")
    options, reference = [f"--params={folder}/params.json"], f"--reference={folder}/reference.json"
    checkpoint = f"--checkpoint={folder}/checkpoint.safetensors"
    data, model, metrics = folder / "sequences", folder / "model.onnx", folder / "evaluation/metrics.json"
    calibration = f"--calibration={folder}/evaluation/calibration.json"
    splits = [f"--train={data}/train", f"--validation={data}/validation"]
    return {
        "generate": [*options, f"--raw={folder}/raw", reference, f"--output={data}", f"--report={folder}/data"],
        "import": [
            *(f"--params={folder}/import.json", f"--raw={data}/train", reference),
            *(f"--output={folder}/imported", f"--report={folder}/imported/data"),
        ],
        "train": ["rnn", *options, checkpoint, *splits, f"--log={folder}/training"],
        "evaluate": [
            *options,
            "--engine=numba",
            checkpoint,
            splits[1],
            f"--test={data}/test",
            f"--output={folder}/evaluation",
        ],
        "export": [
            *options,
            checkpoint,
            f"--metrics={metrics}",
            calibration,
            splits[1],
            *(f"--model={model}", f"--streaming={folder}/streaming", f"--int8={folder}/int8"),
            f"--report={folder}/export.json",
        ],
        "predict": ["predict", str(model), f"{folder}/test.parquet", f"{folder}/predictions.parquet"],
    }


def join(split: Path, path: Path) -> None:
    """Write the files of a split as one, which is what `rnnflow predict` takes."""
    files = sorted(split.glob("*.parquet"))
    with pq.ParquetWriter(path, pq.read_schema(files[0]), compression="zstd", use_dictionary=False) as writer:
        for file in files:
            writer.write_table(pq.read_table(file))


def in_process(stage: str, argv: Sequence[str]) -> Callable[[], None]:
    """Return what runs a stage in this process, since starting one takes longer than 100,000 sequences do."""

    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            MAINS[stage][1](argv)

    return work


def epoch(folder: Path) -> Callable[[], object]:
    """Return what goes once through the train split in `folder`, loaded and scaled."""
    split = dataset.load(folder / "sequences/train")
    return Training(split, None, MODEL, TRAIN).train_epoch


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for data and state; one thread works, on the CPU."""
    with tempfile.TemporaryDirectory() as name:
        settings = {"RNNFLOW_STATE": f"{name}/state", "RNNFLOW_DEVICE": "cpu", "RNNFLOW_THREADS": "1"}
        with patch.dict(os.environ, settings):
            yield Path(name)


def _num_sequences(name: str, number: int) -> int:
    """How many it goes through: three splits, one with a tenth; the train split, and a tenth of it to validate; one split."""
    return {"generate": number * 21 // 10, "train": number * 11 // 10}.get(name, number)


def peak_gb(stage: str, argv: Sequence[str], folder: Path) -> float:
    """Run a stage in a process of its own and return its peak memory in GB."""
    return usage_of([MAINS[stage][0], *argv], folder / "usage.json", REPOSITORY, dict(os.environ)).peak_bytes / 1e9


def growth(name: str, works: Mapping[int, Callable[[], object]], peak_gb: float) -> Growth:
    """Time the work on each number of sequences in turn, and compare."""
    np.ones(TOUCHED_BYTES, np.uint8)
    repeated = {str(number): partial(_repeat, work, REPEATS[number]) for number, work in works.items()}
    taken = {int(number): of / REPEATS[int(number)] for number, of in alternated(repeated, NUM_ROUNDS, 1).items()}
    microseconds = [
        1e6 * (taken[size] - taken[FEW]) / (_num_sequences(name, size) - _num_sequences(name, FEW)) for size in SIZES
    ]
    medians = [float(np.median(each)) for each in microseconds]
    return Growth(medians, float(np.median(microseconds[-1] / microseconds[0]) - 1), peak_gb)


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def growths(out: Console) -> Iterator[tuple[str, Growth]]:
    """Yield time and peak memory of each stage that is timed, and of the epoch within `train`."""
    with scratch() as folder:
        folders = {number: folder / str(number) for number in REPEATS}
        argv = {number: arguments(number, of_number) for number, of_number in folders.items()}
        for stage in MAINS:
            if stage == "predict":
                for of_number in folders.values():
                    join(of_number / "sequences/test", of_number / "test.parquet")
            works = {number: in_process(stage, of_number[stage]) for number, of_number in argv.items()}
            if stage in UNTIMED:
                for work in works.values():
                    work()
                continue
            peak = peak_gb(stage, argv[SIZES[-1]][stage], folder)
            yield stage, growth(stage, works, peak)
            if stage == "train":
                yield (
                    "epoch",
                    growth("epoch", {number: epoch(of_number) for number, of_number in folders.items()}, peak),
                )
            out.print(f"{stage}: done")


def measure(out: Console, writes: bool = False) -> list[Figure]:
    """Print time and peak memory of each stage and return them held against the targets."""
    used = table(
        "Length 10, one epoch of an RNN: CPU µs a sequence, peak memory",
        "stage", *(f"{number:,}" for number in SIZES), "growth", f"peak GB, {SIZES[-1]:,}",
    )  # fmt: skip
    figures, stages = [], {}
    for stage, of in growths(out):
        stages[stage] = asdict(of)
        used.add_row(stage, *(f"{value:.2f}" for value in of.microseconds), f"{of.growth:+.0%}", f"{of.peak_gb:.2f}")
        figures += [
            Figure(f"{stage}: peak GB", f"<= {TARGET_PEAK_GB}", f"{of.peak_gb:.2f}", of.peak_gb <= TARGET_PEAK_GB),
            Figure(
                f"{stage}: time of a sequence, {SIZES[-1]:,} against {SIZES[0]:,}",
                f"within ± {TARGET_DEVIATION:.0%}", f"{of.growth:+.0%}", abs(of.growth) <= TARGET_DEVIATION,
            ),
        ]  # fmt: skip
    out.print(used)
    if writes:
        performance_page.keep_growth(SIZES, stages)
        performance_page.write()
        performance_page.draw()
    return figures


if __name__ == "__main__":
    command(measure, writes=True)
