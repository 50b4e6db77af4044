from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from rnnflow.advice.model_selection import choose, folds, portfolio
from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.classifier import checkpoint
from rnnflow.params.models import ModelParams
from rnnflow.params.train import TrainParams
from rnnflow.runtime.provenance import file_md5
from stages import train

GIVEN: dict[str, Any] = {"cell": "rnn", "hidden_size": 2, "missing": "mask"}
OTHER = Candidate("gru-plain", {"cell": "gru", "hidden_size": 16}, {"jitter": 0.05})
SPLITS = Path("data/sequences/train"), Path("data/sequences/validation")


@pytest.fixture
def _little_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio, "candidates", lambda _: [OTHER])
    monkeypatch.setattr(portfolio, "AUGMENTATIONS", {})
    monkeypatch.setattr(portfolio, "ensemble", lambda *_: None)


def run(project: Path, output: str) -> Path:
    """Run stage train with `recipe: auto`, and return the checkpoint."""
    content = YAML(typ="safe").load((project / "params.yaml").read_text())
    content["train"]["recipe"] = "auto"
    content["models"] = {"best": GIVEN}
    YAML().dump(content, project / "params.yaml")
    file = project / output / "checkpoint.safetensors"
    folders = ["--train", str(SPLITS[0]), "--validation", str(SPLITS[1])]
    train.main(["best", "--params", "params.yaml", *folders, "--checkpoint", str(file), "--log", str(file.parent)])
    return file


@pytest.mark.usefixtures("_little_to_try")
def test_a_run_chooses_its_model_and_recipe_and_chooses_the_same_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(project, "first")
    assert "best: gru-plain: chosen" in capsys.readouterr().out
    monkeypatch.setenv("RNNFLOW_STATE", str(project / "another state"))
    assert file_md5(first) == file_md5(run(project, "second"))
    _, description = checkpoint.load(first)
    assert description.model == ModelParams.model_validate(OTHER.model | {"missing": "mask"})
    assert description.final_fit


@pytest.mark.usefixtures("_little_to_try", "project")
def test_what_has_to_stream_is_the_given_model() -> None:
    given = ModelParams.model_validate(GIVEN | {"streaming": "required"})
    model, recipe = choose.choose(given, TrainParams(engine="torch", recipe="auto", seed=5), *SPLITS, print)
    assert model == given
    assert (recipe.recipe, recipe.steps, recipe.seed) == ("given", 20, 5)


@pytest.mark.usefixtures("_little_to_try", "project")
def test_what_a_candidate_has_of_its_own_in_the_recipe_is_chosen_with_it() -> None:
    model, recipe = choose.choose(ModelParams.model_validate(GIVEN), TrainParams(engine="torch"), *SPLITS, print)
    assert model == ModelParams.model_validate(OTHER.model | {"missing": "mask"})
    assert recipe.jitter == 0.05


def test_several_processes_cannot_choose() -> None:
    with pytest.raises(ValueError, match=r"recipe: auto is for one process, got num_processes 2; use `rnnflow tune`"):
        TrainParams(recipe="auto", num_processes=2)


def test_whether_a_split_is_later_is_seen_by_its_times(tmp_path: Path) -> None:
    for name, hours in {"train": range(4), "later": range(4, 8), "beside": range(3, 7), "none": None}.items():
        table = pa.table({"id": ["a"]})
        if hours:
            times = pa.array([datetime(2026, 6, 1, hour, tzinfo=UTC) for hour in hours], pa.timestamp("us", tz="UTC"))
            table = pa.table({"time": times})
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "part-00000.parquet")
    assert folds.is_later(tmp_path / "later", tmp_path / "train")
    assert not folds.is_later(tmp_path / "train", tmp_path / "later")
    assert not folds.is_later(tmp_path / "beside", tmp_path / "train")
    assert not folds.is_later(tmp_path / "none", tmp_path / "train")
