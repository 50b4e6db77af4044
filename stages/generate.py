"""Stage generate: sequences from a source, split, checked and stored as Parquet."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rnnflow.generation import drift
from rnnflow.generation.build import DatasetBuilder
from rnnflow.generation.sources import SOURCES
from rnnflow.generation.splitting import SPLITS
from rnnflow.params.generate import DriftParams, GenerateParams
from rnnflow.params.section import load as load_section
from rnnflow.runtime import json_text
from rnnflow.runtime.atomic_writes import atomic_folders, rounded, write_json
from rnnflow.runtime.errors import InputError, exit_on_input_error
from rnnflow.runtime.unchanged import unchanged_files, unchanged_params


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.generate", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--raw", type=Path, required=True, help="folder of the user's files")
    parser.add_argument("--reference", type=Path, required=True, help="profile that new files are compared with")
    parser.add_argument("--output", type=Path, required=True, help="folder for train/, validation/ and test/")
    parser.add_argument("--report", type=Path, required=True, help="folder for the profile and the drift")
    arguments = parser.parse_args(argv)
    load = partial(load_section, arguments.params, GenerateParams, "generate")
    with (
        exit_on_input_error(),
        unchanged_params(load, arguments.params) as settings,
        unchanged_files(arguments.raw, arguments.reference),
    ):
        reference = drift.load_reference(arguments.reference)
        generate(settings, arguments.raw, arguments.output, reference, arguments.report)


def generate(settings: GenerateParams, raw: Path, output: Path, reference: drift.Reference, report: Path) -> None:
    """Write the three splits, all of them or none, and what they look like."""
    with atomic_folders(*(output / split for split in SPLITS), report) as (*folders, report_folder):
        folder_of = dict(zip(SPLITS, folders, strict=True)) | {"unassigned": report_folder}
        builder = DatasetBuilder(settings, folder_of, reference.get("contents", {}))
        with builder.writer:
            for file in SOURCES[settings.source](settings, raw):
                builder.take(file)
            profile = builder.finish()
        for line in builder.remarks():
            print(line, file=sys.stderr)
        write_json(report_folder / "profile.json", json_text.sealed(rounded(profile)))
        drifted = {"differences": _drift(builder, reference, settings.drift)}
        write_json(report_folder / "drift.json", json_text.sealed(drifted))
    for index, split in enumerate(SPLITS):
        print(f"{split:<11} {builder.writer.num_rows[index]:>9,} sequences in {builder.writer.num_files[index]} files")


def _drift(builder: DatasetBuilder, reference: drift.Reference, bounds: DriftParams) -> list[str]:
    """Return how the new files differ from the reference, and say it, or fail if the params want that."""
    if bounds.action == "off" or builder.new is None:
        return []
    found = drift.differences(builder.new, reference, bounds)
    for line in found:
        print(f"drift: {line}", file=sys.stderr)
    if found and bounds.action == "fail":
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InputError(
            f"drift: new files lie outside generate.drift: {found[0]}{more}; "
            "remove them, change the bounds, or accept them with generate.drift.action: warn"
        )
    return found


if __name__ == "__main__":
    main()
