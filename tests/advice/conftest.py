from pathlib import Path

import numpy as np
import pytest

from rnnflow.advice.model_selection import portfolio
from rnnflow.advice.tuning import minirocket
from tests import toys

YAML_TEXT = """# a comment at the top
generate: {source: files}
train:
  engine: torch       # kept, as is this comment
  epochs: 80
  seed: 3
models:
  rnn: {cell: rnn}
evaluate: {}
export: {}
compare: {}
report: {}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params and a data set, and recipes of a few steps."""
    rng = np.random.default_rng(0)
    for split, number in (("train", 18), ("validation", 6)):
        labels = ["down", "level", "up"] * (number // 3)
        slopes = {"down": -1, "level": 0, "up": 1}
        sequences = [
            (slopes[label] * np.arange(16)[:, None] + rng.standard_normal((16, 1))).astype(np.float32)
            for label in labels
        ]
        path = tmp_path / "data" / "sequences" / split / "part-00000.parquet"
        path.parent.mkdir(parents=True)
        toys.write_sequences(path, sequences, labels, ["x"])
    (tmp_path / "params.yaml").write_text(YAML_TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNFLOW_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(portfolio, "NUM_STEPS", 20)
    monkeypatch.setattr(portfolio, "NUM_EPOCHS", 1)
    monkeypatch.setattr(minirocket, "MOST_VALUES", 0)  # it is tested by itself, and takes seconds to import
    return tmp_path
