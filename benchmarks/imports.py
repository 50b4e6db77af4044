"""Peak memory and pace of stage generate on a CSV and a Parquet file of five gigabytes: `python -m benchmarks imports`.

python -m benchmarks.imports --compare    # CPU seconds a GB beside scripts with pandas and DuckDB, for docs/performance.md
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks import performance_page
from benchmarks.contest import PEERS_PYTHON
from benchmarks.measuring import Figure, console, table
from benchmarks.peers.importing import FEATURES
from benchmarks.performance_page import Comparison
from benchmarks.resource_usage import usage_of
from rnnflow.params.generate import GenerateParams

REPOSITORY = Path(__file__).resolve().parents[1]
GIGABYTES = 5.0
TARGET_PEAK_GB = 1.5
ROWS_AT_ONCE = 1_000_000
LENGTHS = {"whole": 50, "windows": 100_000}
"""Time steps of a recording: many short ones, and few that are cut into windows."""
NUM_ROUNDS = 3
OURS = "rnnflow, stage generate"
SCRIPTS = {"pandas": "script with pandas", "duckdb": "script with DuckDB"}


def chunks(length: int) -> Iterator[pa.Table]:
    """Yield rows without end, a time step each."""
    rng = np.random.default_rng(0)
    first = 0
    while True:
        rows = np.arange(first, first + ROWS_AT_ONCE)
        recordings = rows // length
        values = {name: rng.standard_normal(ROWS_AT_ONCE).round(6) for name in FEATURES}
        ids = pa.array(recordings).cast(pa.string())
        yield pa.table({"id": ids, "time": rows % length, "label": recordings % 3, **values})
        first += ROWS_AT_ONCE


def write(path: Path, length: int, gigabytes: float) -> int:
    """Write a file of at least so many gigabytes and return its rows."""
    path.parent.mkdir(parents=True)
    writer = None
    num_rows = 0
    for chunk in chunks(length):
        if writer is None:
            kind = pyarrow.csv.CSVWriter if path.suffix == ".csv" else pq.ParquetWriter
            sink = path.open("wb")
            writer = kind(sink, chunk.schema)
        writer.write_table(chunk)
        num_rows += len(chunk)
        if sink.tell() >= gigabytes * 1e9:
            writer.close()
            sink.close()
            return num_rows
    raise AssertionError("rows never end")


def measure(out: Console, gigabytes: float = GIGABYTES) -> list[Figure]:
    """Print what each file took and return the peaks held against the target."""
    results = table(f"Stage generate on {gigabytes:g} GB", "file", "rows", "peak GB", "CPU s a GB")
    figures = []
    for ending in ("csv", "parquet"):
        for form, length in LENGTHS.items():
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                num_rows = write(folder / f"raw/a.{ending}", length, gigabytes)
                usage = usage_of(["stages.generate", *_arguments(folder, form)], folder / "usage.json", REPOSITORY, {})
            peak = usage.peak_bytes / 1e9
            results.add_row(f"{ending}, {form}", f"{num_rows:,}", f"{peak:.2f}", f"{usage.cpu_seconds / gigabytes:.0f}")
            label = f"generate, {gigabytes:g} GB of {ending}, {form}: peak GB"
            figures.append(Figure(label, f"<= {TARGET_PEAK_GB}", f"{peak:.2f}", peak <= TARGET_PEAK_GB))
    out.print(results)
    return figures


def compare(out: Console, gigabytes: float) -> None:
    """Time the stage and the scripts in turn on files of short recordings, and write the page."""
    settings = {}
    for ending in ("csv", "parquet"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = folder / f"raw/a.{ending}"
            write(path, LENGTHS["whole"], gigabytes)
            ours = ["stages.generate", *_arguments(folder, "whole")]
            scripts = {
                title: ["benchmarks.peers.importing", script, str(path), f"{folder}/{script}.parquet"]
                for script, title in SCRIPTS.items()
            }
            rounds = []
            for _ in range(NUM_ROUNDS):
                taken = {OURS: usage_of(ours, folder / "usage.json", REPOSITORY, {}).cpu_seconds}
                for title, script in scripts.items():
                    used = usage_of(script, folder / "usage.json", REPOSITORY, {}, str(PEERS_PYTHON))
                    taken[title] = used.cpu_seconds
                out.print(f"{ending}: {taken}")
                rounds.append(taken)
        settings[f"{ending}, CPU"] = {
            title: np.array([taken[title] for taken in rounds]) / gigabytes for title in rounds[0]
        }
    title = "Files with one row per time step become sequences, seconds a GB"
    performance_page.keep("imports", [Comparison.of("imports", title, "s", OURS, settings)])
    performance_page.write()


def _arguments(folder: Path, form: str) -> list[str]:
    windows = {"length": 200, "stride": 200} if form == "windows" else None
    generate = GenerateParams.model_validate({"source": "files", "windows": windows})
    sections = {"generate": generate.model_dump(), "train": {}, "models": {"rnn": {"cell": "rnn"}}}
    (folder / "params.yaml").write_text(
        json.dumps(sections | {"evaluate": {}, "export": {}, "compare": {}, "report": {}})
    )  # JSON is YAML
    (folder / "reference.json").write_text("{}")
    names = {"params": "params.yaml", "raw": "raw", "reference": "reference.json", "output": "out", "report": "report"}
    return [f"--{option}={folder / name}" for option, name in names.items()]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=GIGABYTES, help="of each file (default %(default)s)")
    parser.add_argument("--compare", action="store_true", help="beside pandas and DuckDB")
    arguments = parser.parse_args(argv)
    (compare if arguments.compare else measure)(console(), arguments.gigabytes)


if __name__ == "__main__":
    main()
