"""Accuracy on published sets with nothing set by hand: what `inspect --write` and `tune` arrive at; writes docs/results.md.

python -m benchmarks.results GunPoint OSULeaf --seeds 3     # the figures of the other sets stay as they are
"""

import argparse
import sys
import time
from collections.abc import Sequence
from statistics import mean
from typing import Any

from benchmarks import newcomer, results_page
from benchmarks.results_page import TARGETS
from rnnflow.advice.tuning.minirocket import FEWEST_STEPS, as_series
from rnnflow.classifier.model import restored
from rnnflow.classifier.predict_split import log_loss_and_accuracy, predict
from rnnflow.export.graph import build, serialise
from rnnflow.params.whole import Params
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.training.fit import Fit
from rnnflow.training.loop import VALIDATION_BATCH_SIZE

NUM_SEEDS = 5
PEERS = ("MiniRocket", "MultiRocketHydra")


def measured(name: str, num_seeds: int, peers: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a set. The test split is read when all is chosen."""
    params, tune_seconds = newcomer.follow(name)
    part, test = newcomer.splits(name)
    fits = [_fit(params, seed, part, test) for seed in range(num_seeds)]
    return {
        "model": next(iter(params.models)),
        "accuracies": [fit["accuracy"] for fit in fits],
        "log_loss": mean(fit["log_loss"] for fit in fits),
        "cpu_seconds": mean(fit["cpu_seconds"] for fit in fits),
        "tune_seconds": tune_seconds,
        "parameters": fits[0]["parameters"],
        "onnx_bytes": fits[0]["onnx_bytes"],
        "train": len(part),
        "test": len(test),
        "peers": {peer: _peer(peer, part, test) for peer in peers},
    }


def _fit(params: Params, seed: int, part: SequenceDataset, test: SequenceDataset) -> dict[str, Any]:
    """Train as the final fit of stage train does."""
    model = next(iter(params.models.values()))
    start = time.process_time()
    fit = Fit(part, None, model, params.train.model_copy(update={"seed": seed}))
    classifier = restored(fit.run(), model, len(part.features), len(part.classes))
    seconds = time.process_time() - start
    answers = predict(classifier.logits, classifier.preparation, test, VALIDATION_BATCH_SIZE)
    loss, accuracy = log_loss_and_accuracy(test.labels, answers)
    print(f"  seed {seed}: {accuracy:.4f}, log loss {loss:.3f}, {seconds:.0f} CPU s", file=sys.stderr, flush=True)
    size = len(serialise(build(classifier, {}, 1)))
    return {
        "accuracy": accuracy, "log_loss": loss, "cpu_seconds": seconds, "parameters": fit.num_parameters, "onnx_bytes": size,
    }  # fmt: skip


def _peer(name: str, part: SequenceDataset, test: SequenceDataset) -> dict[str, float]:
    """Return accuracy and CPU seconds of a classifier of aeon; unequal lengths are stretched to one."""
    from aeon.classification import convolution_based

    num_steps = max(FEWEST_STEPS, int(part.lengths.max()))
    train_series, test_series = (as_series(split, num_steps) for split in (part, test))
    start = time.process_time()
    classifier = getattr(convolution_based, f"{name}Classifier")(random_state=0, n_jobs=1)
    classifier.fit(train_series, part.labels)
    accuracy = float((classifier.predict(test_series) == test.labels).mean())
    print(f"  {name}: {accuracy:.4f}", file=sys.stderr, flush=True)
    return {"accuracy": accuracy, "cpu_seconds": time.process_time() - start}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="SET", help=f"of {', '.join(TARGETS)}; by default those not measured"
    )
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help="0 and so many following (default %(default)s)")
    parser.add_argument("--peers", nargs="*", default=PEERS, help=f"of aeon; by default {' and '.join(PEERS)}")
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.names) - set(TARGETS)):
        parser.error(f"no set {unknown[0]!r}, there are {', '.join(TARGETS)}")
    known = results_page.read()["tuned"]
    for name in arguments.names or [name for name in TARGETS if name not in known]:
        print(name, file=sys.stderr, flush=True)
        results_page.add("tuned", name, measured(name, arguments.seeds, arguments.peers))


if __name__ == "__main__":
    main()
