import numpy as np
import pytest
from sklearn.metrics import f1_score

from rnnflow.evaluation.comparison import comparison, paired_bootstrap
from rnnflow.evaluation.comparison.comparison import Verdict, compare, judge
from rnnflow.evaluation.comparison.paired_bootstrap import Pairs
from rnnflow.evaluation.scores.scoring import Scores
from rnnflow.params.compare import CompareParams

SETTINGS = CompareParams()
CLASSES = ("a", "b", "c", "d", "e")


def pairs(
    rng: np.random.Generator,
    num_sequences: int,
    won: float,
    lost: float,
    class_sizes: dict[int, int] | None = None,
    class_loss: float = 0.0,
    groups: np.ndarray | None = None,
) -> Pairs:
    """Return what two models answer that differ on a share of the sequences.

    Args:
        rng: draws them.
        num_sequences: of the test split.
        won: share that only the challenger gets right.
        lost: share that only the production model gets right.
        class_sizes: sequences of a class, for those that do not share the rest evenly.
        class_loss: what is lost besides, in class 0 only.
        groups: of the sequences.
    """
    labels = rng.integers(1 if class_sizes else 0, len(CLASSES), num_sequences)
    for label, size in (class_sizes or {}).items():
        labels[:size] = label
    drawn = rng.random(num_sequences)
    lost_here = lost + class_loss * (labels == 0)
    only_challenger, only_production = drawn < won, (drawn >= won) & (drawn < won + lost_here)
    both_wrong = drawn > 0.92
    wrong = (labels + 1) % len(CLASSES)
    return Pairs(
        labels.astype(np.int32),
        _scores(labels, wrong, only_production | both_wrong),
        _scores(labels, wrong, only_challenger | both_wrong),
        CLASSES,
        groups,
    )


def _scores(labels: np.ndarray, wrong: np.ndarray, is_wrong: np.ndarray) -> Scores:
    predictions = np.where(is_wrong, wrong, labels).astype(np.int32)
    return Scores(predictions, np.where(is_wrong, 2.0, 0.1).astype(np.float32))


def verdict(found: Pairs, settings: CompareParams = SETTINGS) -> Verdict:
    return judge(compare(found, settings), settings).verdict


def verdicts(num_runs: int, *shape: float, seed: int = 0, **more: object) -> list[Verdict]:
    size, won, lost = shape
    rngs = np.random.default_rng(seed).spawn(num_runs)
    return [verdict(pairs(rng, int(size), won, lost, **more)) for rng in rngs]  # type: ignore[arg-type]


NUM_RUNS = pytest.mark.parametrize(
    "num_runs", [200, pytest.param(2000, marks=pytest.mark.endurance)], ids=["quick", "thorough"]
)


@NUM_RUNS
@pytest.mark.parametrize("size", [500, 10_000])
def test_of_equal_models_at_most_one_in_twenty_is_called_better(num_runs: int, size: int) -> None:
    assert verdicts(num_runs, size, 0.03, 0.03).count("better") <= 0.05 * num_runs


@NUM_RUNS
def test_a_model_two_points_better_is_found(num_runs: int) -> None:
    assert verdicts(num_runs, 10_000, 0.05, 0.03).count("better") >= 0.95 * num_runs


@NUM_RUNS
@pytest.mark.parametrize("won", [0.03, 0.05])
def test_a_class_five_points_worse_stops_a_model_that_is_no_worse_as_a_whole(num_runs: int, won: float) -> None:
    found = verdicts(num_runs, 10_000, won, 0.03, class_sizes={0: 500}, class_loss=0.05 + (won - 0.03))
    assert found.count("worse") + found.count("undecided") >= 0.95 * num_runs


def test_a_model_five_points_worse_is_called_worse() -> None:
    assert verdicts(50, 10_000, 0.01, 0.06).count("worse") == 50


def test_groups_count_and_not_their_sequences() -> None:
    """Ten subjects of 500 sequences each, of which a few differ: five thousand like answers are no evidence."""
    groups = np.repeat(np.arange(10), 500)
    found = []
    for rng in np.random.default_rng(0).spawn(100):
        sample = pairs(rng, 5000, 0.0, 0.0)
        side = rng.integers(-1, 2, 10)[groups] * (rng.random(5000) < 0.1)
        wrong = (sample.labels + 1) % len(CLASSES)
        challenger, production = _scores(sample.labels, wrong, side > 0), _scores(sample.labels, wrong, side < 0)
        found.append([verdict(Pairs(sample.labels, challenger, production, CLASSES, of)) for of in (groups, None)])
    with_groups, without = ([row[index] for row in found].count("better") for index in (0, 1))
    assert without > 20
    assert with_groups <= 8


def test_the_same_model_is_not_worse_than_itself() -> None:
    sample = pairs(np.random.default_rng(0), 1000, 0.05, 0.05)
    found = compare(Pairs(sample.labels, sample.production, sample.production, CLASSES), SETTINGS)
    assert found.p_value == 1.0
    assert {(entry.estimate, entry.low, entry.high) for entry in found.differences.values()} == {(0.0, 0.0, 0.0)}
    assert judge(found, SETTINGS).verdict == "not worse"


def test_few_sequences_leave_it_undecided() -> None:
    judgement = judge(compare(pairs(np.random.default_rng(0), 60, 0.1, 0.05), SETTINGS), SETTINGS)
    assert judgement.verdict == "undecided"
    assert "cannot tell" in judgement.reasons[0]


def test_a_worse_log_loss_stands_against_a_better_accuracy() -> None:
    sample = pairs(np.random.default_rng(0), 10_000, 0.05, 0.02)
    assert verdict(sample) == "better"
    unsure = Scores(sample.challenger.predictions, sample.challenger.losses + np.float32(0.2))
    judgement = judge(compare(Pairs(sample.labels, unsure, sample.production, CLASSES), SETTINGS), SETTINGS)
    assert judgement.verdict == "undecided"
    assert judgement.reasons[0].startswith("log loss +0.")


def test_a_small_class_counts_only_if_it_is_significantly_worse() -> None:
    assert verdicts(20, 10_000, 0.05, 0.02, class_sizes={0: 40}).count("better") == 20
    assert verdicts(20, 10_000, 0.05, 0.02, class_sizes={0: 40}, class_loss=0.5).count("worse") >= 19


@pytest.mark.parametrize(("won", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 / 2**10), (0, 1, 1.0)])
def test_mcnemar_is_the_sign_test_of_the_discordant_pairs(won: int, lost: int, p: float) -> None:
    assert comparison.mcnemar(won, lost) == pytest.approx(p)


def test_macro_f1_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, (2, 300))
    assert paired_bootstrap.macro_f1(labels, predictions, 5) == pytest.approx(
        f1_score(labels, predictions, average="macro")
    )


@pytest.mark.parametrize("is_grouped", [False, True])
def test_the_bootstrap_agrees_with_one_that_resamples_row_by_row(is_grouped: bool) -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 60, 1500) if is_grouped else None
    sample = pairs(rng, 1500, 0.08, 0.04, groups=groups)
    found = compare(sample, CompareParams(num_resamples=4000)).differences
    resampled = np.array([_differences(sample, rows) for rows in _rows(sample, rng, 1500)])
    for column, name in enumerate(paired_bootstrap.METRICS):
        low, high = np.percentile(resampled[:, column], (2.5, 97.5))
        width = high - low
        assert found[name].low == pytest.approx(low, abs=0.12 * width)
        assert found[name].high == pytest.approx(high, abs=0.12 * width)
        assert found[name].estimate == pytest.approx(_differences(sample, np.arange(1500))[column])


def test_of_many_groups_several_drawn_together_give_the_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = pairs(np.random.default_rng(0), 9000, 0.08, 0.04, groups=np.arange(9000) // 3)
    few = compare(sample, SETTINGS).differences
    monkeypatch.setattr(paired_bootstrap, "MAX_GROUPS", 3000)
    for name, each in compare(sample, SETTINGS).differences.items():
        width = each.high - each.low
        assert few[name].low == pytest.approx(each.low, abs=0.12 * width)
        assert few[name].high == pytest.approx(each.high, abs=0.12 * width)


def _rows(sample: Pairs, rng: np.random.Generator, num_resamples: int) -> list[np.ndarray]:
    if sample.groups is None:
        strata = [np.flatnonzero(sample.labels == label) for label in range(len(CLASSES))]
        return [np.concatenate([rng.choice(rows, len(rows)) for rows in strata]) for _ in range(num_resamples)]
    members = [np.flatnonzero(sample.groups == group) for group in range(60)]
    return [np.concatenate([members[group] for group in rng.integers(0, 60, 60)]) for _ in range(num_resamples)]


def _differences(sample: Pairs, rows: np.ndarray) -> list[float]:
    labels, both = sample.labels[rows], (sample.challenger.at(rows), sample.production.at(rows))
    figures = [
        (
            scores.accuracy(labels),
            paired_bootstrap.macro_f1(labels, scores.predictions, len(CLASSES)),
            scores.log_loss(),
        )
        for scores in both
    ]
    return [first - second for first, second in zip(*figures, strict=True)]


def test_it_is_the_same_each_time_and_another_seed_draws_others() -> None:
    sample = pairs(np.random.default_rng(0), 2000, 0.05, 0.04)
    assert compare(sample, SETTINGS) == compare(sample, SETTINGS)
    other_seed = compare(sample, CompareParams(seed=1)).differences
    assert other_seed != compare(sample, SETTINGS).differences


def test_resamples_are_drawn_a_bounded_number_of_counts_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    original = paired_bootstrap._Cells.statistics

    def watched(self: paired_bootstrap._Cells, counts: np.ndarray, losses: np.ndarray) -> object:
        drawn.append(counts.size)
        return original(self, counts, losses)

    monkeypatch.setattr(paired_bootstrap._Cells, "statistics", watched)
    monkeypatch.setattr(paired_bootstrap, "NUMBERS_AT_ONCE", 2**16)
    groups = np.arange(10_000) // 2
    compare(pairs(np.random.default_rng(0), 10_000, 0.05, 0.03, groups=groups), CompareParams(num_resamples=200))
    assert max(drawn) <= paired_bootstrap.NUMBERS_AT_ONCE
    assert len(drawn) > 2
