"""The page: one HTML file that needs nothing else, no network and no script."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from rnnflow.evaluation.report import sections
from rnnflow.evaluation.report.drawing import colours
from rnnflow.evaluation.report.error_cards import card
from rnnflow.evaluation.report.results import Results
from rnnflow.evaluation.report.sections import Figure
from rnnflow.evaluation.report.worst_errors import WorstError

ENVIRONMENT = Environment(
    loader=PackageLoader(__package__),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {"words": sections.words, "thousands": "{:,}".format, "code": "`{}`".format, "to": sections.span}
SECTIONS: Mapping[str, Callable[[Results], Iterator[Figure]]] = {
    "Models side by side": sections.side_by_side,
    "Learning curves": sections.learning,
    "Confusion": sections.confusions,
    "Confidence and thresholds": sections.curves,
    "Where the models are weak": sections.slices,
}


def html(results: Results, num_errors: int, errors: Sequence[WorstError]) -> str:
    """Return the page.

    Args:
        results: of the run.
        num_errors: how many test sequences the challenger gets wrong.
        errors: the worst of them.
    """
    predictor = results.challenger.predictor
    drawn = {title: list(draw(results)) for title, draw in SECTIONS.items()}
    return ENVIRONMENT.get_template("report.html").render(
        results=results,
        verdict=results.verdict,
        columns=sections.columns(results),
        colours=colours(results.names),
        sections={title: figures for title, figures in drawn.items() if figures},
        metrics=sections.metrics(results),
        weaknesses=sections.weaknesses(results),
        num_errors=num_errors,
        errors=[card(error, predictor.features, predictor.classes) for error in errors],
        data=list(sections.data(results)),
        hashes=_hashes(results),
    )


def _hashes(results: Results) -> Mapping[str, Sequence[str]]:
    """Return what each model was made from, by the kind of source; once where it is the same for all."""
    of_models = [model.predictor.metadata["md5"] for model in results.models]
    of_kind = {kind: [md5.get(kind, "") for md5 in of_models] for md5 in of_models for kind in md5}
    return {kind: values[:1] if len(set(values)) == 1 else values for kind, values in of_kind.items()}
