import errno
import os
from collections.abc import Callable

import pytest

from flows.stage import ending_in_one_line
from flows.supervision.dvc import Failure, StageError
from rnnflow.errors import InputError


def raising(error: Exception) -> Callable[[], str]:
    def run() -> str:
        raise error

    return run


def test_a_step_ends_with_what_it_returned() -> None:
    state = ending_in_one_line(lambda: "3 stages: 3 ran")()
    assert (state.is_completed(), state.message) == (True, "3 stages: 3 ran")


def test_a_mistake_names_the_state() -> None:
    state = ending_in_one_line(raising(InputError("params.yaml: train.epochs: missing")))()
    assert (state.name, state.message) == ("InputError", "params.yaml: train.epochs: missing")


def test_what_the_machine_refuses_for_a_while_is_a_failure_that_may_pass() -> None:
    state = ending_in_one_line(raising(OSError(errno.ESTALE, os.strerror(errno.ESTALE), "runs/1")))()
    assert state.message == "runs/1: Stale file handle"
    assert isinstance(state.data, StageError)
    assert state.data.failure is Failure.TRANSIENT


def test_any_other_error_of_the_system_keeps_its_traceback() -> None:
    with pytest.raises(PermissionError):
        ending_in_one_line(raising(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "runs")))()
