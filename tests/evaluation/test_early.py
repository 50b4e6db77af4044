"""Deciding before the end: what is chosen on validation, and what it comes to."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.classifier.predict_split import StepProbabilities, softmax
from rnnflow.evaluation.scores.early import early_answers, fit_early_rule
from rnnflow.params.models import ModelParams
from rnnflow.serving.early_rule import EarlyRule
from tests import toys
from tests.export.test_streaming import streaming_architectures

NUM_STEPS, NUM_SEQUENCES = 10, 400


@settings(deadline=None, max_examples=15)
@given(params=streaming_architectures(), seed=st.integers(0, 99))
def test_logits_of_each_step_are_those_of_the_sequence_up_to_it(params: ModelParams, seed: int) -> None:
    model = toys.random_ensemble(params, seed=seed)
    missing = 0.0 if params.missing == "refuse" else 0.2
    sequences = toys.random_sequences([8, 8, 5, 3], seed=seed, missing=missing)
    prepared, num_steps = model.preparation(*toys.padded(sequences, 8, np.nan))
    found = model.step_logits(prepared, num_steps)
    for row, sequence in enumerate(sequences):
        for block in range(-(-len(sequence) // params.num_averaged)):
            with torch.inference_mode():
                expected = model(sequence[None, : (block + 1) * params.num_averaged], None)[0].numpy()
            np.testing.assert_allclose(found[row, block], expected, atol=2e-5)


def walks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random walks and whether they end above zero: what is far from zero early will hardly change sides."""
    sums = np.random.default_rng(seed).standard_normal((NUM_SEQUENCES, NUM_STEPS)).cumsum(1)
    return sums, (sums[:, -1] > 0).astype(np.int64)


def batches(sums: np.ndarray, sureness: float) -> Iterator[StepProbabilities]:
    """A classifier that answers with the sign, and is as sure of it at the first step as at the last."""
    logits = (sureness * np.stack([-sums, sums], axis=2)).astype(np.float32)
    for start in range(0, NUM_SEQUENCES, 150):
        rows = np.arange(start, min(start + 150, NUM_SEQUENCES))
        lengths = np.full(len(rows), NUM_STEPS)
        yield StepProbabilities(rows, lengths, lengths, softmax(logits[rows]))


@pytest.mark.parametrize("max_loss", [0.01, 0.02, 0.1])
def test_a_rule_loses_less_than_it_may_on_validation_and_elsewhere(max_loss: float) -> None:
    (seen, labels), (unseen, other_labels) = walks(0), walks(1)
    rule = fit_early_rule(batches(seen, 5.0), labels, NUM_STEPS, 1, max_loss, None)
    assert rule
    assert rule.steps == [*range(1, NUM_STEPS + 1)]
    assert rule.temperatures[0] > rule.temperatures[-2] > 1  # the sooner, the more it is too sure
    found = early_answers(batches(seen, 5.0), labels, 1, rule, None)
    assert found.accuracy_by_part[-1] == 1
    assert 1 - max_loss < found.accuracy
    assert found.share_seen < 1
    assert early_answers(batches(unseen, 5.0), other_labels, 1, rule, None).accuracy > 1 - max_loss


def test_the_more_may_be_lost_the_earlier_it_decides() -> None:
    sums, labels = walks(0)
    shares = []
    for max_loss in (0.01, 0.02, 0.1, 0.3):
        rule = fit_early_rule(batches(sums, 1.0), labels, NUM_STEPS, 1, max_loss, None)
        shares.append(early_answers(batches(sums, 1.0), labels, 1, rule, None).share_seen)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.7 > 0.5 > shares[-1]


def test_few_sequences_give_no_rule_though_none_of_them_is_lost() -> None:
    sums, labels = walks(0)
    clear = np.repeat(sums[:, -1:], NUM_STEPS, axis=1)
    assert fit_early_rule(batches(clear, 5.0), labels, NUM_STEPS, 1, 0.01, None)
    few = [StepProbabilities(*(part[:100] for part in next(batches(clear, 5.0))))]
    assert fit_early_rule(few, labels, NUM_STEPS, 1, 0.01, None) is None
    assert fit_early_rule(few, labels, NUM_STEPS, 1, 0.05, None)


def test_a_classifier_that_knows_nothing_before_the_end_gets_no_rule() -> None:
    sums, labels = walks(0)
    hidden = np.where(np.arange(NUM_STEPS) < NUM_STEPS - 1, 0.0, sums)
    assert fit_early_rule(batches(hidden, 5.0), labels, NUM_STEPS, 1, 0.05, None) is None


def test_an_unknown_is_no_decision() -> None:
    sums, labels = walks(0)
    rule = fit_early_rule(batches(sums, 1.0), labels, NUM_STEPS, 1, 0.3, None)
    assert early_answers(batches(sums, 1.0), labels, 1, rule, None).share_seen < 0.5
    assert early_answers(batches(sums, 1.0), labels, 1, rule, 2.0).share_seen == 1
    assert fit_early_rule(batches(sums, 1.0), labels, NUM_STEPS, 1, 0.3, 2.0) is None


def test_figures_of_four_sequences_are_those_counted_by_hand() -> None:
    sure, unsure = [0.1, 0.9], [0.45, 0.55]
    steps = np.array([
        [unsure, sure, sure, sure],  # decided at 2 of 4, right
        [sure, unsure, unsure, [0.8, 0.2]],  # at 1 of 4, wrong, though it would have been right at its end
        [unsure, sure, sure, sure],  # has ended at 1, right
        [unsure, unsure, unsure, unsure],  # never, and right
    ], np.float32)  # fmt: skip
    batch = StepProbabilities(np.arange(4), np.array([4, 4, 1, 4]), np.array([8, 7, 1, 8]), steps)
    rule = EarlyRule(0.8, [2, 4, 6, 8], [1.0, 1.0, 1.0, 1.0])
    found = early_answers([batch], np.array([1, 0, 1, 1]), 2, rule, None)
    assert found.accuracy == 3 / 4
    assert found.share_seen == pytest.approx((4 / 8 + 2 / 7 + 1 + 1) / 4)
    assert found.decided_by_part is not None
    assert found.decided_by_part[[0, 4, 5, 9, 19]].tolist() == [1 / 4, 1 / 4, 2 / 4, 2 / 4, 2 / 4]  # of whole steps
    assert found.accuracy_by_part[[4, 14, 19]].tolist() == [3 / 4, 3 / 4, 1]
    earliness = 1 - found.share_seen
    harmonic_mean = 2 * 0.75 * earliness / (0.75 + earliness)
    assert found.figures()["early_harmonic_mean"] == pytest.approx(harmonic_mean)
    assert {row["line"] for row in found.curve()} == {"accuracy", "decided"}
