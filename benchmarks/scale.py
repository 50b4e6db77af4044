"""Time and peak memory of the stages and of `rnnflow predict` as the data set grows tenfold."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.measuring import Figure, console, table
from benchmarks.resource_usage import Usage, usage_of
from rnnflow import parquet
from rnnflow.params import EvaluateParams, ExportParams, GenerateParams, ModelParams, NumSequences, Params, TrainParams

REPOSITORY = Path(__file__).resolve().parents[1]
START_UP, SMALL, LARGE = 100, 100_000, 1_000_000
"""Sequences in train and test each; the first measures what a process costs without data."""
NUM_RUNS = {START_UP: 5, SMALL: 5, LARGE: 2}
TARGET_PEAK_GB = 1.5
TARGET_DEVIATION = 0.15
STAGES = ("generate", "train", "evaluate", "export", "predict")
CONSTANT_STAGES = ("export",)
"""They read no sequences."""


def run_stages(num_sequences: int, folder: Path) -> dict[str, Usage]:
    """Run every stage on so many sequences and return what each used."""
    params = Params(
        generate=GenerateParams(num_sequences=NumSequences(train=num_sequences, validation=max(100, num_sequences // 10), test=num_sequences)),
        train=TrainParams(epochs=1),
        models={"rnn": ModelParams(cell="rnn")},
        evaluate=EvaluateParams(),
        export=ExportParams(),
    )  # fmt: skip
    (folder / "raw").mkdir()
    (folder / "params.json").write_text(params.model_dump_json())  # JSON is YAML
    options = [f"--params={folder}/params.json"]
    checkpoint = f"--checkpoint={folder}/checkpoint.safetensors"
    data, model, metrics = folder / "sequences", folder / "model.onnx", folder / "evaluation/metrics.json"
    train = [checkpoint, f"--train={data}/train", f"--validation={data}/validation", f"--log={folder}/training"]
    predicted = [str(model), f"{folder}/test.parquet", f"{folder}/predictions.parquet"]
    commands = {
        "generate": ["stages.generate", *options, f"--raw={folder}/raw", f"--output={data}"],
        "train": ["stages.train", "rnn", *options, *train],
        "evaluate": ["stages.evaluate", *options, checkpoint, f"--test={data}/test", f"--output={folder}/evaluation"],
        "export": [
            "stages.export", *options, checkpoint, f"--metrics={metrics}", f"--model={model}", f"--report={folder}/export.json",
        ],
        "predict": ["rnnflow.cli", "predict", *predicted],
    }  # fmt: skip
    environment = {"RNNFLOW_STATE": str(folder / "state"), "RNNFLOW_DEVICE": "cpu"}
    used = {}
    for stage in STAGES:
        if stage == "predict":
            join(data / "test", folder / "test.parquet")
        used[stage] = usage_of(commands[stage], folder / "usage.json", REPOSITORY, environment)
    return used


def join(split: Path, path: Path) -> None:
    """Write the files of a split as one, which is what `rnnflow predict` takes."""
    parquet.write_table(path, pa.concat_tables([pq.read_table(file) for file in sorted(split.glob("*.parquet"))]))


def measure(out: Console) -> list[Figure]:
    """Print CPU time and peak memory of each stage and return them held against the targets."""
    runs: dict[int, list[dict[str, Usage]]] = {num_sequences: [] for num_sequences in NUM_RUNS}
    for round_ in range(max(NUM_RUNS.values())):
        for num_sequences, num_runs in NUM_RUNS.items():
            if round_ < num_runs:
                with tempfile.TemporaryDirectory() as name:
                    runs[num_sequences].append(run_stages(num_sequences, Path(name)))
    used = table(
        "One epoch, one RNN, length 10: CPU seconds, and what 10 x the sequences cost once start-up is subtracted",
        "stage", "start-up s", f"{SMALL:,} s", f"{LARGE:,} s", "10 x costs", "peak MB, 10 x",
    )  # fmt: skip
    figures = []
    for stage in STAGES:
        # The least of some runs: start-up exceeds what 100,000 sequences cost, and other work only ever adds to it.
        seconds = {number: min(run[stage].cpu_seconds for run in several) for number, several in runs.items()}
        peak = max(run[stage].peak_bytes for run in runs[LARGE]) / 1e9
        growth = (seconds[LARGE] - seconds[START_UP]) / (seconds[SMALL] - seconds[START_UP])
        is_constant = stage in CONSTANT_STAGES
        cells = [f"{seconds[number]:.2f}" for number in (START_UP, SMALL, LARGE)]
        used.add_row(stage, *cells, "–" if is_constant else f"{growth:.1f}", f"{1e3 * peak:.0f}")
        figures.append(Figure(f"{stage}, {LARGE:,} sequences: peak GB", f"<= {TARGET_PEAK_GB}", f"{peak:.2f}", peak <= TARGET_PEAK_GB))  # fmt: skip
        if not is_constant:
            is_linear = abs(growth / 10 - 1) <= TARGET_DEVIATION
            figures.append(
                Figure(f"{stage}: time for 10 x the sequences", "8.5 to 11.5 x", f"{growth:.1f} x", is_linear)
            )
    out.print(used)
    return figures


if __name__ == "__main__":
    measure(console())
