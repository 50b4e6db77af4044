import pytest

from flows.outcomes import Outcomes
from flows.repository.pipeline import Stage
from flows.supervision.dvc import Failure, Outcome, StageError


def stage(name: str, *upstream: str, is_stale: bool = True) -> Stage:
    return Stage(name, frozenset(upstream), is_stale, is_new=False)


def failure(name: str, message: str = "out of luck") -> StageError:
    return StageError(name, Failure.PERMANENT, message)


def test_a_stage_that_was_up_to_date_before_the_run_is_settled() -> None:
    assert Outcomes().is_settled(stage("generate", is_stale=False))
    assert not Outcomes().is_settled(stage("generate", is_stale=True))


@pytest.mark.parametrize(
    ("how", "is_settled"), [(Outcome.UP_TO_DATE, True), (Outcome.RESTORED, False), (Outcome.RAN, False)]
)
def test_a_stage_is_asked_again_after_one_it_depends_on_has_moved(how: Outcome, is_settled: bool) -> None:
    outcomes = Outcomes({"generate": Outcome.UP_TO_DATE, "train": how})
    assert outcomes.is_settled(stage("evaluate", "generate", "train", is_stale=False)) is is_settled


def test_a_stage_that_ran_on_a_worker_has_moved() -> None:
    assert not Outcomes({"train": "ran on gpu-pool"}).is_settled(stage("evaluate", "train", is_stale=False))


def test_a_failure_blocks_what_depends_on_it_however_far_and_nothing_else() -> None:
    outcomes = Outcomes(done={"generate": Outcome.RAN}, failed={"train@rnn": failure("train@rnn")})
    assert outcomes.is_blocked(stage("evaluate@rnn", "generate", "train@rnn"))
    assert outcomes.is_blocked(stage("export@rnn", "evaluate@rnn"))
    assert not outcomes.is_blocked(stage("train@gru", "generate"))
    assert outcomes.blocked == {"evaluate@rnn": "train@rnn", "export@rnn": "evaluate@rnn"}
    assert outcomes.known() == {"generate", "train@rnn", "evaluate@rnn", "export@rnn"}


def test_each_stage_tells_what_has_become_of_it() -> None:
    outcomes = Outcomes({"generate": Outcome.RESTORED}, {"train": failure("train")}, {"evaluate": "train"})
    assert outcomes["generate"] == "restored from the run cache"
    assert outcomes["train"] == "failed: out of luck"
    assert outcomes["evaluate"] == "not run, waits for train"


def test_the_summary_counts_how_stages_came_up_to_date() -> None:
    outcomes = Outcomes({"a": Outcome.UP_TO_DATE, "b": Outcome.RAN, "c": Outcome.UP_TO_DATE})
    assert outcomes.summary() == "3 stages: 2 up to date, 1 ran"


def test_the_summary_is_short_when_there_was_nothing_to_do() -> None:
    assert Outcomes({"a": Outcome.UP_TO_DATE, "b": Outcome.UP_TO_DATE}).summary() == "up to date"


def test_the_summary_of_a_failure_is_its_own_line() -> None:
    outcomes = Outcomes({"a": Outcome.RAN}, {"b": failure("b", "data/raw: no files")})
    with pytest.raises(StageError) as raised:
        outcomes.summary()
    assert str(raised.value) == "b: data/raw: no files"
    assert raised.value.stage == "b"


def test_the_summary_of_failures_has_the_line_of_each_and_what_waits_for_them() -> None:
    failed = {name: failure(name, f"no {name}") for name in ("b", "c", "d")}
    with pytest.raises(StageError) as raised:
        Outcomes({}, failed, {"e": "b", "f": "e"}).summary()
    assert str(raised.value) == "b: no b; c: no c; d: no d; not run: e, f"


def test_the_summary_names_what_was_trained_and_not_what_was_restored() -> None:
    done = {"train@rnn": "ran on gpu-pool", "train@lstm": Outcome.RESTORED, "train@gru": Outcome.RAN, "compare": "ran"}
    assert Outcomes(done).trained() == "trained gru, rnn"
    assert Outcomes(done).summary("", "published as auto/main").endswith("; trained gru, rnn; published as auto/main")
    assert Outcomes({"train@gru": Outcome.UP_TO_DATE}).summary("nothing new") == "up to date; nothing new"


def test_a_failure_comes_first_and_then_what_the_others_have_come_to() -> None:
    outcomes = Outcomes(
        {"train@rnn": Outcome.RAN}, {"train@gru": failure("train@gru", "no data")}, {"compare": "train@gru"}
    )
    with pytest.raises(StageError) as raised:
        outcomes.summary("published as auto/main")
    said = "train@gru: no data; not run: compare; the rest: trained rnn; published as auto/main"
    assert str(raised.value) == said
