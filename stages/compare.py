"""Stage compare: whether the best of the models, by validation, is better than the model in production."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rnnflow.evaluation.comparison import baselines, challenge
from rnnflow.evaluation.comparison.verdict_page import markdown
from rnnflow.params.compare import CompareParams, load_names
from rnnflow.params.section import load as load_section
from rnnflow.runtime import json_text
from rnnflow.runtime.atomic_writes import atomic_folders, rounded, write_json
from rnnflow.runtime.errors import exit_on_input_error
from rnnflow.runtime.unchanged import unchanged_files, unchanged_params


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--models", type=Path, required=True, help="folder with one of each model, and `production`")
    for split in ("train", "validation", "test"):
        parser.add_argument(f"--{split}", type=Path, required=True, help=f"folder of the {split} split")
    parser.add_argument("--output", type=Path, required=True, help="folder for the verdict, to be written")
    arguments = parser.parse_args(argv)
    load = partial(load_section, arguments.params, CompareParams, "compare")
    with (
        exit_on_input_error(),
        unchanged_params(load, arguments.params) as settings,
        unchanged_params(partial(load_names, arguments.params), arguments.params) as names,
        unchanged_files(arguments.models, arguments.train, arguments.validation, arguments.test),
    ):
        compare(arguments, names, settings)


def compare(arguments: argparse.Namespace, names: Sequence[str], settings: CompareParams) -> None:
    """Write `verdict.json` and `verdict.md`."""
    candidates = [challenge.Model(arguments.models / name / challenge.MODEL, name) for name in names]
    production = challenge.Production.find(arguments.models / "production")
    challenger, on_validation = challenge.choose(candidates, arguments.validation, settings.choose_by)
    result = challenge.meet(challenger, production, arguments.test, (arguments.train, arguments.validation), settings)
    result["validation"] = on_validation
    folders = {split: getattr(arguments, split) for split in baselines.SPLITS}
    predictor = challenger.predictor
    result["baselines"] = baselines.measure(settings.baselines, folders, predictor.classes, predictor.features)
    result["remarks"] += baselines.lost(result["challenger"]["accuracy"], result["baselines"])
    with atomic_folders(arguments.output) as (folder,):
        write_json(folder / "verdict.json", json_text.sealed(rounded(result)))
        (folder / "verdict.md").write_text(markdown(result), encoding="utf-8")
    print(f"{challenger.name}: {result['verdict']}; {'; '.join(result['reasons'])}")
    for remark in result["remarks"]:
        print(f"note: {remark}")


if __name__ == "__main__":
    main()
