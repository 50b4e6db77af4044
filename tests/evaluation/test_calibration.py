import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.evaluation.scores.answers import Answers
from rnnflow.evaluation.scores.calibration import NEVER, choose_threshold, fit_temperature, share_answered
from tests.evaluation.test_metrics import answers


def drawn(num_sequences: int, temperature: float, seed: int = 0, **more: object) -> Answers:
    """Return answers whose labels are drawn by their own probabilities at a temperature."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((num_sequences, 3))

    def softmax(values: np.ndarray) -> np.ndarray:
        shares = np.exp(values)
        return shares / shares.sum(1, keepdims=True)

    limits = softmax(logits / temperature).cumsum(1)
    labels = (rng.random(num_sequences)[:, None] > limits[:, :2]).sum(1)
    return answers(labels, softmax(logits), **more)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_temperature_is_found_that_labels_were_drawn_with(temperature: float) -> None:
    assert fit_temperature(drawn(5000, temperature)) == pytest.approx(temperature, rel=0.1)
    groups = np.arange(5000) // 50
    grouped = drawn(5000, temperature, groups=groups, group_names=list(map(str, range(100))))
    assert fit_temperature(grouped) == pytest.approx(temperature, rel=0.1)


def test_a_calibrated_classifier_mostly_keeps_its_probabilities() -> None:
    found = [fit_temperature(drawn(200, 1.0, seed)) for seed in range(20)]
    assert found.count(1.0) >= 8
    assert np.exp(np.abs(np.log(found)).max()) < 1.5


def test_no_mistake_on_few_sequences_is_no_reason_to_be_certain() -> None:
    probabilities = np.tile([0.8, 0.1, 0.1], (10, 1))
    assert fit_temperature(answers(np.zeros(10, int), probabilities)) > 0.25
    assert fit_temperature(answers([0], probabilities[:1])) == 1.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), num_sequences=st.integers(1, 30), allowed=st.sampled_from([0.0, 0.1, 0.3]))
def test_the_threshold_answers_as_many_as_the_allowed_errors_let(seed: int, num_sequences: int, allowed: float) -> None:
    found = drawn(num_sequences, 1.0, seed)
    threshold = choose_threshold(found, allowed)
    assert threshold is not None
    shares = share_answered(found, threshold)
    assert shares["selective_error"] <= allowed
    for other in found.confidence:
        if share_answered(found, other)["selective_error"] <= allowed:
            assert shares["coverage"] >= share_answered(found, other)["coverage"]


def test_where_even_the_surest_answer_is_wrong_nothing_is_answered() -> None:
    found = answers([1, 0], [[0.9, 0.1], [0.6, 0.4]])
    assert choose_threshold(found, 0.01) == NEVER
    assert share_answered(found, NEVER) == {"coverage": 0, "selective_error": 0}


def test_without_an_allowed_share_of_errors_everything_is_answered() -> None:
    found = drawn(10, 1.0)
    assert choose_threshold(found, None) is None
    assert share_answered(found, None) == {}
