"""Stage generate: sequences from a source, split and stored as Parquet."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rnnflow import params, parquet
from rnnflow.errors import InputError, exit_on_input_error
from rnnflow.outputs import complete_folders
from rnnflow.sources import SOURCES
from rnnflow.splitting import SPLITS


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.generate", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--raw", type=Path, required=True, help="folder of the user's files")
    parser.add_argument("--output", type=Path, required=True, help="folder for train/, validation/ and test/")
    arguments = parser.parse_args(argv)
    with exit_on_input_error():
        generate(params.load(arguments.params).generate, arguments.raw, arguments.output)


def generate(settings: params.GenerateParams, raw: Path, output: Path) -> None:
    """Write the three splits, all of them or none."""
    num_files: Counter[str] = Counter()
    num_rows: Counter[str] = Counter()
    labels: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    with complete_folders(*(output / split for split in SPLITS)) as folders:
        folder_of = dict(zip(SPLITS, folders, strict=True))
        for split, table in SOURCES[settings.source](settings, raw):
            parquet.write_table(folder_of[split] / f"part-{num_files[split]:05d}.parquet", table)
            num_files[split] += 1
            num_rows[split] += len(table)
            labels[split].update(
                {label["values"]: label["counts"] for label in table["label"].value_counts().to_pylist()}
            )
        _check(settings, num_rows, labels)
    for split in SPLITS:
        print(f"{split:<11} {num_rows[split]:>9,} sequences in {num_files[split]} files")


def _check(settings: params.GenerateParams, num_rows: Counter[str], labels: dict[str, Counter[str]]) -> None:
    source = f"source {settings.source!r}"
    for split in SPLITS:
        if not num_rows[split]:
            raise InputError(f"{source}: no sequences for the {split} split; change generate.split or bring more data")
    if len(labels["train"]) < 2:
        raise InputError(
            f"{source}: the train split has one class only, {min(labels['train'])!r}; a classifier needs two"
        )
    for split in SPLITS:
        if unknown := set(labels[split]) - set(labels["train"]):
            name = min(unknown)
            raise InputError(
                f"{source}: class {name!r} has {labels[split][name]} in the {split} split and none in train; "
                "bring more of it, leave it out, or change generate.seed"
            )


if __name__ == "__main__":
    main()
