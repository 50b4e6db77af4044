from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial

from rnnflow.evaluation.scores import intervals, metrics
from tests.evaluation.test_metrics import random_answers

KNOWN = metrics.load()
NAMES = ("log_loss", "macro_f1", "roc_auc", "average_precision", "brier", "aurc")


@settings(deadline=None, max_examples=20)
@given(num_right=st.integers(0, 60), num_wrong=st.integers(0, 60))
def test_the_interval_of_a_share_is_that_of_scipy(num_right: int, num_wrong: int) -> None:
    if num_right + num_wrong == 0:
        assert np.isnan(np.array(intervals.wilson(0, 0))).all()
        return
    expected = binomtest(num_right, num_right + num_wrong).proportion_ci(method="wilson")
    assert intervals.wilson(num_right, num_right + num_wrong) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("share_gained", [0.0, 0.1])
@pytest.mark.parametrize(("size", "margin"), [(100, 0.1), (300, 0.02)])
def test_a_loss_of_just_the_margin_is_shown_to_be_less_once_in_twenty_times(
    size: int, margin: float, share_gained: float
) -> None:
    counts = np.arange(61)
    lost, gained = (each.ravel() for each in np.meshgrid(counts, counts))
    lost, gained = lost[lost + gained <= size], gained[lost + gained <= size]
    tables = np.stack([lost, gained, size - lost - gained], axis=1)
    chances = multinomial(size, [share_gained + margin, share_gained, 1 - 2 * share_gained - margin]).pmf(tables)
    assert chances.sum() == pytest.approx(1, abs=1e-4)
    shown = [
        intervals.is_shown_to_lose_less(*each, size, margin)
        for each in zip(lost.tolist(), gained.tolist(), strict=True)
    ]
    assert chances[shown].sum() == pytest.approx(0.05, abs=0.011)


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.15])
def test_a_loss_is_shown_by_a_number_of_sequences_and_not_by_one_less(margin: float) -> None:
    fewest = intervals.fewest_to_show(margin)
    assert intervals.is_shown_to_lose_less(0, 0, fewest, margin)
    assert not intervals.is_shown_to_lose_less(0, 0, fewest - 1, margin)
    assert not intervals.is_shown_to_lose_less(1, 0, fewest, margin)


def test_every_metric_has_an_interval_around_it_within_its_range() -> None:
    for name, (estimate, low, high) in intervals.intervals(random_answers(500, 0), KNOWN, 200).items():
        assert (low <= estimate).all(), name
        assert (estimate <= high).all(), name
        assert (low >= 0).all(), name
        assert (high <= KNOWN[name].upper).all(), name


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    truth = {
        name: values[0]
        for name, values in intervals.intervals(
            random_answers(100_000, 99), {name: KNOWN[name] for name in NAMES}, 100
        ).items()
    }
    covered = dict.fromkeys(NAMES, 0)
    for seed in range(60):
        found = intervals.intervals(random_answers(300, seed), {name: KNOWN[name] for name in NAMES}, 200)
        for name in NAMES:
            _, low, high = found[name][:, 0]
            covered[name] += bool(low <= truth[name][0] <= high)
    assert {name: count for name, count in covered.items() if count < 51} == {}  # 60 tries at 95 %: below once in 1,000


def test_sequences_of_groups_that_are_alike_tell_less() -> None:
    single = random_answers(50, 0)
    rows = np.repeat(np.arange(50), 20)
    many = random_answers(1000, 0)
    alike = type(single)(
        single.labels[rows], single.probabilities[rows], single.classes, many.lengths, rows, ["g"] * 50
    )
    for name in ("accuracy", "macro_f1", "log_loss"):
        ((_, low, high),) = intervals.intervals(alike, {name: KNOWN[name]}, 400)[name][:, :1].T
        ((_, low_alone, high_alone),) = intervals.intervals(single, {name: KNOWN[name]}, 400)[name][:, :1].T
        assert high - low > 0.7 * (high_alone - low_alone), name


def test_groups_drawn_as_a_whole_give_what_their_sequences_give_one_by_one() -> None:
    """The sums of each group are taken once; a resample that counts each of its sequences so often is the same."""
    groups = np.random.default_rng(1).integers(0, 20, 300)
    whole = replace(random_answers(300, 0), units=groups)
    drawn = np.random.default_rng(2).integers(0, 4, (20, 5)).astype(np.float64)
    for name, metric in KNOWN.items():
        if metric.measure:
            found, expected = metric.measure(whole)(drawn), metric.measure(random_answers(300, 0))(drawn[groups])
            np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=name)


def test_of_very_many_groups_several_drawn_together_show_the_same_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.repeat(np.arange(4000), 2)  # of two sequences that are alike
    single = random_answers(4000, 0)
    found = replace(
        random_answers(8000, 0), labels=single.labels[groups], probabilities=single.probabilities[groups], groups=groups
    )
    known = {name: KNOWN[name] for name in ("macro_f1", "log_loss", "roc_auc")}
    few = intervals.intervals(found, known, 1000)
    monkeypatch.setattr(intervals, "MAX_GROUPS", 4000)
    all_ = intervals.intervals(found, known, 1000)
    for name in known:
        (_, low, high), (_, low_of_few, high_of_few) = all_[name][:, 0], few[name][:, 0]
        assert high_of_few - low_of_few == pytest.approx(high - low, rel=0.15), name


def test_ranks_in_the_resamples_move_an_interval_by_nothing_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    found = random_answers(1000, 0)
    ranked = {name: KNOWN[name] for name in ("roc_auc", "average_precision", "aurc")}
    coarse = intervals.intervals(found, ranked, 100)
    monkeypatch.setattr(intervals, "MAX_RANKS", None)
    exact = intervals.intervals(found, ranked, 100)
    for name in ranked:
        _, low, high = exact[name]
        np.testing.assert_allclose(coarse[name], exact[name], atol=0.03 * float((high - low).max()))


def test_they_are_the_same_each_time() -> None:
    first, second = (intervals.intervals(random_answers(100, 0), KNOWN, 100) for _ in range(2))
    for name, found in first.items():
        np.testing.assert_array_equal(found, second[name])


def test_of_very_many_sequences_some_tell_how_wide_an_interval_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found, known = random_answers(4000, 0), {name: KNOWN[name] for name in NAMES}
    of_all = intervals.intervals(found, known, 300)
    monkeypatch.setattr(intervals, "MAX_SEQUENCES", 1000)
    of_some = intervals.intervals(found, known, 300)
    for name in NAMES:
        (estimate, low, high), (same, low_of_some, high_of_some) = of_all[name][:, 0], of_some[name][:, 0]
        assert estimate == same
        assert high_of_some - low_of_some == pytest.approx(high - low, rel=0.25), name
