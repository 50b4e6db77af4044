import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.evaluation.scores import tables
from rnnflow.evaluation.scores.slices import by_length, slices, span
from tests.evaluation.test_metrics import answers, random_answers


@settings(deadline=None, max_examples=50)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40), num_slices=st.integers(1, 6), seed=st.integers(0, 99)
)
def test_slices_by_length_add_up_and_never_overlap(lengths: list[int], num_slices: int, seed: int) -> None:
    found = random_answers(len(lengths), seed, lengths=np.array(lengths), num_slices=num_slices)
    rows = list(by_length(found))
    assert len(rows) <= num_slices
    np.testing.assert_array_equal(np.sum([inside for _, _, inside in rows], axis=0), 1)
    edges = [int(edge) for low, high, _ in rows for edge in (low, high)]
    assert edges == sorted(edges)
    assert all(high < low for high, low in zip(edges[1:-1:2], edges[2:-1:2], strict=True))
    assert (edges[0], edges[-1]) == (min(lengths), max(lengths))


def test_a_slice_of_one_length_is_named_by_it() -> None:
    assert (span(10, 10), span(10, 12)) == ("10", "10 to 12")


def test_slices_by_length_hold_about_as_many_sequences_each() -> None:
    rows = by_length(random_answers(100, 0))
    assert [(low, high) for low, high, _ in rows] == [(1, 25), (26, 50), (51, 75), (76, 100)]


def test_each_kind_of_slice_adds_up_to_all() -> None:
    times = np.datetime64("2026-05-01", "us") + np.arange(60) * np.timedelta64(1, "D")
    found = random_answers(60, 0, groups=np.arange(60) % 5, group_names=list("abcde"), times=times)
    rows = slices(found)
    assert {str(row["by"]) for row in rows} == {"all", "length", "class", "time", "group"}
    for by in ("length", "class", "time", "group"):
        of_kind = [row for row in rows if row["by"] == by]
        assert sum(int(str(row["count"])) for row in of_kind) == 60
        right = sum(int(str(row["count"])) * float(str(row["accuracy"])) for row in of_kind)
        assert right == pytest.approx(found.is_right.sum())
    assert next(row["slice"] for row in rows if row["by"] == "time") == "2026-05-01T00:00:00 to 2026-05-15T00:00:00"


def test_the_worst_slice_is_the_one_that_is_bad_for_certain() -> None:
    labels = np.array([0] * 100 + [1] * 100 + [2])
    predictions = np.array([0] * 95 + [1] * 5 + [1] * 60 + [0] * 40 + [0])
    found = answers(labels, np.eye(3)[predictions], lengths=np.full(201, 10))
    worst = tables.worst(slices(found))
    assert (worst["by"], worst["slice"]) == ("class", "class 1")  # one sequence of class 2 proves nothing
    assert worst["accuracy"] == pytest.approx(0.6)


def test_of_very_many_groups_the_worst_are_shown() -> None:
    labels = np.zeros(2000, int)
    predictions = (np.arange(2000) < 20).astype(int)  # group 0 is wrong
    found = answers(
        labels, np.eye(2)[predictions], groups=np.arange(2000) // 20, group_names=list(map(str, range(100)))
    )
    many = answers(
        np.tile(labels, 2),
        np.eye(2)[np.tile(predictions, 2)],
        groups=np.arange(4000) // 20,
        group_names=list(map(str, range(200))),
    )
    assert sum(row["by"] == "group" for row in slices(found)) == 100
    groups = [row for row in slices(many) if row["by"] == "group"]
    assert len(groups) == 100
    assert {row["slice"] for row in groups if row["accuracy"] == 0} == {"0", "100"}
