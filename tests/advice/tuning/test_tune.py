import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from rnnflow.advice.model_selection import cross_validation, folds, portfolio
from rnnflow.advice.tuning import minirocket
from rnnflow.classifier import safetensors_files
from rnnflow.cli import main
from rnnflow.params import whole
from rnnflow.params.train import TrainParams
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.dataset import SequenceDataset
from tests.advice.conftest import YAML_TEXT


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["tune", *arguments])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_best_model_and_its_recipe_are_written_the_rest_is_kept_and_nothing_is_tried_again(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = (project / "params.yaml").read_text()
    main(["tune", "--folds", "2"])
    printed = capsys.readouterr().out
    params = whole.load(project / "params.yaml")
    (name,) = params.models
    assert f"models and train are now those of {name}" in printed
    tried = portfolio.candidates(16)
    tried += [portfolio.noisier(each) for each in tried]
    tried += [several for each in tried if (several := portfolio.ensemble(each, 1, 3))]
    assert params.models[name] == next(each.params for each in tried if each.name == name)
    ensembles = tuple(f"{each.name}-x{portfolio.NUM_MEMBERS}: " for each in tried)
    assert any(line.startswith(ensembles) for line in printed.splitlines())
    assert (params.train.engine, params.train.seed, params.train.steps, params.train.epochs) == ("torch", 3, 20, None)
    text = (project / "params.yaml").read_text()
    assert text.startswith("# a comment at the top\n")
    assert "# kept, as is this comment" in text
    assert YAML(typ="safe").load(text)["train"]["epochs"] is None
    assert "epochs: null" in text
    (project / "params.yaml").write_text(original)

    def fit(*_: Any) -> None:
        raise AssertionError("a fit was done again")

    monkeypatch.setattr(cross_validation.CrossValidation, "_fit", fit)
    main(["tune", "--folds", "2"])
    assert capsys.readouterr().out == printed
    assert (project / "params.yaml").read_text() == text


def test_a_damaged_result_of_before_is_said_and_counts_as_missing(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "kept.safetensors"
    safetensors_files.write(path, {"probabilities": np.eye(2)}, {})
    assert cross_validation._is_kept(path, said.append)
    path.write_bytes(path.read_bytes()[:-1])
    assert not cross_validation._is_kept(path, said.append)
    assert "trained anew" in said[0]


def test_a_budget_under_one_model_is_refused_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--minutes 1e-05: less than the 9 fits of one model take" in refusal(capsys, "--minutes", "0.00001")
    assert (project / "params.yaml").read_text() == YAML_TEXT
    assert "expected more than 0" in refusal(capsys, "--minutes", "0")
    assert "--folds 1: expected at least 2" in refusal(capsys, "--folds", "1")


def test_without_a_data_set_it_says_how_to_make_one(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run `dvc repro generate` first" in refusal(capsys, "--train", str(project / "nowhere"))


def columns(**named: Any) -> pa.Table:
    return pa.table(named) if named else pa.table({"row": [0]}).select([])


def test_groups_stay_together() -> None:
    labels = np.arange(24) % 2
    groups = np.array([f"g{index // 4}" for index in range(24)])
    for fold in folds.make(labels, columns(group=groups), 3, is_by_time=False):
        assert not set(groups[fold.train]) & set(groups[fold.held_out])
    with pytest.raises(InputError, match="2 groups for 3 folds"):
        folds.make(labels, columns(group=np.array(["a", "b"] * 12)), 3, is_by_time=False)


def test_what_came_later_is_held_out() -> None:
    times = np.random.default_rng(0).permutation(20)
    column = pa.array(times, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    parts = folds.make(np.arange(20) % 2, columns(time=column), 3, is_by_time=True)
    assert len(parts) == 3
    assert all(times[fold.train].max() < times[fold.held_out].min() for fold in parts)


@pytest.mark.parametrize("counts", [(9, 2, 1), (2,) * 52, (1, 1, 2), (5,) * 10, (40, 27)])
def test_each_class_of_two_is_held_out_and_always_trained_on_and_a_single_sequence_is_only_trained_on(
    counts: tuple[int, ...],
) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = folds.make(labels, columns(), 3, is_by_time=False)
    held_out = np.concatenate([fold.held_out for fold in parts])
    assert sorted(held_out) == np.flatnonzero(np.array(counts)[labels] > 1).tolist()
    assert all(set(labels[fold.train]) == set(labels) for fold in parts)
    sizes = [len(fold.held_out) for fold in parts]
    assert max(sizes) - min(sizes) <= 1


def test_one_sequence_of_each_class_is_refused() -> None:
    with pytest.raises(InputError, match="one sequence of each class"):
        folds.make(np.arange(5), columns(), 3, is_by_time=False)


def score(name: str, right: list[int], log_loss: float = 0.5) -> cross_validation.Score:
    """Return the score of a model that is right on these of 50 sequences."""
    candidate = portfolio.Candidate(name, {"cell": "gru"})
    return cross_validation.Score(candidate, np.isin(np.arange(50), right).astype(float), log_loss, 1, 1.0)


def test_equal_accuracy_is_decided_by_log_loss() -> None:
    scores = [
        score("stem-40", [*range(40)], 0.1),
        score("stem-100", [*range(45)], 0.9),
        score("stem-7", [*range(45)], 0.5),
    ]
    assert cross_validation.best(scores) is scores[2]


def test_the_lowest_log_loss_is_chosen_unless_it_is_worse_by_more_than_chance() -> None:
    single, by_one = score("stem-40", [*range(40)], 0.5), score("lstm-30", [*range(39)], 0.3)
    assert cross_validation.best([single, by_one]) is by_one
    assert cross_validation.best([single, score("lstm-30", [*range(39)], 0.6)]) is single
    assert cross_validation.best([single, score("lstm-30", [*range(35)], 0.3)]) is single
    other_errors = score("lstm-30", [*range(5, 43)], 0.3)
    assert cross_validation.best([single, other_errors]) is other_errors
    assert cross_validation.most_accurate([single, other_errors]) is single


def test_what_several_deals_agree_on_counts_no_more_than_that_of_one() -> None:
    always, often = score("stem-40", [*range(40)]), score("lstm-30", [*range(40)], 0.3)
    often.is_right[0], often.is_right[40] = 1 / 3, 1 / 3
    assert cross_validation.best([always, often]) is often
    often.is_right[:2] = 0
    assert cross_validation.best([always, often]) is always


def test_a_few_dozen_sequences_are_dealt_into_folds_several_times(project: Path) -> None:
    assert [folds.num_deals(number) for number in (24, 80)] == [3, 1]
    data, columns_ = folds.load(project / "data/sequences/train", project / "data/sequences/validation")
    once, often = (folds.make(data.labels, columns_, 3, is_by_time=False, num_deals=deals) for deals in (1, 3))
    assert [fold.train.tolist() for fold in often[:3]] == [fold.train.tolist() for fold in once]
    assert len({tuple(fold.held_out) for fold in often}) == 9
    recipe = TrainParams(engine="torch", epochs=1)
    trial = cross_validation.CrossValidation(data, "key", often, recipe, 1000.0, lambda line: None)
    found = trial.score(portfolio.candidates(16)[-1])
    assert len(found.is_right) == len(data)
    assert set((3 * found.is_right).round(9)) <= {0, 1, 2, 3}
    groups = np.arange(24) // 4
    assert len(folds.make(data.labels, columns(group=groups), 3, is_by_time=False, num_deals=2)) == 6
    times = columns(time=pa.array(np.arange(24), pa.timestamp("us")))
    assert len(folds.make(data.labels, times, 3, is_by_time=True, num_deals=2)) == 3


def test_a_candidate_that_cannot_win_any_more_is_given_up(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, columns_ = folds.load(project / "data/sequences/train", project / "data/sequences/validation")
    recipe = TrainParams(engine="torch", epochs=1)
    parts = folds.make(data.labels, columns_, 3, is_by_time=False)
    said: list[str] = []
    trial = cross_validation.CrossValidation(data, "key", parts, recipe, 1000.0, said.append)
    candidate = portfolio.candidates(16)[-1]
    accuracy = trial.score(candidate).accuracy
    assert trial.score(candidate, accuracy).accuracy == accuracy
    assert accuracy < 1
    said.clear()
    with pytest.raises(cross_validation.BeatenError):
        trial.score(candidate, 1.0)
    assert len(said) < len(parts)


def test_series_of_one_length_keep_their_ends_and_miss_nothing() -> None:
    values = np.array([[0], [np.nan], [2], [5], [7]], np.float32)
    split = SequenceDataset(values, np.array([0, 3, 5]), np.array([0, 1], np.int32), ("x",), ("a", "b"))
    assert minirocket.as_series(split, 3).tolist() == [[[0, 1, 2]], [[5, 6, 7]]]


@pytest.mark.slow
def test_minirocket_is_judged_on_the_same_folds(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    data, columns_ = folds.load(project / "data/sequences/train", project / "data/sequences/validation")
    parts = folds.make(data.labels, columns_, 3, is_by_time=False)
    found = minirocket.num_right(data, parts, print, math.inf)
    assert found
    assert found[0] > 0.8 * len(data)
    assert minirocket.num_right(data, parts, print, -math.inf) is None
