import math
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from rnnflow.advice.model_selection import portfolio
from rnnflow.advice.model_selection.cross_validation import CrossValidation, GivenUpError, Score
from rnnflow.advice.model_selection.portfolio import Candidate
from rnnflow.advice.tuning import search, tune
from rnnflow.cli import main
from rnnflow.params import whole
from rnnflow.runtime.errors import InputError
from rnnflow.training.loop import Epoch
from tests.advice.tuning.test_tune import refusal


@pytest.fixture
def _little_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Candidate("gru-plain", {"cell": "gru", "hidden_size": 16})
    monkeypatch.setattr(portfolio, "candidates", lambda _: [start])
    monkeypatch.setattr(portfolio, "ensemble", lambda *_: None)
    monkeypatch.setattr(portfolio, "AUGMENTATIONS", {})
    monkeypatch.setattr(portfolio, "NUM_STEPS", 4)
    monkeypatch.setattr(search, "MOST_TRIALS", 4)


def trials(project: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{project / 'state/tuning/search.sqlite'}"
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage).trials


@pytest.mark.slow
@pytest.mark.usefixtures("_little_to_try")
def test_a_search_goes_on_from_the_best_model_and_a_second_one_does_nothing_again(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["tune", "--folds", "2", "--search"]
    original = (project / "params.yaml").read_text()
    main(arguments)
    first, chosen = capsys.readouterr().out, (project / "params.yaml").read_text()
    assert "trials finished" in first
    assert (project / "reports/tuning.svg").read_text().startswith("<svg")
    found = trials(project)
    assert len([trial for trial in found if trial.state.is_finished()]) == 4
    params = whole.load(project / "params.yaml")
    (name,) = params.models
    if "trial" in name:
        (trial,) = [trial for trial in found if name.endswith(f"-{trial.number}")]
        assert params.train.learning_rate == pytest.approx(trial.params["learning_rate"], rel=0.01)
        assert params.models[name].hidden_size == trial.params["hidden_size"]
    (project / "params.yaml").write_text(original)

    def fit(*_: object) -> None:
        raise AssertionError("a fit was done again")

    monkeypatch.setattr(CrossValidation, "_fit", fit)
    main(arguments)
    assert (project / "params.yaml").read_text() == chosen
    assert len(trials(project)) == len(found)


@pytest.mark.slow
@pytest.mark.usefixtures("_little_to_try")
def test_a_search_that_was_cut_short_goes_on_with_the_same_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = CrossValidation.score

    def killed(self: CrossValidation, candidate: Candidate, *arguments: object, **named: object) -> Score:
        if candidate.name.endswith("trial-2"):
            raise KeyboardInterrupt
        return score(self, candidate, *arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(CrossValidation, "score", killed)
        with pytest.raises(SystemExit):
            main(["tune", "--folds", "2", "--search"])
    assert trials(project)[-1].state == TrialState.RUNNING
    main(["tune", "--folds", "2", "--search"])
    found = trials(project)
    assert found[2].state == TrialState.FAIL
    assert found[3].params == found[2].params
    assert found[3].state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert len({trial.params["learning_rate"] for trial in found}) == len(found) - 1


def test_a_trial_that_does_worse_than_most_is_given_up_at_one_of_a_few_looks() -> None:
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(1))
    before = study.ask()
    for look in range(search.NUM_LOOKS + 1):
        before.report(0.5, look)
    study.tell(before, 0.5)
    trial = study.ask()
    on_epoch = search._pruning(trial)
    for done in range(1, 100 // search.NUM_LOOKS):
        on_epoch(0, 100, done, Epoch(math.nan, 0.9, 0.0, 0.0))  # between two looks
    with pytest.raises(GivenUpError):
        on_epoch(0, 100, 100 // search.NUM_LOOKS, Epoch(math.nan, 0.9, 0.0, 0.0))


def test_without_optuna_a_search_says_how_to_get_it(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "find_spec", lambda _: None)
    assert "pip install 'rnnflow[search]'" in refusal(capsys, "--search")


def test_a_damaged_study_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "search.sqlite"
    file.write_bytes(b"no data base" * 100)
    with pytest.raises(InputError, match=r"search.sqlite: no study can be kept here, move it away: .*not a database"):
        search.study_in(file, "name")
