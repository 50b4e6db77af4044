import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnflow.runtime import json_text
from stages import report
from tests import toys
from tests.evaluation.report.conftest import PROFILE, folder, template

__all__ = ["folder", "template"]


def test_it_writes_the_same_bytes_again(folder: Path) -> None:
    files = folder / "report.html", folder / "model_card.md"
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    report.main(toys.report_arguments(folder))
    assert [file.read_bytes() for file in files] == before


def test_it_says_what_has_drifted_and_draws_it_beside_the_reference(folder: Path) -> None:
    line = "feature 'x': mean 0.5, was 9 ± 0.5"
    (folder / "reports/data/drift.json").write_text(json.dumps(json_text.sealed({"differences": [line]})))
    features = PROFILE["features"] | {"x": PROFILE["features"]["x"] | {"mean": 9.0}}
    (folder / "reference.json").write_text(json.dumps(json_text.sealed(PROFILE | {"features": features})))
    report.main(toys.report_arguments(folder))
    page = html.unescape((folder / "report.html").read_text())
    assert f"<li>{line}</li>" in page
    assert "Features of the train split" in page


def no_verdict(folder: Path) -> str:
    (folder / "reports/comparison/verdict.json").unlink()
    return f"{folder}/reports/comparison/verdict.json: expected the JSON that a stage wrote"


def damaged_metrics(folder: Path) -> str:
    path = folder / "reports/models/poor/evaluation/metrics.json"
    path.write_text("{")
    return f"{path}: expected the JSON that a stage wrote"


def no_model(folder: Path) -> str:
    (folder / "models/poor/model.onnx").unlink()
    return f"{folder}/models/poor/model.onnx: no such file"


def no_test_split(folder: Path) -> str:
    shutil.rmtree(folder / "test")
    return f"{folder}/test: no Parquet file"


@pytest.mark.parametrize(
    "mistake", [no_verdict, damaged_metrics, no_model, no_test_split], ids=lambda mistake: mistake.__name__
)
def test_a_mistake_ends_it_with_one_line_and_leaves_the_last_page(
    folder: Path, mistake: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "report.html").read_bytes()
    message = mistake(folder)
    with pytest.raises(SystemExit) as exit_:
        report.main(toys.report_arguments(folder))
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert (folder / "report.html").read_bytes() == before
