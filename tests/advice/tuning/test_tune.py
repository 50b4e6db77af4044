import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from rnnflow.advice.model_selection import choose, cross_validation, folds, portfolio
from rnnflow.advice.model_selection.cross_validation import CrossValidation, OnEpoch, Score
from rnnflow.advice.model_selection.portfolio import Candidate
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
    for augmentation in portfolio.AUGMENTATIONS:
        tried += [portfolio.toggled(each, augmentation) for each in tried]
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

    monkeypatch.setattr(CrossValidation, "_fit", fit)
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
    assert "--minutes 1e-05: less than the 3 fits of one model take" in refusal(capsys, "--minutes", "0.00001")
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
    (deal,) = folds.make(labels, columns(group=groups), 3, is_by_time=False)
    for fold in deal:
        assert not set(groups[fold.train]) & set(groups[fold.held_out])
    with pytest.raises(InputError, match="2 groups for 3 folds"):
        folds.make(labels, columns(group=np.array(["a", "b"] * 12)), 3, is_by_time=False)


def test_what_came_later_is_held_out() -> None:
    times = np.random.default_rng(0).permutation(20)
    column = pa.array(times, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    (parts,) = folds.make(np.arange(20) % 2, columns(time=column), 3, is_by_time=True, num_deals=2)
    assert len(parts) == 3
    assert all(times[fold.train].max() < times[fold.held_out].min() for fold in parts)


@pytest.mark.parametrize("counts", [(9, 2, 1), (2,) * 52, (1, 1, 2), (5,) * 10, (40, 27)])
def test_each_class_of_two_is_held_out_and_always_trained_on_and_a_single_sequence_is_only_trained_on(
    counts: tuple[int, ...],
) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    (parts,) = folds.make(labels, columns(), 3, is_by_time=False)
    held_out = np.concatenate([fold.held_out for fold in parts])
    assert sorted(held_out) == np.flatnonzero(np.array(counts)[labels] > 1).tolist()
    assert all(set(labels[fold.train]) == set(labels) for fold in parts)
    sizes = [len(fold.held_out) for fold in parts]
    assert max(sizes) - min(sizes) <= 1


def test_one_sequence_of_each_class_is_refused() -> None:
    with pytest.raises(InputError, match="one sequence of each class"):
        folds.make(np.arange(5), columns(), 3, is_by_time=False)


def score(name: str, right: list[int], log_loss: float = 0.5, num_deals: int = 1) -> Score:
    """Return the score of a model that is right on these of 50 sequences."""
    candidate = Candidate(name, {"cell": "gru"})
    return Score(candidate, np.isin(np.arange(50), right).astype(float), num_deals, log_loss, 1, 1.0)


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


def test_the_sequences_are_dealt_into_other_folds_each_time(project: Path) -> None:
    data, columns_ = folds.load(project / "data/sequences/train", project / "data/sequences/validation")
    once, often = (folds.make(data.labels, columns_, 3, is_by_time=False, num_deals=deals) for deals in (1, 3))
    assert [fold.train.tolist() for fold in often[0]] == [fold.train.tolist() for fold in once[0]]
    assert len({tuple(fold.held_out) for deal in often for fold in deal}) == 9
    trial = CrossValidation(data, "key", often, TrainParams(engine="torch", epochs=1), 1000.0, lambda line: None)
    found = trial.score(portfolio.candidates(16)[-1], num_deals=3)
    assert (found.num_deals, len(found.is_right)) == (3, len(data))
    assert set((3 * found.is_right).round(9)) <= {0, 1, 2, 3}
    groups = np.arange(24) // 4
    assert [len(deal) for deal in folds.make(data.labels, columns(group=groups), 3, is_by_time=False, num_deals=2)] == [
        3,
        3,
    ]


class Deals(CrossValidation):
    """Has the scores of each number of deals ready, by name; a deal of a candidate takes a second."""

    def __init__(self, *ready: dict[str, Score]) -> None:
        self.ready, self.deals = ready, [[] for _ in ready]
        self.asked: list[tuple[str, int]] = []
        self.said: list[str] = []
        self.say, self.budget, self.end = self.said.append, math.inf, math.inf

    def score(
        self, candidate: Candidate, num_deals: int = 1, accuracy_to_reach: float = 0.0, on_epoch: OnEpoch | None = None
    ) -> Score:
        self.asked.append((candidate.name, num_deals))
        return self.ready[num_deals - 1][candidate.name]


def test_those_that_may_be_the_best_are_held_out_again_until_one_is_left() -> None:
    first = {"a": score("a", [*range(40)]), "b": score("b", [*range(39)]), "c": score("c", [*range(20)])}
    second = {"a": score("a", [*range(30)], 0.5, 2), "b": score("b", [*range(40)], 0.5, 2)}
    trial = Deals(first, second, {})
    found = choose._dealt_again(trial, [*first.values()])
    assert trial.asked == [("a", 2), ("b", 2)]
    assert found == [second["a"], second["b"], first["c"]]
    assert cross_validation.best(found) is second["b"]
    assert cross_validation.most_accurate([score("c", [*range(50)]), *found]) is second["b"]


def test_a_deal_that_the_budget_does_not_allow_is_left_out_whole() -> None:
    first = {"a": score("a", [*range(40)]), "b": score("b", [*range(39)])}
    trial = Deals(first, {}, {})
    trial.end = time.process_time() + 1
    assert choose._dealt_again(trial, [*first.values()]) == [*first.values()]
    assert trial.said == ["deal 2 of 3: left out, it takes about 0.0 minutes of CPU time"]
    assert not trial.asked


def test_a_candidate_that_cannot_win_any_more_is_given_up(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, columns_ = folds.load(project / "data/sequences/train", project / "data/sequences/validation")
    recipe = TrainParams(engine="torch", epochs=1)
    deals = folds.make(data.labels, columns_, 3, is_by_time=False)
    said: list[str] = []
    trial = CrossValidation(data, "key", deals, recipe, 1000.0, said.append)
    candidate = portfolio.candidates(16)[-1]
    accuracy = trial.score(candidate).accuracy
    assert trial.score(candidate, accuracy_to_reach=accuracy).accuracy == accuracy
    assert accuracy < 1
    said.clear()
    with pytest.raises(cross_validation.BeatenError):
        trial.score(candidate, accuracy_to_reach=1.0)
    assert len(said) < len(deals[0])


def test_series_of_one_length_keep_their_ends_and_miss_nothing() -> None:
    values = np.array([[0], [np.nan], [2], [5], [7]], np.float32)
    split = SequenceDataset(values, np.array([0, 3, 5]), np.array([0, 1], np.int32), ("x",), ("a", "b"))
    assert minirocket.as_series(split, 3).tolist() == [[[0, 1, 2]], [[5, 6, 7]]]


@pytest.mark.slow
def test_minirocket_is_judged_on_the_same_folds(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    data, columns_ = folds.load(project / "data/sequences/train", project / "data/sequences/validation")
    (parts,) = folds.make(data.labels, columns_, 3, is_by_time=False)
    found = minirocket.num_right(data, parts, print, math.inf)
    assert found
    assert found[0] > 0.8 * len(data)
    assert minirocket.num_right(data, parts, print, -math.inf) is None
