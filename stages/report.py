"""Stage report: an HTML report of the run and a model card."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rnnflow.evaluation.report import model_card, page
from rnnflow.evaluation.report.results import ModelResults, Results, read_sealed
from rnnflow.evaluation.report.worst_errors import worst_errors
from rnnflow.params.report import ReportParams
from rnnflow.params.section import load as load_section
from rnnflow.runtime import json_text
from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.errors import exit_on_input_error
from rnnflow.runtime.unchanged import unchanged_files, unchanged_params


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--models", type=Path, required=True, help="folder with one of each model")
    parser.add_argument("--reports", type=Path, required=True, help="folder with what the other stages found out")
    parser.add_argument("--reference", type=Path, required=True, help="the profile that new data is compared with")
    parser.add_argument("--test", type=Path, required=True, help="folder of the test split")
    parser.add_argument("--page", type=Path, required=True, help="the HTML file, to be written")
    parser.add_argument("--card", type=Path, required=True, help="the model card, to be written")
    arguments = parser.parse_args(argv)
    load = partial(load_section, arguments.params, ReportParams, "report")
    with (
        exit_on_input_error(),
        unchanged_params(load, arguments.params) as settings,
        unchanged_files(arguments.models, arguments.reference, arguments.test),
    ):
        report(arguments, settings)


def report(arguments: argparse.Namespace, settings: ReportParams) -> None:
    """Write the page and the card."""
    reports = arguments.reports
    verdict = read_sealed(reports / "comparison/verdict.json")
    models = [
        ModelResults(
            name,
            arguments.models / name / "model.onnx",
            reports / "models" / name / "evaluation",
            reports / "models" / name / "training",
        )
        for name in verdict["validation"]
    ]
    for model in models:
        model.require_intact()
    results = Results(
        models,
        verdict,
        reference=json_text.read_sealed(arguments.reference, "a profile in JSON, or {}", is_by_hand=True),
        drift=read_sealed(reports / "data/drift.json")["differences"],
    )
    num_errors, errors = worst_errors(results.challenger.predictor, arguments.test, settings.num_errors)
    with atomic_write(arguments.page) as new_page, atomic_write(arguments.card) as new_card:
        new_page.write_text(page.html(results, num_errors, errors), encoding="utf-8")
        new_card.write_text(model_card.markdown(results), encoding="utf-8")
    print(f"{arguments.page}: {arguments.page.stat().st_size / 1000:,.0f} kB; open it in any browser")


if __name__ == "__main__":
    main()
