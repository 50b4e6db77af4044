import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from rnnflow.generation import threads
from rnnflow.runtime.errors import InputError

NUMBERS = [1, 2, 5]


@pytest.fixture(params=NUMBERS)
def number(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("RNNFLOW_THREADS", str(request.param))
    return int(request.param)


def test_there_are_as_many_threads_as_the_machine_says(number: int) -> None:
    assert threads.number() == number


def test_there_is_a_thread_for_each_processor_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNNFLOW_THREADS", raising=False)
    assert threads.number() >= 1


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "1.5", ""])
def test_another_number_of_threads_is_refused(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_THREADS", wanted)
    with pytest.raises(InputError, match=f"RNNFLOW_THREADS: expected a number of threads, got '{wanted}'"):
        threads.number()


def test_results_come_in_order_whichever_is_ready_first(number: int) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 2 == 0 else 0)
        return 10 * item

    assert list(threads.in_order(slow_first, range(9), 1)) == [10 * item for item in range(9)]


def test_calls_run_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_THREADS", "2")
    meeting = threading.Barrier(2)

    def meet(_: int) -> int:
        return meeting.wait(timeout=60)

    assert sorted(threads.in_order(meet, range(2), 1)) == [0, 1]


@pytest.mark.parametrize(("num_values", "most"), [(1, 2), (threads.MAX_VALUES // 2, 1), (threads.MAX_VALUES, 0)])
def test_calls_run_ahead_only_as_far_as_threads_and_memory_allow(
    num_values: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNFLOW_THREADS", "2")
    asked: list[int] = []

    def items() -> Iterator[int]:
        for item in range(9):
            asked.append(item)
            yield item

    for result in threads.in_order(abs, items(), num_values):
        # The item whose call must wait for this result has been asked for already.
        assert len(asked) - 1 <= result + 1 + most
    assert len(asked) == 9


def test_an_error_comes_in_the_place_of_its_result(number: int) -> None:
    def call(item: int) -> int:
        if item == 3:
            raise InputError("item 3 is wrong")
        return item

    results = threads.in_order(call, range(9), 1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="item 3 is wrong"):
        next(results)


def test_nothing_runs_any_more_after_the_block(number: int) -> None:
    ended: list[int] = []

    def call(item: int) -> None:
        time.sleep(0.02)
        ended.append(item)

    def interrupted() -> None:
        with threads.Calls[None]() as calls:
            for item in range(3):
                calls.add(1, partial(call, item))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    before = list(ended)
    time.sleep(0.1)
    assert ended == before
