"""Charts of more classes than one of the usual size has room for, with names that differ at their ends alone."""

import re

import numpy as np
import pytest

from rnnflow.evaluation.report import charts, drawing, sections
from rnnflow.evaluation.report.results import ModelResults, Results
from rnnflow.evaluation.scores import tables
from rnnflow.evaluation.scores.answers import Answers
from rnnflow.params.models import ModelParams
from tests import toys

CLASSES = tuple(f"a gesture with the left hand, number {index:02}" for index in range(20))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("many")
    model = toys.random_classifier(ModelParams(cell="gru"), num_classes=len(CLASSES))
    rng = np.random.default_rng(0)
    labels = np.arange(120) % len(CLASSES)
    probabilities = rng.dirichlet(np.ones(len(CLASSES)), len(labels)).astype(np.float32)
    tables.write(folder / "evaluation", Answers(labels, probabilities, CLASSES, np.full(120, 5)), num_resamples=100)
    return Results([ModelResults("toy", toys.exported(folder / "work", model, CLASSES), folder / "evaluation")])


def test_a_confusion_of_many_classes_has_a_row_of_its_own_and_a_name_at_every_cell(results: Results) -> None:
    (confusion,) = sections.confusions(results)
    assert confusion.is_wide
    for name in CLASSES:
        assert confusion.drawing.count(f">a ges…{name[-6:]}</text>") == 2, name


def test_of_many_classes_the_worst_have_a_line(results: Results) -> None:
    roc = next(figure for figure in sections.curves(results) if figure.title == "ROC")
    assert roc.note == f"The {sections.MAX_LINES} classes of {len(CLASSES)} that are worst."
    areas = {row["class"]: row["estimate"] for row in results.rows("tables/intervals") if row["metric"] == "roc_auc"}
    worst = sorted(CLASSES, key=lambda name: areas[name])[: sections.MAX_LINES]
    assert list(sections._worst_classes(results, "roc_auc", set(CLASSES))) == worst


def test_so_many_classes_that_names_do_not_fit_have_a_chart_of_limited_size() -> None:
    names = [str(number) for number in range(200)]
    drawn = drawing.svg(charts.confusion([{"actual": name, "predicted": name, "count": 1} for name in names]), "")
    found = re.search(r'width="([\d.]+)"', drawn)
    assert found
    assert float(found[1]) <= charts.MAX_CELLS + 140
    assert ">199</text>" not in drawn
