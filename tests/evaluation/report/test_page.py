import json
import re
import shutil
from pathlib import Path

import pytest

from rnnflow.evaluation.report import charts, from_files
from rnnflow.params.models import ModelParams
from tests import toys
from tests.evaluation.report.conftest import SEQUENCES

TEMPLATES = Path(from_files.__file__).parent / "templates"
SECTIONS = (
    "Models side by side",
    "Learning curves",
    "Confusion",
    "Confidence and thresholds",
    "Where the models are weak",
    "The worst errors of good",
    "Data and drift",
    "Where the models came from",
)


def test_the_page_begins_with_the_verdict_and_has_every_section(template: Path) -> None:
    page = (template / "report.html").read_text()
    headings = re.findall("<h[12]>(.*?)</h[12]>", page, re.DOTALL)
    assert re.sub("<.*?>", "", headings[0]).split()[:2] == ["better", "good"]
    assert tuple(headings[1:]) == SECTIONS
    for title in ("ROC", "Reliability", "Risk over coverage", "Loss on the train split", "good: confusion"):
        assert f"<figcaption>{title}</figcaption>" in page


def test_the_page_needs_no_network_and_no_script(template: Path) -> None:
    page = (template / "report.html").read_text()
    assert set(re.findall(r"https?://[\w./]*", page)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<script|<iframe|<object|\ssrc=|@import|url\((?!#)|\son\w+=", page)
    assert set(re.findall(r'href="(.*?)"', page)) == {"data:,"}


def test_names_are_texts_and_not_markup(tmp_path: Path) -> None:
    classes = ("<i>down</i>", "level & flat", "up\"'")
    model = toys.exported(tmp_path / "work", toys.random_classifier(ModelParams(cell="gru")), classes)
    labels = [classes[index % 3] for index in range(len(SEQUENCES))]
    toys.write_sequences(tmp_path / "split/part-00000.parquet", SEQUENCES, labels)
    from_files.write([model], tmp_path / "split", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<i>down" not in page
    assert "&lt;i&gt;down&lt;/i&gt; taken for level &amp; flat" in page


def test_models_of_the_same_name_go_by_their_paths(template: Path, tmp_path: Path) -> None:
    models = [tmp_path / "first_one/model.onnx", tmp_path / "second_one/model.onnx"]
    for path in models:
        path.parent.mkdir()
        shutil.copy2(template / "models/good/model.onnx", path)
    from_files.write(models, template / "test", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for path in models:
        assert f"</i>{path}</th>" in page
    assert "Learning curves" not in page


def test_what_a_stage_measured_and_a_report_of_files_agree(template: Path, tmp_path: Path) -> None:
    """They read the same numbers; the page of the files takes them from the ONNX file, the stage from the checkpoint."""
    from_files.write([template / "models/good/model.onnx"], template / "test", tmp_path / "page.html")
    cells = re.compile(r'<tr><th scope="row">(Accuracy|Macro F1|Log loss)</th>\s*<td>([\d.]+)')
    of_files = dict(cells.findall((tmp_path / "page.html").read_text()))
    metrics = json.loads((template / "reports/models/good/evaluation/metrics.json").read_text())
    assert {name: float(value) for name, value in of_files.items()} == pytest.approx(
        {"Accuracy": metrics["accuracy"], "Macro F1": metrics["macro_f1"], "Log loss": metrics["log_loss"]}, abs=1e-4
    )


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "paper"])
def test_every_colour_has_enough_contrast(theme: int) -> None:
    """As WCAG 2 asks at level AA: 4.5 to 1 for texts, 3 to 1 for lines and marks."""
    block = re.findall(r":root \{(.*?)\}", (TEMPLATES / "report.css").read_text(), re.DOTALL)[theme]
    colours = {name: tuple(bytes.fromhex(value)) for name, value in re.findall(r"--([\w-]+): #(\w{6})", block)}
    for ground in ("page", "card"):
        for text in ("ink", "muted"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for mark in [*(f"series-{index}" for index in range(1, 9)), "actual", "predicted", "other"]:
            assert contrast(colours[mark], colours[ground]) >= 3, (mark, ground)
    for verdict in ("better", "not-worse", "worse", "undecided"):
        assert contrast(colours["on-badge"], colours[verdict]) >= 4.5, verdict
    darkest = tuple(
        charts.DARKEST * a + (1 - charts.DARKEST) * b for a, b in zip(colours["series-1"], colours["card"], strict=True)
    )
    assert contrast(colours["ink"], darkest) >= 4.5  # texts on the cells of a confusion


def contrast(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: tuple[float, ...]) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
