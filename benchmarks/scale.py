"""Peak memory of the stages and of `rnnflow predict` on 1,000,000 sequences, and their time as the data grows tenfold."""

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.measuring import Figure, Quartiles, console, table
from benchmarks.resource_usage import usage_of
from rnnflow import cli, parquet
from rnnflow.params import EvaluateParams, ExportParams, GenerateParams, ModelParams, NumSequences, Params, TrainParams
from stages import evaluate, export, generate, train

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL, LARGE = 100_000, 1_000_000
"""Sequences in train and test each."""
NUM_ROUNDS = 2
TARGET_PEAK_GB = 1.5
TARGET_DEVIATION = 0.15
CONSTANT_STAGES = ("export",)
"""They read no sequences."""
MAINS: Mapping[str, tuple[str, Callable[[Sequence[str]], None]]] = {
    "generate": ("stages.generate", generate.main),
    "train": ("stages.train", train.main),
    "evaluate": ("stages.evaluate", evaluate.main),
    "export": ("stages.export", export.main),
    "predict": ("rnnflow.cli", cli.main),
}


def arguments(num_sequences: int, folder: Path) -> dict[str, list[str]]:
    """Write params for so many sequences to `folder` and return what each stage is called with."""
    counts = NumSequences(train=num_sequences, validation=num_sequences // 10, test=num_sequences)
    params = Params(
        generate=GenerateParams(num_sequences=counts),
        train=TrainParams(epochs=1),
        models={"rnn": ModelParams(cell="rnn")},
        evaluate=EvaluateParams(),
        export=ExportParams(),
    )
    (folder / "raw").mkdir(parents=True)
    (folder / "params.json").write_text(params.model_dump_json())  # JSON is YAML
    (folder / "reference.json").write_text("{}")
    options, reference = [f"--params={folder}/params.json"], f"--reference={folder}/reference.json"
    checkpoint = f"--checkpoint={folder}/checkpoint.safetensors"
    data, model, metrics = folder / "sequences", folder / "model.onnx", folder / "evaluation/metrics.json"
    splits = [f"--train={data}/train", f"--validation={data}/validation"]
    return {
        "generate": [*options, f"--raw={folder}/raw", reference, f"--output={data}", f"--report={folder}/data"],
        "train": ["rnn", *options, checkpoint, *splits, f"--log={folder}/training"],
        "evaluate": [*options, checkpoint, f"--test={data}/test", f"--output={folder}/evaluation"],
        "export": [*options, checkpoint, f"--metrics={metrics}", f"--model={model}", f"--report={folder}/export.json"],
        "predict": ["predict", str(model), f"{folder}/test.parquet", f"{folder}/predictions.parquet"],
    }


def join(split: Path, path: Path) -> None:
    """Write the files of a split as one, which is what `rnnflow predict` takes."""
    parquet.write_table(path, pa.concat_tables([pq.read_table(file) for file in sorted(split.glob("*.parquet"))]))


def peaks(folder: Path) -> dict[str, int]:
    """Run every stage on the large data set, each in a process of its own, and return their peak memory in bytes."""
    found = {}
    for stage, argv in arguments(LARGE, folder).items():
        if stage == "predict":
            join(folder / "sequences/test", folder / "test.parquet")
        found[stage] = usage_of(
            [MAINS[stage][0], *argv], folder / "usage.json", REPOSITORY, dict(os.environ)
        ).peak_bytes
    return found


def microseconds(folder: Path) -> dict[str, dict[int, np.ndarray]]:
    """Run every stage on both sizes in turn in this process, and return the CPU time of a sequence in each round.

    In one process because starting one takes longer than 100,000 sequences do. The first round only warms up.
    """
    argv = {number: arguments(number, folder / str(number)) for number in (SMALL, LARGE)}
    times: dict[str, dict[int, list[float]]] = {stage: {number: [] for number in argv} for stage in MAINS}
    for stage, (_, main) in MAINS.items():
        for number in (SMALL, *[SMALL, LARGE] * NUM_ROUNDS):
            if stage == "predict" and not (folder / f"{number}/test.parquet").exists():
                join(folder / f"{number}/sequences/test", folder / f"{number}/test.parquet")
            start = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                main(argv[number][stage])
            times[stage][number].append(1e6 * (time.process_time() - start) / number)
    return {
        stage: {number: np.array(values[-NUM_ROUNDS:]) for number, values in of.items()} for stage, of in times.items()
    }


def measure(out: Console) -> list[Figure]:
    """Print time and peak memory of each stage and return them held against the targets."""
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"RNNFLOW_STATE": f"{name}/state", "RNNFLOW_DEVICE": "cpu"}
        peak_bytes = peaks(Path(name) / "peaks")
        times = microseconds(Path(name) / "times")
    used = table(
        "One epoch, one RNN, length 10: CPU µs a sequence, and peak memory",
        "stage", f"{SMALL:,} sequences", f"{LARGE:,}", "10 x cost", "peak MB",
    )  # fmt: skip
    figures = []
    for stage, of in times.items():
        small, large = (Quartiles.of(of[number]) for number in (SMALL, LARGE))
        growth = 10 * large.median / small.median
        peak = peak_bytes[stage] / 1e9
        is_constant = stage in CONSTANT_STAGES
        cells = ["–"] * 3 if is_constant else [small.text(2), large.text(2), f"{growth:.1f} x"]
        used.add_row(stage, *cells, f"{1e3 * peak:.0f}")
        figures.append(
            Figure(
                f"{stage}, {LARGE:,} sequences: peak GB", f"<= {TARGET_PEAK_GB}", f"{peak:.2f}", peak <= TARGET_PEAK_GB
            )
        )
        if not is_constant:
            is_linear = abs(growth / 10 - 1) <= TARGET_DEVIATION
            figures.append(
                Figure(f"{stage}: time for 10 x the sequences", "8.5 to 11.5 x", f"{growth:.1f} x", is_linear)
            )
    out.print(used)
    return figures


if __name__ == "__main__":
    measure(console())
