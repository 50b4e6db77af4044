"""What a run's commit says has changed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.results import MAX_LINES, Results, changes
from rnnflow.runtime import json_text

FIGURES = {"name": "gru", "accuracy": 0.99, "accuracy_low": 0.98, "accuracy_high": 0.995, "log_loss": 0.04}
VERDICT: dict[str, Any] = {
    "challenger": FIGURES,
    "production": FIGURES | {"name": "rnn", "accuracy": 0.95, "accuracy_low": 0.94, "accuracy_high": 0.96},
    "verdict": "better",
    "reasons": ["significantly more accurate"],
    "remarks": ["the test split has changed"],
}


def write(folder: Path, params: dict[str, Any], files: dict[str, int], verdict: dict[str, Any] | None) -> Results:
    """Write results as the stages and DVC leave them, and read them."""
    outs = [{"path": "reports/data/profile.json"}, {"path": "reports/comparison/verdict.json"}]
    stages = {"generate": {"params": {"params.yaml": params}, "outs": outs[:1]}, "compare": {"outs": outs[1:]}}
    YAML().dump({"stages": stages}, folder / "dvc.lock")
    for out, content in zip(outs, ({"files": files}, verdict), strict=True):
        if content is not None:
            (folder / out["path"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / out["path"]).write_text(json.dumps(json_text.sealed(content)))
    return Results.read(folder)


def test_the_verdict_comes_first_then_the_figures_data_and_params(tmp_path: Path) -> None:
    before = write(tmp_path, {"train": {"epochs": 3, "seed": 0}}, {"april": 100, "may": 50, "june": 7}, None)
    after = write(tmp_path, {"train": {"epochs": 5, "seed": 0}}, {"april": 100, "may": 1060, "july": 30}, VERDICT)
    assert changes(before, after).splitlines() == [
        "gru is better than rnn in production.",
        "- significantly more accurate",
        "- the test split has changed",
        "",
        "challenger: gru, accuracy 0.9900 (0.9800 – 0.9950), log loss 0.0400",
        "production: rnn, accuracy 0.9500 (0.9400 – 0.9600), log loss 0.0400",
        "",
        "Data:",
        "- july: new, 30 sequences",
        "- june: gone, with 7 sequences",
        "- may: 1,060 sequences, were 50",
        "",
        "Params:",
        "- train.epochs: 5, was 3",
    ]


def test_drift_of_new_files_is_said_once(tmp_path: Path) -> None:
    before = write(tmp_path, {}, {"april": 100}, None)
    after = replace(before, drift=["feature 'left': range 0 to 256, was 0 to 16"])
    assert changes(before, after) == "Drift:\n- feature 'left': range 0 to 256, was 0 to 16"
    assert changes(after, after) == ""


def test_what_has_not_changed_is_not_said(tmp_path: Path) -> None:
    same = write(tmp_path, {"train": {"epochs": 3}}, {"april": 100}, None)
    assert changes(same, same) == ""


def test_first_results_name_their_data_and_no_params(tmp_path: Path) -> None:
    first = write(tmp_path, {"train": {"epochs": 3}}, {"april": 100}, None)
    assert changes(Results.read(tmp_path / "empty"), first) == "Data:\n- april: new, 100 sequences"


def test_a_list_of_many_changes_is_cut(tmp_path: Path) -> None:
    many = write(tmp_path, {}, {f"file {number:02}": 1 for number in range(MAX_LINES + 5)}, None)
    lines = changes(Results(), many).splitlines()
    assert len(lines) == 1 + MAX_LINES + 1
    assert lines[-1] == "- and 5 more"


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (VERDICT | {"verdict": "not worse"}, "gru is not worse than rnn in production"),
        (VERDICT | {"verdict": "undecided"}, "gru is neither clearly better nor worse than rnn in production"),
        (VERDICT | {"production": None}, "gru keeps the limits, nothing is in production yet"),
        (
            VERDICT | {"production": None, "verdict": "worse"},
            "gru does not keep the limits, nothing is in production yet",
        ),
    ],
)
def test_the_verdict_is_said_in_one_sentence(tmp_path: Path, verdict: dict[str, Any], said: str) -> None:
    assert write(tmp_path, {}, {}, verdict).judged() == said
    assert Results().judged() == ""
