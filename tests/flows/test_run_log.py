"""Which level the lines of a run's log have; whole logs are tried in test_retrain and test_deaths."""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect import task_engine
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Failed

from flows import run_log
from flows.supervision.dvc import Dvc, Failure, StageError
from rnnflow.runtime.errors import InputError
from tests.flows.repositories import Repository

pytest_plugins = ["tests.flows.repositories"]


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


@contextmanager
def kept(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a run whose logger this is would send to the server."""
    handler = Kept()
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(run_log, "get_run_logger", lambda: logger)
    logger.addHandler(handler)
    run_log.keep_readable()
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield handler.lines
    logger.removeHandler(handler)


def test_of_dvcs_lines_those_about_the_work_are_kept(
    repository: Repository, dvc: Dvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("data/raw/second.txt", "3\n")
    printed: list[str] = []
    with kept(logging.getLogger("test.dvc"), monkeypatch) as lines:

        def log(line: str) -> None:
            printed.append(line)
            run_log.log_line(line)

        dvc.reproduce("collect", log)
        dvc.run(["remote", "add", "--default", "empty", str(tmp_path / "empty")], log)
        dvc.run(["pull", "--allow-missing"], log)
    assert "Updating lock file 'dvc.lock'" in printed
    assert [line for line in printed if "git add" in line]
    assert lines[0] == "INFO Running stage 'collect':"
    assert not [line for line in lines if "lock file" in line or "git add" in line or "md5" in line or "> " in line]


def test_an_error_and_a_warning_have_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(logging.getLogger("test.levels"), monkeypatch) as lines:
        for line in ("error: params.yaml: no epochs", "WARNING: disk nearly full", "epoch 3/30", "ERROR: lock is held"):
            run_log.log_line(line)
    assert [line.split()[0] for line in lines] == ["ERROR", "WARNING", "INFO", "ERROR"]


@pytest.mark.parametrize("error", [InputError("no such stage"), StageError("train", Failure.PERMANENT, "no data")])
def test_an_expected_failure_has_no_traceback_and_another_one_has(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("prefect.flow_runs")
    with kept(logger, monkeypatch) as lines:
        for raised in (error, RuntimeError("a fault of the program")):
            logger.error("Engine execution exited with %r", raised, exc_info=raised)
    assert lines == ["ERROR Engine execution exited with RuntimeError('a fault of the program')"]


def test_the_level_of_a_final_state_is_that_of_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("prefect.flow_runs")
    said = ["Completed('ran')", "Failed('no data')", "Cancelled('by hand')", "Running()"]
    with kept(logger, monkeypatch) as lines:
        for state in said:
            logger.info("Finished in state %s", state)
        logger.error("Crash detected! Execution was aborted by a termination signal.")
    assert [line.split()[0] for line in lines] == ["INFO", "ERROR", "WARNING"]


def test_a_step_has_one_line_with_its_duration_however_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(logging.getLogger("test.steps"), monkeypatch) as lines:
        with run_log.one_line("generate") as end:
            end("up to date")
        with pytest.raises(StageError), run_log.one_line("train@rnn"):
            raise StageError("train@rnn", Failure.PERMANENT, "no data")
        with pytest.raises(KeyboardInterrupt), run_log.one_line("train@gru"):
            raise KeyboardInterrupt
    assert [line.rpartition(", ")[0] for line in lines] == [
        "INFO generate: up to date",
        "ERROR train@rnn: failed: no data",
        "WARNING train@gru: interrupted",
    ]


def test_a_try_that_failed_has_its_line_once_and_says_when_the_next_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("prefect.task_runs")
    failed: State[None] = Failed(
        message="the remote is full", data=StageError("push", Failure.TRANSIENT, "the remote is full")
    )
    assert run_log.TRIED_AGAIN in inspect.getsource(task_engine)
    with kept(logger, monkeypatch) as lines:
        logger.info(run_log.TRIED_AGAIN, "state", failed, 1, 4, "9.08910507300877 second(s) from now")
        logger.error(f"Task run failed with state: {failed!r} - Retries are exhausted", exc_info=True)
    assert lines == ["WARNING try 1 of 5 failed, the next is due 9 second(s) from now: the remote is full"]


def test_files_that_could_not_be_sent_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(logging.getLogger("test.transfer"), monkeypatch) as lines:
        run_log.log_line(
            "ERROR: failed to transfer '49239e8dc540602fc480241ee3e390b7' - [Errno 28] No space left on device"
        )
        run_log.log_line("ERROR: failed to push data to the cloud - 31 files failed to upload")
    assert lines == ["ERROR ERROR: failed to push data to the cloud - 31 files failed to upload"]
