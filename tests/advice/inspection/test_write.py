from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnnflow.advice.model_selection import portfolio
from rnnflow.params import whole

PARAMS = """generate: {source: sum_sign}
train:
  engine: numba  # stays
models: {rnn: {cell: rnn}}
evaluate: {}
export: {}
compare: {}
report: {}
"""


@pytest.fixture
def recordings(raw: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    lines = ["id,label,x"]
    for index in range(40):
        values = rng.standard_normal(60)
        lines += [f"r{index},{'ab'[index % 2]},{value:.4f}" for value in values]
    (raw / "all.csv").write_text("\n".join(lines))
    params = raw.parent.parent / "params.yaml"
    params.write_text(PARAMS)
    monkeypatch.chdir(params.parent)
    return params


def test_the_section_and_a_model_for_such_data_are_written(recordings: Path, inspected: Callable[..., str]) -> None:
    printed = inspected("data/raw", "--write")
    assert "models and train are a start for such data" in printed
    params = whole.load(recordings)
    assert params.generate.source == "files"
    start = portfolio.candidates(60)[0]
    assert params.models == {start.name: start.params}
    assert (params.train.steps, params.train.epochs) == (1000, None)
    assert "# stays" in recordings.read_text()


def test_nothing_is_written_without_being_asked_or_where_files_lie_elsewhere(
    recordings: Path, inspected: Callable[..., str], refused: Callable[..., tuple[str, str]]
) -> None:
    inspected("data/raw")
    assert recordings.read_text() == PARAMS
    elsewhere = recordings.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "all.csv").write_bytes((recordings.parent / "data/raw/all.csv").read_bytes())
    assert "--write: the files must be below data/raw" in refused(elsewhere, "--write")[1]
    assert recordings.read_text() == PARAMS
