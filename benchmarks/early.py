"""Deciding before the end on published sets: a row of the table in docs/streaming.md for each; takes minutes.

python -m benchmarks.early gun_point basic_motions japanese_vowels digits spoken_digits
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyarrow import parquet

from benchmarks import examples
from rnnflow.evaluation.scores.intervals import fewest_to_show
from stages import evaluate, generate, train

SETS = ("gun_point", "basic_motions", "japanese_vowels", "digits", "spoken_digits")
MODEL = {"cell": "gru", "hidden_size": 64, "pooling": "mean_max", "differences": True}
"""That of the examples as far as it can answer step by step: in one direction, without down-sampling."""
VALIDATION = 0.3
"""Of the sequences for training, which are few: a rule that was chosen on six of them means nothing."""
MAX_LOSSES = (0.01, 0.05, 0.15)
"""Of them, a set gets the least that its number of sequences for validation can show."""
PARTS = (0.25, 0.5, 0.75, 1.0)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.early", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", default=SETS)
    print(
        "| set | sequences for validation | loss allowed | 25 % | 50 % | 75 % | 100 % | by the rule | share seen | harmonic mean |"
    )
    print(f"| --- {'| ---: ' * 9}|")
    for name in parser.parse_args(argv).names:
        with tempfile.TemporaryDirectory() as folder:
            print(_row(name, *_measured(name, Path(folder))), flush=True)


def _measured(name: str, folder: Path) -> tuple[dict[str, Any], dict[float, float]]:
    """Return the metrics on the test split, and the accuracy after each share of the sequences."""
    found = examples.params(name)
    sections: dict[str, Any] = {stage: {} for stage in ("evaluate", "export", "compare", "report")}
    sections["generate"] = {"source": name, "split": {"validation": VALIDATION, "test": found.generate.split.test}}
    sections["train"] = found.train.model_dump() | {"final_fit": False}
    sections["models"] = {"gru": MODEL}
    (folder / "params.yaml").write_text(json.dumps(sections))
    splits = {split: folder / "sequences" / split for split in ("train", "validation", "test")}
    known = {"params": folder / "params.yaml", "checkpoint": folder / "gru.safetensors"}
    (folder / "reference.json").write_text("{}")
    (folder / "raw").mkdir()  # empty: stage generate refuses it if it changes, as a folder of its outputs would
    fresh = {
        "raw": folder / "raw",
        "reference": folder / "reference.json",
        "output": folder / "sequences",
        "report": folder / "report",
    }
    generate.main(_options(fresh | {"params": known["params"]}))
    count = sum(parquet.read_metadata(shard).num_rows for shard in splits["validation"].glob("*.parquet"))
    max_loss = min(each for each in MAX_LOSSES if fewest_to_show(each) <= count)
    (folder / "params.yaml").write_text(json.dumps(sections | {"evaluate": {"max_early_loss": max_loss}}))
    of_train = {"train": splits["train"], "validation": splits["validation"]}
    train.main(
        ["gru", *_options(known | of_train | {"profile": folder / "report/profile.json", "log": folder / "log"})]
    )
    output = folder / "evaluation"
    of_test = {"validation": splits["validation"], "test": splits["test"], "output": output}
    evaluate.main(["--engine", found.train.engine, *_options(known | of_test)])
    with (output / "curves/early_answers.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["line"] == "accuracy"]
    metrics = json.loads((output / "metrics.json").read_text())
    return metrics | {"max_early_loss": max_loss}, {float(row["x"]): float(row["share"]) for row in rows}


def _options(paths: dict[str, Path]) -> list[str]:
    return [part for name, path in paths.items() for part in (f"--{name}", str(path))]


def _row(name: str, metrics: dict[str, Any], by_part: dict[float, float]) -> str:
    decided = [metrics.get(f"early_{figure}") for figure in ("accuracy", "share_seen", "harmonic_mean")]
    values = [*(by_part[part] for part in PARTS), *decided]
    first = f"| {name} | {metrics['validation']['num_sequences']} | {metrics['max_early_loss']:g}"
    return f"{first} | {' | '.join('none' if value is None else f'{value:.3f}' for value in values)} |"


if __name__ == "__main__":
    main()
