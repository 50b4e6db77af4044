"""What was measured, by `benchmarks.performance` most of it, kept in docs/performance.json, and the page made of it."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.contest import ENVIRONMENT, MAX_ROUNDS, MIN_ROUNDS, PEERS_PYTHON, REPOSITORY
from benchmarks.measuring import Quartiles
from benchmarks.peers.workloads import WORKLOADS
from rnnflow.runtime.atomic_writes import atomic_write

PAGE = REPOSITORY / "docs/performance.md"
RESULTS = REPOSITORY / "docs/performance.json"
BUSY = 1.5
"""Processes at work on average over five minutes, from where on something else than a benchmark is among them."""
OUR_PACKAGES = ("torch", "numba", "onnxruntime", "pyarrow", "numpy")
PEERS_PACKAGES = ("torch", "lightning", "skorch", "keras", "jax", "datasets", "pandas", "duckdb", "onnxscript")


@dataclass(frozen=True)
class Comparison:
    """The same work done by us and by peers, in several settings."""

    name: str
    title: str
    unit: str
    ours: str
    """Which contestant the others are held against."""
    settings: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    """By setting and contestant: quartiles of its times, and of its time over ours in the same round."""

    @classmethod
    def of(cls, name: str, title: str, unit: str, ours: str, settings: Mapping[str, Mapping[str, np.ndarray]]) -> Self:
        """Return the comparison of times, by setting and contestant, a value a round."""
        found = {
            setting: {
                contestant: {"time": _quartiles(times), "ratio": _quartiles(times / of_setting[ours])}
                for contestant, times in of_setting.items()
            }
            for setting, of_setting in settings.items()
        }
        return cls(name, title, unit, ours, found)

    @property
    def contestants(self) -> list[str]:
        return list(next(iter(self.settings.values())))

    def time(self, setting: str, contestant: str) -> Quartiles:
        return Quartiles(*self.settings[setting][contestant]["time"])

    def ratio(self, setting: str, contestant: str) -> Quartiles:
        return Quartiles(*self.settings[setting][contestant]["ratio"])


def _quartiles(values: np.ndarray) -> tuple[float, ...]:
    """Return lower, median and upper with four significant digits."""
    return tuple(float(f"{value:.4g}") for value in np.quantile(values, (0.25, 0.5, 0.75)))


def number(value: float) -> str:
    """Return three significant digits, or more before the point."""
    decimals = max(0, 2 - math.floor(math.log10(value))) if value else 0
    return f"{value:,.{decimals}f}"


def keep(section: str, comparisons: Sequence[Comparison]) -> None:
    """Replace what is known of a section."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    known[section] = {"machine": machine(), "comparisons": [asdict(comparison) for comparison in comparisons]}
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def keep_growth(sizes: Sequence[int], stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace what is known of time and memory as the data grows."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    known["scale"] = {"machine": machine(), "comparisons": [], "sizes": sizes, "stages": stages}
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def keep_seconds(rows: Sequence[tuple[str, float, float | None]], said: str) -> None:
    """Replace what is known of where the seconds of a run go."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    known["stages"] = {"machine": machine(), "comparisons": [], "rows": rows, "said": said}
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def draw() -> None:
    """Draw the plots."""
    subprocess.run(
        [str(PEERS_PYTHON), "-m", "benchmarks.peers.plots", str(RESULTS)],
        cwd=REPOSITORY, env=os.environ | ENVIRONMENT, check=True,
    )  # fmt: skip


def machine() -> str:
    """Return the processor and the versions of what ran on it."""
    system = f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    load = os.getloadavg()[1]
    shared = f"; shared with other work (load {load:.0f})" if load > BUSY else ""
    return f"{system}{shared}; {_versions(OUR_PACKAGES, sys.path)}; peers: {_versions(PEERS_PACKAGES, _peers_path())}"


def has_avx512() -> bool:
    """Return whether the processor has vectors of 512 bits."""
    return "avx512f" in _cpuinfo("flags").split()


def _processor() -> str:
    vectors = "AVX-512" if has_avx512() else "AVX2" if "avx2" in _cpuinfo("flags").split() else "no AVX2"
    return f"{_cpuinfo('model name') or platform.processor()} ({vectors})"


def _cpuinfo(name: str) -> str:
    """What the system says of the first core; nothing where it says nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _peers_path() -> list[str]:
    return [str(path) for path in PEERS_PYTHON.parents[1].glob("lib/python*/site-packages")]


def _versions(names: Sequence[str], path: Sequence[str]) -> str:
    found = {name: [*metadata.distributions(name=name, path=list(path))] for name in names}
    return ", ".join(f"{name} {of[0].version}" for name, of in found.items() if of)


def write() -> None:
    """Write the page."""
    with atomic_write(PAGE) as temporary:
        temporary.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


def page(known: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    machines: dict[str, list[str]] = {}
    for name, section in known.items():
        machines.setdefault(section["machine"], []).append(name)
    said = [f"- {', '.join(names).replace('_', ' ')}: {machine}." for machine, names in machines.items()]
    parts = {
        name: "\n".join(_table(Comparison(**of)) for of in section["comparisons"]) for name, section in known.items()
    }
    return f"""\
# Speed beside other libraries

Written by `python -m benchmarks.performance` (after `make peers`), which measures all but the last two parts, and by
`python -m benchmarks.performance SECTION`, which measures one section again. The numbers are in
[performance.json](performance.json).

Every contestant runs in its own process on **one CPU thread**, the peers in an environment of their own
([requirements](../benchmarks/requirements.txt)). The processes take turns, round after round, {MIN_ROUNDS} to {MAX_ROUNDS} of them after
a warm-up, so that other load on the machine affects all of them alike; what is done sooner than in 20 ms is done several times
in a row, as in a training. We measure the **CPU time** of the process; for
the flow, wall time. Tables show the median and, in brackets, the quartiles. **× ours** is the peer's time divided by ours in
the same round: 3 means that the peer needs three times our time. Compare the ratios: times depend on the machine and on
what else it was doing.

{chr(10).join(said)}

## A training step

![Time of a training step over ours, by peer](performance-training.png)

The time of epochs from the middle of a training, on the same data and without validation, divided by the number of
steps. All train with AdamW, cross-entropy and a clipped gradient, except for the published loop: this is the example that
the project started from, with its label shape fixed; it uses Adam and binary cross-entropy and handles sequences of one
length only. *Lean PyTorch* uses no further library: slices of one permutation, fused AdamW, no DataLoader; *torch.compile* compiles its
model. *JAX* is a compiled step, called batch by batch or, as one scan, for the whole epoch. Varying lengths
are uniform from a tenth of the maximum; Lightning and skorch pack these sequences, Keras masks them. Over long sequences
gradients vanish into denormal numbers, with which a CPU computes many times slower: both our engines compute with zeros
instead (flush-to-zero); PyTorch does so only if told to.
{"".join(parts.get(name, "") for name in (*WORKLOADS, "long_training", "compilers"))}
## Around training

![Time of loading, batches, predictions, export and a whole job over ours](performance-around.png)

### The whole job

A process from its start until the trained model is on disk. Ours is `python -m stages.train` on sequences stored as
Parquet; it validates on 1,000 more sequences after each epoch, saves its state for resuming and writes a log. The published
example draws its sequences at random and saves its weights at the end.
{parts.get("job", "")}
### Batches

The shuffled batches of an epoch, from data in memory, without training, at the sizes of the small and the large training
step. Ours are already scaled; a DataLoader's are not.
{parts.get("batches", "")}
### Loading

Ours checks for nulls and for empty, ragged and infinite sequences; the others do not. HF datasets first converts Parquet to
a cache of Arrow files; *cached* is every read after the first.
{parts.get("loading", "")}
### Prediction and export

Predictions are measured from array to array: ours with onnxruntime through `rnnflow.serving.predictor.Predictor`, with the
same preparation as in training inside the graph, and with engine numba through `CompiledPredictor`, which takes the weights
out of the same file and also prepares; eager PyTorch's model has none. Exports leave batch size and time free;
ours is checked by `onnx`.
{parts.get("answers", "")}{parts.get("export", "")}
### The command `rnnflow predict`

`python -m benchmarks.prediction`: the whole command, from the start of the process, beside scripts that write the same table.
{parts.get("predict", "")}
### Importing files

`python -m benchmarks.imports --compare --gigabytes 1`: CPU seconds of whole processes. Stage `generate` checks every row, splits,
looks for leaks and drift, and writes shards; the scripts write one Parquet file of sequences. pandas holds the file in memory.
{parts.get("imports", "")}
## The flow

`python -m benchmarks.flow`: wall seconds of `python -m flows`, of a bare `dvc repro`, and of a Prefect flow with the
same number of tasks that do nothing, in turn, 3 to 7 rounds. Where nothing is stale, ours does without Prefect; where something
is and there is no server, the run brings one, which ends with it.
{parts.get("flow", "")}{_seconds(known["stages"]) if "stages" in known else ""}{_growth(known["scale"]) if "scale" in known else ""}"""


def _seconds(of_run: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {all_:.2f} | {'' if of is None else f'{of:.2f}'} |" for name, all_, of in of_run["rows"]]
    lines = ["| process | CPU, s | of it imports |", "| --- | ---: | ---: |", *rows]
    return f"""
### Where the seconds go

`python -m benchmarks.stages`: CPU seconds of each process of a run of the default pipeline, medians of three rounds, and those
of a process that only imports the same modules. A stage's work is the rest: training, a thousand resamples of each metric in
`evaluate`, 34 charts in `report`. Half of the imports are PyTorch's, which stage export needs as the judge of its files.
DVC itself begins once, and reads and writes the whole of `dvc.lock` after each stage.

{chr(10).join(lines)}

{of_run["said"]}
"""


def _growth(scale: Mapping[str, Any]) -> str:
    heads = "".join(f" {size:,}, µs |" for size in scale["sizes"])
    rows = [
        f"| {stage} | {' | '.join(f'{value:.2f}' for value in of['microseconds'])} "
        f"| {of['growth']:+.0%} | {of['peak_gb']:.2f} |"
        for stage, of in scale["stages"].items()
    ]
    lines = [f"| |{heads} growth | peak, GB |", f"| --- |{' ---: |' * (len(scale['sizes']) + 2)}", *rows]
    return f"""
## As the data grows

![Time of a sequence as their number grows](performance-scale.png)

`python -m benchmarks.scale`: CPU time per sequence of length 10 as the number of sequences grows, without a stage's fixed
cost (its time for a thousand sequences), medians of three rounds, and the peak memory of a process at the largest size.
*growth* compares the last size with the first in the same round. *epoch* is one epoch of an RNN, repeated over the same data
(4 MB at 100,000 sequences, 400 MB at 10,000,000); *train* is a whole stage of one epoch, with loading, scaling and
validation; *import* is source `files` on Parquet; *predict* is onnxruntime, from Parquet to Parquet.

{chr(10).join(lines)}
"""


def _table(comparison: Comparison) -> str:
    unit = comparison.unit
    names = [setting.replace("_", " ") for setting in comparison.settings]
    head = "".join(f" {name}, {unit} | × ours |" for name in names)
    rows = []
    for contestant in comparison.contestants:
        cells = []
        for setting in comparison.settings:
            is_ours = contestant == comparison.ours
            ratio = "1" if is_ours else f"**{_text(comparison.ratio(setting, contestant))}"
            cells += [_text(comparison.time(setting, contestant)), ratio.replace(" (", "** (", 1)]
        rows.append(f"| {contestant} | {' | '.join(cells)} |")
    lines = [f"| |{head}", f"| --- |{' ---: |' * (2 * len(names))}", *rows]
    return f"\n{comparison.title}:\n\n{chr(10).join(lines)}\n"


def _text(values: Quartiles) -> str:
    return f"{number(values.median)} ({number(values.lower)}–{number(values.upper)})"
