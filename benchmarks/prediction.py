"""`rnnflow predict` as a whole command, Parquet to Parquet, against the scripts that a person would write.

`pandas` reads with pandas, stacks with numpy and runs eager PyTorch on batches; `threads` reads with pyarrow and runs the
ONNX file in chunks from two threads. Both write what `rnnflow predict` writes.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks import performance_page
from benchmarks.measuring import Figure, Quartiles, command, table
from benchmarks.performance_page import Comparison
from rnnflow.params.models import Cell

SHAPES = {"200,000 × 10": (200_000, 10), "100,000 × 100": (100_000, 100)}
CELL: Cell = "gru"
NUM_ROUNDS = 3
BATCH_SIZES = {10: 4096, 100: 1024}
"""Of eager PyTorch: the fastest of 256, 1,024, 4,096 and 16,384."""
CHUNK_SIZES = {10: 1024, 100: 256}
"""Of the script with threads: the fastest of 64, 256, 1,024 and 4,096."""
NAMES = {
    "ours": "rnnflow, numba",
    "onnxruntime": "rnnflow, onnxruntime",
    "pandas": "script with pandas and eager PyTorch",
    "threads": "script with pyarrow and onnxruntime in two threads",
}
TARGETS = {"pandas": 2.0, "threads": 1.0}


def by_pandas(folder: Path, length: int) -> None:
    import pandas as pd
    import torch

    from rnnflow.classifier.model import load

    model, _ = load(folder / "checkpoint.safetensors")
    frame = pd.read_parquet(folder / "input.parquet")
    values = np.stack(frame["sequence"].to_list()).reshape(len(frame), length, 1)
    size = BATCH_SIZES[length]
    with torch.inference_mode():
        parts = [model(values[start : start + size], None).softmax(1) for start in range(0, len(values), size)]
    _frame(frame["id"], torch.cat(parts).numpy()).to_parquet(folder / "pandas.parquet")


def by_threads(folder: Path, length: int) -> None:
    import onnxruntime
    import pyarrow as pa
    import pyarrow.parquet as pq

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    read = pq.read_table(folder / "input.parquet", columns=["id", "sequence"])
    values = read["sequence"].combine_chunks().flatten().to_numpy().reshape(-1, length, 1)
    size = CHUNK_SIZES[length]

    def answer(start: int) -> np.ndarray:
        chunk = values[start : start + size]
        (found,) = session.run(None, {"sequence": chunk, "lengths": np.full(len(chunk), length, np.int64)})
        return found

    with ThreadPoolExecutor(2) as pool:
        probabilities = np.concatenate(list(pool.map(answer, range(0, len(values), size))))
    predictions = np.array(["down", "up"])[probabilities.argmax(1)]
    columns = {"id": read["id"], "prediction": pa.array(predictions.tolist())}
    columns |= {f"probability_{name}": pa.array(probabilities[:, index]) for index, name in enumerate(("down", "up"))}
    pq.write_table(pa.table(columns), folder / "threads.parquet")


def _frame(ids: Any, probabilities: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {
            "id": ids,
            "prediction": np.array(["down", "up"])[probabilities.argmax(1)],
            "probability_down": probabilities[:, 0],
            "probability_up": probabilities[:, 1],
        }
    )


def prepare(folder: Path, num_rows: int, length: int) -> None:
    """Write a model and sequences of noise."""
    import pyarrow as pa

    from rnnflow.params.models import ModelParams
    from rnnflow.sequences import parquet
    from tests import toys

    model = toys.random_classifier(ModelParams(cell=CELL), 1, 2)
    toys.exported(folder, model, ("down", "up"), ("value",), recipe={})
    values = np.random.default_rng(0).standard_normal((num_rows * length, 1), dtype=np.float32)
    ids = pa.array([f"sequence-{row:06d}" for row in range(num_rows)])
    column = parquet.sequence_column(values, np.arange(num_rows + 1, dtype=np.int64) * length)
    schema = parquet.schema(["value"])
    parquet.write_table(
        folder / "input.parquet",
        pa.table([ids, column], schema=schema.remove(schema.get_field_index("label"))),
    )


def seconds_of(command: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of a process."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def measure(out: Console, writes: bool = False) -> list[Figure]:
    """Print wall and CPU seconds of each, and how many times the scripts take longer; `writes`: on the page as well."""
    figures, settings = [], {}
    result = table(
        f"predict, whole command, {CELL}", "sequences", "what", "wall s", "CPU s", "wall / ours", "CPU / ours"
    )
    for name, (num_rows, length) in SHAPES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            prepare(folder, num_rows, length)
            script = ["-m", "benchmarks.prediction", str(folder), str(length)]
            files = [str(folder / file) for file in ("model.onnx", "input.parquet", "ours.parquet")]
            commands = {
                "ours": ["-m", "rnnflow.cli", "predict", *files],  # by engine numba, as files of this size are
                "onnxruntime": ["-m", "rnnflow.cli", "predict", "--engine", "onnxruntime", *files],
                "pandas": [*script, "pandas"],
                "threads": [*script, "threads"],
            }
            rounds = [{what: seconds_of(command) for what, command in commands.items()} for _ in range(NUM_ROUNDS)]
        taken = {what: np.array([entry[what] for entry in rounds]) for what in commands}
        for index, kind in enumerate(("wall", "CPU")):
            settings[f"{name}, {kind}"] = {NAMES[what]: seconds[:, index] for what, seconds in taken.items()}
        for what, seconds in taken.items():
            ratios = [Quartiles.of(column) for column in (seconds / taken["ours"]).T]
            wall, cpu = (Quartiles.of(column) for column in seconds.T)
            result.add_row(name, what, wall.text(1), cpu.text(1), ratios[0].text(2), ratios[1].text(2))
            if what in TARGETS:
                figure = f"predict {name}: wall of {what} / ours"
                median = ratios[0].median
                figures.append(Figure(figure, f">= {TARGETS[what]:.1f}", f"{median:.2f}", median >= TARGETS[what]))
    out.print(result)
    if writes:
        title = f"rnnflow predict, Parquet to Parquet, {CELL} of hidden size 32"
        performance_page.keep("predict", [Comparison.of("predict", title, "s", NAMES["ours"], settings)])
        performance_page.write()
    return figures


if __name__ == "__main__":
    if len(sys.argv) == 4:  # one contestant, in a process of its own
        {"pandas": by_pandas, "threads": by_threads}[sys.argv[3]](Path(sys.argv[1]), int(sys.argv[2]))
    else:
        command(measure, writes=True)
