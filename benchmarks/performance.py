"""Speed against peers in an environment of their own; writes docs/performance.md and its plots.

python -m benchmarks.performance               # all sections, some 20 minutes
python -m benchmarks.performance small large   # these anew, the others as they were
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks import performance_page
from benchmarks.contest import ENVIRONMENT, HOW_TO_INSTALL, PEERS_PYTHON, REPOSITORY, Contestant, contest, ours
from benchmarks.loading import write_split
from benchmarks.measuring import Figure, console, table
from benchmarks.peers.ours import ENGINES
from benchmarks.peers.workloads import CELLS, WORKLOADS, Workload
from benchmarks.performance_page import Comparison, number
from benchmarks.resource_usage import usage_of
from rnnflow.params.compare import CompareParams
from rnnflow.params.evaluate import EvaluateParams
from rnnflow.params.export import ExportParams
from rnnflow.params.generate import GenerateParams, NumSequences
from rnnflow.params.models import ModelParams
from rnnflow.params.report import ReportParams
from rnnflow.params.train import TrainParams
from rnnflow.params.whole import Params
from stages.generate import generate

OURS = f"rnnflow, {ENGINES[-1]}"
FRAMEWORKS = {
    "Lightning": "lightning_trainer:epoch",
    "skorch": "skorch_classifier:epoch",
    "Keras": "keras_model:epoch",
}
PEERS_OF_EQUAL_LENGTHS = {"published loop": "published:epoch", "lean PyTorch": "lean:epoch", **FRAMEWORKS}
COMPILED_PEERS = {
    "published loop": "published:epoch",
    "torch.compile": "lean:compiled",
    "JAX, a call a step": "jax_model:epoch",
    "JAX, an epoch as one scan": "jax_model:scanned",
}
LEAN = {"lean PyTorch": "lean:epoch"}  # alone where the others compute the same and take minutes
PEERS_OF_VARYING_LENGTHS = {"lean PyTorch, packed": "packed:epoch", "lean PyTorch, padded": "lean:epoch", **FRAMEWORKS}
LONG = 200
"""Time steps from which on few peers are measured."""
JOB_ROUNDS, JOB_EPOCHS = 5, 10
CALLS = 200
LARGE_BATCH = 1000
PREDICTORS = ("onnxruntime", "numba")
"""What our answers come from: the first is measured for one sequence, the last for many."""
SHAPES = ((100_000, 100, 1), (100_000, 10, 12))
"""Sequences, time steps, features of what is loaded."""

TARGETS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("small", "published loop"): {"rnn": 30, "lstm": 10, "gru": 18},
    ("large", "lean PyTorch"): {"rnn": 3.5, "lstm": 2.1, "gru": 3},
    ("small_varying", "lean PyTorch, packed"): {"rnn": 20, "lstm": 20, "gru": 20},
    ("large_varying", "lean PyTorch, packed"): {"rnn": 6, "lstm": 6, "gru": 6},
    ("long_1000", "lean PyTorch"): {"rnn": 3, "lstm": 3, "gru": 3},
    ("two_layers", "lean PyTorch"): {"rnn": 4.2, "lstm": 2.2, "gru": 4.6},
    ("job", "published script"): {"rnn": 2, "lstm": 2, "gru": 2},
    ("batches", "DataLoader over tensors"): {"large": 2},
    ("answers to many", "eager PyTorch"): {"rnn": 1.5, "lstm": 1.5, "gru": 1.5},
}
"""How many times our CPU time a peer's is to be at least: by comparison and peer, then by setting.
Those of a step are for a CPU with AVX-512; one with AVX2 has vectors half as long and is to reach half.
"""


def training(workload: str, seconds: float) -> list[Comparison]:
    """Return the step of each cell."""
    sizes = WORKLOADS[workload]
    peers = PEERS_OF_VARYING_LENGTHS if sizes.varies else PEERS_OF_EQUAL_LENGTHS
    if sizes.length >= LONG or sizes.num_layers > 1:
        peers = LEAN
    settings: dict[str, dict[str, np.ndarray]] = {}
    for cell in CELLS:
        contestants = {f"rnnflow, {engine}": ours("epoch", cell, workload, engine) for engine in ENGINES}
        contestants |= {name: Contestant(function, (cell, workload)) for name, function in peers.items()}
        settings[cell] = _measured(f"{workload}, {cell}", contestants, seconds, 1e6 / sizes.num_steps)
    return [Comparison.of(workload, _sizes(sizes), "µs a step", OURS, settings)]


def compilers(seconds: float) -> list[Comparison]:
    """Return the small step of what compiles the model as well, which takes up to a minute before the first one."""
    sizes = WORKLOADS["small"]
    settings: dict[str, dict[str, np.ndarray]] = {}
    for cell in CELLS:
        peers = {name: Contestant(function, (cell, "small")) for name, function in COMPILED_PEERS.items()}
        contestants = {OURS: ours("epoch", cell, "small", ENGINES[-1]), **peers}
        settings[cell] = _measured(f"compilers, {cell}", contestants, seconds, 1e6 / sizes.num_steps)
    return [Comparison.of("compilers", f"{_sizes(sizes)}, beside compilers", "µs a step", OURS, settings)]


def job(_: float) -> list[Comparison]:
    """Return the whole job, from the command to the trained model on disk."""
    settings = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = _job_commands(folder)
        for cell, of_cell in commands.items():
            _say(f"job, {cell}")
            settings[cell] = {name: np.empty(JOB_ROUNDS) for name in of_cell}
            for round_ in range(-1, JOB_ROUNDS):
                for name, command in of_cell.items():
                    environment = ENVIRONMENT | {"RNNFLOW_STATE": f"{folder}/state", "RNNFLOW_DEVICE": "cpu"}
                    used = usage_of(command, folder / "usage.json", REPOSITORY, environment)
                    if round_ >= 0:
                        settings[cell][name][round_] = used.cpu_seconds
    title = f"Whole job: 1,000 sequences, {JOB_EPOCHS} epochs, hidden 32, length 10, batch 32"
    return [Comparison.of("job", title, "s", OURS, settings)]


def _job_commands(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Write params and data, and return the modules to run with their arguments, by cell."""
    params = Params(
        generate=GenerateParams(num_sequences=NumSequences(train=1000, validation=1000, test=1000)),
        train=TrainParams(epochs=JOB_EPOCHS),
        models={cell: ModelParams(cell=cell) for cell in CELLS},
        evaluate=EvaluateParams(),
        export=ExportParams(),
        compare=CompareParams(),
        report=ReportParams(),
    )
    (folder / "params.json").write_text(params.model_dump_json())  # JSON is YAML
    generate(params.generate, folder / "raw", folder, {}, folder / "report")
    options = [f"--params={folder}/params.json", f"--train={folder}/train", f"--validation={folder}/validation"]
    outputs = [f"--checkpoint={folder}/checkpoint.safetensors", f"--log={folder}/log"]
    return {
        cell: {
            OURS: ["stages.train", cell, *options, *outputs],
            "published script": ["benchmarks.peers.published_script", cell, f"{folder}/model.pt"],
        }
        for cell in CELLS
    }


def batches(seconds: float) -> list[Comparison]:
    """Return what an epoch's batches cost before any training."""
    settings = {}
    for workload in ("small", "large"):
        contestants = {
            OURS: ours("batches", workload, ENGINES[-1]),
            "DataLoader over tensors": Contestant("batches:data_loader", (workload,)),
            "DataLoader over HF datasets": Contestant("batches:hugging_face", (workload,)),
        }
        settings[workload] = _measured(
            f"batches, {workload}", contestants, seconds, 1e6 / WORKLOADS[workload].num_steps
        )
    return [Comparison.of("batches", "Shuffled batches: out of memory, without training", "µs a batch", OURS, settings)]


def loading(seconds: float) -> list[Comparison]:
    """Return what Parquet files cost until they are a tensor."""
    settings = {}
    for shape in SHAPES:
        setting = "{:,} x {} x {}".format(*shape)
        with tempfile.TemporaryDirectory() as folder:
            write_split(Path(folder), *shape)
            peers = {
                "pandas and np.stack": "with_pandas",
                "HF datasets": "with_hugging_face",
                "HF datasets, cached": "with_hugging_face_again",
            }
            contestants = {"rnnflow": ours("load", folder)}
            contestants |= {name: Contestant(f"loading:{function}", (folder,)) for name, function in peers.items()}
            settings[setting] = _measured(f"loading, {setting}", contestants, seconds, 1e3)
    title = "Loading: Parquet to a tensor, sequences x length x features"
    return [Comparison.of("loading", title, "ms", "rnnflow", settings)]


def answers(seconds: float) -> list[Comparison]:
    """Return what answers cost."""
    one: dict[str, dict[str, np.ndarray]] = {}
    many: dict[str, dict[str, np.ndarray]] = {}
    for cell in CELLS:
        for batch_size, calls, found in ((1, CALLS, one), (LARGE_BATCH, 1, many)):
            arguments = (cell, "small", str(batch_size), str(calls))
            contestants = {f"rnnflow, {engine}": ours("answers", *arguments, engine) for engine in PREDICTORS}
            contestants["eager PyTorch"] = Contestant("serving:answers", arguments)
            found[cell] = _measured(f"answers to {batch_size}, {cell}", contestants, seconds, 1e6 / calls)
    sizes = "hidden 32, length 10"
    by_onnxruntime, by_numba = (f"rnnflow, {engine}" for engine in PREDICTORS)
    return [
        Comparison.of("answers to one", f"Answer to one sequence: {sizes}", "µs", by_onnxruntime, one),
        Comparison.of("answers to many", f"Answers to {LARGE_BATCH:,} at once: {sizes}", "µs", by_numba, many),
    ]


def export(seconds: float) -> list[Comparison]:
    """Return what an export costs."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for cell in CELLS:
        contestants = {"rnnflow": ours("exporter", cell, "small")}
        contestants |= {
            f"torch.onnx.export, {said}": Contestant("serving:exporter", (cell, "small", kind))
            for said, kind in (("TorchScript", "torchscript"), ("dynamo", "dynamo"))
        }
        found[cell] = _measured(f"export, {cell}", contestants, seconds, 1e3)
    return [Comparison.of("export", "Export to ONNX: hidden 32", "ms", "rnnflow", found)]


SECTIONS: Mapping[str, tuple[Callable[[float], list[Comparison]], float]] = {
    **{workload: (partial(training, workload), 25.0) for workload in WORKLOADS},
    "compilers": (compilers, 15.0),
    "job": (job, 0.0),
    "batches": (batches, 10.0),
    "loading": (loading, 15.0),
    "answers": (answers, 8.0),
    "export": (export, 8.0),
}
"""How each is measured, and for how many seconds a setting."""


def _measured(said: str, contestants: Mapping[str, Contestant], seconds: float, factor: float) -> dict[str, np.ndarray]:
    _say(said)
    return {name: factor * values for name, values in contest(contestants, seconds).items()}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _sizes(sizes: Workload) -> str:
    length = f"lengths {max(1, sizes.length // 10)} to {sizes.length}" if sizes.varies else f"length {sizes.length:,}"
    features = f"{sizes.num_features} feature{'s' if sizes.num_features > 1 else ''}"
    layers = f", {sizes.num_layers} layers in both directions, {sizes.pooling} pooling" if sizes.num_layers > 1 else ""
    return f"Training step: hidden {sizes.hidden_size}, {length}, batch {sizes.batch_size}, {features}{layers}"


def figures_of(comparison: Comparison) -> list[Figure]:
    """Return the ratios that have a target."""
    figures = []
    share = 0.5 if comparison.name in WORKLOADS and not performance_page.has_avx512() else 1.0
    for (name, peer), targets in TARGETS.items():
        if name == comparison.name:
            for setting, whole in targets.items():
                target = share * whole
                ratio = comparison.ratio(setting, peer).median
                said = f"{name.replace('_', ' ')}, {setting}: {peer}'s time / ours"
                figures.append(Figure(said, f">= {target:g}", number(ratio), ratio >= target))
    return figures


def measure(out: Console, names: Sequence[str] = (), writes: bool = False) -> list[Figure]:
    """Print a table for each comparison and return the figures with a target; say so where there are no peers."""
    if not PEERS_PYTHON.exists():
        out.print(HOW_TO_INSTALL)
        return []
    figures = []
    for name in names or SECTIONS:
        section, seconds = SECTIONS[name]
        comparisons = section(seconds)
        for comparison in comparisons:
            _print(out, comparison)
            figures += figures_of(comparison)
        if writes:
            performance_page.keep(name, comparisons)
    return figures


def _print(out: Console, comparison: Comparison) -> None:
    result = table(
        f"{comparison.title}: {comparison.unit} (x ours)", "", *(setting.replace("_", " ") for setting in comparison.settings)
    )  # fmt: skip
    for name in comparison.contestants:
        cells = ((comparison.time(setting, name), comparison.ratio(setting, name)) for setting in comparison.settings)
        result.add_row(name, *(f"{number(time.median)} (x {number(ratio.median)})" for time, ratio in cells))
    out.print(result)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.performance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--page-only", action="store_true", help="measure nothing, write page and plots anew")
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.names) - set(SECTIONS)):
        parser.error(f"no section {unknown[0]!r}, there are {', '.join(SECTIONS)}")
    if not PEERS_PYTHON.exists():
        parser.error(HOW_TO_INSTALL)
    out = console()
    if not arguments.page_only:
        measure(out, arguments.names, writes=True)
    performance_page.write()
    performance_page.draw()
    out.print(f"written to {performance_page.PAGE.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
