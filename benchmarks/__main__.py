"""Measures what rnnflow promises and says whether each promise is kept: `python -m benchmarks`."""

import argparse
import importlib
from collections.abc import Sequence

from benchmarks.measuring import Figure, console, summary

BENCHMARKS = {
    "training_step": "a training step against the loop that the project started from",
    "stem": "a training step of a model with the multi-scale stem, with each engine",
    "loading": "Parquet to tensor against pandas",
    "serving": "export to ONNX, and its answers against eager PyTorch",
    "streaming": "a step of a live stream, beside PyTorch and C, and after a million steps",
    "prediction": "`rnnflow predict` as a whole command against scripts; takes many minutes, runs only if named",
    "performance": "all of that and more against peers in an environment of their own (make peers); takes many minutes",
    "long_training": "whole trainings on sequences of a thousand steps",
    "stages": "where the seconds of a run of the pipeline go; takes ten minutes, runs only if named",
    "flow": "the flow against a bare dvc repro; takes minutes",
    "scale": "time and memory of the stages up to 10,000,000 sequences; takes many minutes",
    "engines": "accuracy of each engine over five seeds; takes minutes, runs only if named",
    "imports": "peak memory of stage generate on files of five gigabytes; takes many minutes, runs only if named",
    "accuracy": "accuracy against published results; takes long, runs only if named",
}
ONLY_IF_NAMED = ("prediction", "engines", "stages", "imports", "accuracy")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure speed, memory and accuracy against peers.",
        epilog="\n".join(f"{name:<15} {what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; all but those by default")
    parser.add_argument("--skip-scale", action="store_true", help="leave out what takes minutes")
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {unknown[0]!r}, there are {', '.join(BENCHMARKS)}")
    chosen = arguments.names or [name for name in BENCHMARKS if name not in ONLY_IF_NAMED]
    out = console()
    figures: list[Figure] = []
    for name in chosen:
        if name == "scale" and arguments.skip_scale:
            continue
        figures += importlib.import_module(f"benchmarks.{name}").measure(out)
    out.print(summary(figures))


if __name__ == "__main__":
    main()
