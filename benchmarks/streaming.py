"""A step of a live stream: one stream and 10,000, now and after a million steps, beside PyTorch and C."""

import json
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from benchmarks.measuring import Figure, Quartiles, alternated, command, table
from benchmarks.serving import CALLS_PER_ROUND, NUM_ROUNDS, PROPERTIES, repeated
from rnnflow.classifier.model import SequenceClassifier
from rnnflow.export.graph import build, build_streaming, serialise
from rnnflow.params.models import ModelParams
from rnnflow.serving import c_code
from rnnflow.serving.streaming import StreamingPredictor

NUM_STREAMS, NUM_STEPS = 10_000, (1, 1_000, 100_000, 1_000_000)
PARAMS = ModelParams(cell="gru")
NAMED = PROPERTIES | {"model": json.dumps(PARAMS.model_dump()), "name": '"toy"'}
TARGET_MICROSECONDS, TARGET_STEPS, TARGET_GROWTH = 30.0, 300_000, 1.1
TIMING = """
#include <stdio.h>
#include <time.h>
#include "toy_classifier.h"
int main(void)
{
    toy_classifier_state state;
    float step[1] = {0.5f}, probabilities[TOY_CLASSIFIER_NUM_CLASSES];
    toy_classifier_begin(&state);
    clock_t start = clock();
    for (long count = 0; count < 200000; count++) {
        toy_classifier_step(&state, step);
        toy_classifier_answer(&state, probabilities);
        step[0] = probabilities[0];
    }
    printf("%f", 1e6 * (double)(clock() - start) / CLOCKS_PER_SEC / 200000);
    return 0;
}
"""
"""Each step depends on the last answer, so that nothing is left out."""


def measure(out: Console) -> list[Figure]:
    """Print what a step costs, and return the figures with a target."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = SequenceClassifier(PARAMS, num_features=1, num_classes=2).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "model.stream.onnx"
        path.write_bytes(serialise(build_streaming(model, NAMED)[0]))
        runtimes = _beside(model, path)
        (folder / "model.onnx").write_bytes(serialise(build(model, NAMED)))
        sizes = c_code.write(folder / "model.onnx", folder)
        for compiler in filter(shutil.which, ("gcc", "clang")):
            runtimes[f"C, {compiler} -O2"] = _in_c(folder, compiler)
        by_age = _by_age(path)
        many = _many(path)
    steps = table("A step of one stream with its answer: GRU, hidden 32, one thread", "", "µs of CPU time")
    for runtime, found in runtimes.items():
        steps.add_row(runtime, found.text(2))
    for num_steps, found in by_age.items():
        steps.add_row(f"StreamingPredictor.push, from step {num_steps:,}", found.text(2))
    out.print(steps)
    out.print(
        f"C: {sizes['flash']:,} bytes of constants, {sizes['ram']} bytes of state, {sizes['multiply_adds']:,} multiply-adds a step"
    )
    ours, growth = (
        runtimes["StreamingPredictor.push"].median,
        by_age[NUM_STEPS[-1]].median / by_age[NUM_STEPS[0]].median,
    )
    return [
        Figure("a step of one stream: µs", f"<= {TARGET_MICROSECONDS:g}", f"{ours:.1f}", ours <= TARGET_MICROSECONDS),
        Figure("step 1,000,000 / step 1", f"<= {TARGET_GROWTH:g}", f"{growth:.3f}", growth <= TARGET_GROWTH),
        Figure(
            f"{NUM_STREAMS:,} streams: steps a second", f">= {TARGET_STEPS:,}", f"{many:,.0f}", many >= TARGET_STEPS
        ),
    ]


def _beside(model: SequenceClassifier, path: Path) -> dict[str, Quartiles]:
    predictor, step = StreamingPredictor(path), np.full((1, 1), 0.5, np.float32)
    predictor.push("a", step)
    states, one = predictor.model.new_states(1), np.ones(1, np.int64)
    cell = torch.nn.GRU(1, 32, batch_first=True)
    hidden = torch.zeros(1, 1, 32)

    @torch.inference_mode()
    def eager() -> np.ndarray:
        nonlocal hidden
        _, hidden = cell(torch.from_numpy(step[None]), hidden)
        probabilities: np.ndarray = model.head(hidden[0]).softmax(1).numpy()
        return probabilities

    functions = {
        "eager PyTorch": eager,
        "onnxruntime, session.run": lambda: predictor.model.run(step[None], one, states),
        "StreamingPredictor.push": lambda: predictor.push("a", step),
    }
    found = alternated({name: repeated(function) for name, function in functions.items()}, NUM_ROUNDS)
    return {name: Quartiles.of(1e6 * values / CALLS_PER_ROUND) for name, values in found.items()}


def _in_c(folder: Path, compiler: str) -> Quartiles:
    (folder / "timing.c").write_text(TIMING)
    command = [compiler, "-std=c99", "-O2", "toy_classifier.c", "timing.c", "-lm", "-o", "timing"]
    subprocess.run(command, check=True, cwd=folder)
    runs = [subprocess.run([folder / "timing"], capture_output=True, check=True, text=True).stdout for _ in range(9)]
    return Quartiles.of(np.array([float(run) for run in runs]))


def _by_age(path: Path) -> dict[int, Quartiles]:
    """Return the microseconds of the steps from each number of steps on, in turn."""
    step = np.full((1, 1), 0.5, np.float32)
    predictors = {num_steps: StreamingPredictor(path) for num_steps in NUM_STEPS}
    for num_steps, predictor in predictors.items():
        predictor.push("a", np.full((max(1, num_steps - 1), 1), 0.5, np.float32))
    pushes = {num_steps: partial(predictor.push, "a", step) for num_steps, predictor in predictors.items()}
    found = alternated({str(num_steps): repeated(push) for num_steps, push in pushes.items()}, NUM_ROUNDS)
    return {int(num_steps): Quartiles.of(1e6 * values / CALLS_PER_ROUND) for num_steps, values in found.items()}


def _many(path: Path) -> float:
    predictor, names = StreamingPredictor(path), list(range(NUM_STREAMS))
    steps = np.random.default_rng(0).standard_normal((NUM_STREAMS, 1, 1), np.float32)
    predictor.push_many(names, steps)
    found = alternated({"many": lambda: predictor.push_many(names, steps)}, 20)
    return NUM_STREAMS / float(np.median(found["many"]))


if __name__ == "__main__":
    command(measure)
