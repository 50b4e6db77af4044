"""However a stage, its supervisor or the flow ends, nothing is left at work and everything can be repaired."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

import psutil
import pytest

from flows.supervision.dvc import Dvc, Failure, Outcome, StageError
from flows.supervision.repair import repair
from tests.flows.processes import LIMIT_SECONDS, WAITS, at_work_in, dvc_of, supervisor_of, with_stages
from tests.flows.repositories import Repository
from tests.flows.services import running, wait_for_deaths, wait_until
from tests.flows.supervision.test_dvc import when

pytest_plugins = ["tests.flows.repositories"]

FLOW = """\
import sys
from pathlib import Path
from flows.supervision.dvc import Dvc
Dvc(Path(sys.argv[1])).reproduce("waits", lambda line: print(line, flush=True))
"""


class Ended(BaseException):
    """Stands for what Prefect raises in the main thread to end a run."""


@pytest.fixture
def waiting(repository: Repository, dvc: Dvc) -> Iterator[Path]:
    """A workspace with a stage `waits`; in the end nobody may be at work in it, and the stage can run."""
    folder = with_stages(repository, waits=WAITS)
    yield folder
    assert not at_work_in(folder)
    (folder / "go").touch()
    assert dvc.reproduce("waits", print) in (Outcome.RAN, Outcome.RESTORED)


@contextmanager
def alarm(raised: type[BaseException]) -> Iterator[Callable[[float], object]]:
    """Yield a function that sets the time after which `raised` is raised in the main thread, as Prefect's time-outs are."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise raised

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def stage_of(supervisor: psutil.Process) -> psutil.Process:
    (stage,) = (child for child in supervisor.children(recursive=True) if child.cmdline()[1:2] == ["waits.py"])
    return stage


def itself(supervisor: psutil.Process) -> psutil.Process:
    return supervisor


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        (stage_of, "the stage was killed (SIGKILL)"),
        (dvc_of, "DVC was killed (SIGKILL)"),
        (itself, "the supervisor was killed (SIGKILL)"),
    ],
)
def test_a_kill_9_is_transient_and_leaves_nothing(
    waiting: Path, victim: Callable[[psutil.Process], psutil.Process], message: str, dvc: Dvc
) -> None:
    with pytest.raises(StageError) as caught:
        dvc.reproduce("waits", when("began", lambda: victim(supervisor_of(waiting)).kill()))
    assert caught.value.failure is Failure.TRANSIENT
    assert str(caught.value) == message
    assert not at_work_in(waiting)


def test_a_killed_supervisor_is_noticed_though_the_stage_talks_on(repository: Repository, dvc: Dvc) -> None:
    folder = with_stages(repository, talks="while true; do echo on and on; done")

    with pytest.raises(StageError, match="the supervisor was killed"):
        dvc.reproduce("talks", when("on and on", lambda: supervisor_of(folder).kill()))
    assert not at_work_in(folder)


def test_a_supervisor_that_died_between_two_commands_is_replaced(repository: Repository, dvc: Dvc) -> None:
    assert dvc.reproduce("train@a", print) is Outcome.UP_TO_DATE
    dead = supervisor_of(repository.folder)
    dead.kill()
    wait_for_deaths([dead])
    assert dvc.reproduce("train@a", print) is Outcome.UP_TO_DATE
    dvc.close()
    assert dvc.reproduce("train@a", print) is Outcome.UP_TO_DATE


@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeoutError, Ended])
def test_what_is_raised_in_the_main_thread_ends_the_stage(waiting: Path, raised: type[BaseException], dvc: Dvc) -> None:
    with alarm(raised) as ring_after, pytest.raises(raised):
        dvc.reproduce("waits", when("began", lambda: ring_after(0.1)))
    assert not at_work_in(waiting)


def test_what_the_log_raises_ends_the_stage(waiting: Path, dvc: Dvc) -> None:
    def fail() -> None:
        raise Ended

    with pytest.raises(Ended):
        dvc.reproduce("waits", when("began", fail))
    assert not at_work_in(waiting)


@pytest.mark.parametrize("raised", [BrokenPipeError, EOFError])
def test_what_the_log_raises_is_never_taken_for_the_end_of_the_supervisor(
    waiting: Path, dvc: Dvc, raised: type[Exception]
) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(raised):
        dvc.reproduce("waits", when("began", fail))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_death_of_the_flow_ends_the_stage(waiting: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", FLOW, str(waiting)]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as flow:
        assert flow.stdout is not None
        while flow.stdout.readline() != "began\n":
            assert flow.poll() is None
        assert len(at_work_in(waiting)) >= 3
        flow.send_signal(number)
        flow.wait()
    wait_until(lambda: not at_work_in(waiting), "the end of all processes", LIMIT_SECONDS)


def test_what_a_stage_leaves_behind_ends_with_it_in_whatever_session(repository: Repository, dvc: Dvc) -> None:
    leave = 'import subprocess; subprocess.Popen(["sleep", "600"], start_new_session=True)'
    folder = with_stages(repository, leaves=f"sleep 600 & python -c '{leave}' && touch {{out}}")
    assert dvc.reproduce("leaves", print) is Outcome.RAN
    assert not at_work_in(folder)


def test_a_stage_that_ends_as_the_flow_does_is_committed(waiting: Path, dvc: Dvc) -> None:
    def log(line: str) -> None:
        if line == "began":
            (waiting / "go").touch()
        if line.startswith("Updating lock file"):
            raise Ended

    with pytest.raises(Ended):
        dvc.reproduce("waits", log)
    assert dvc.reproduce("waits", print) is Outcome.UP_TO_DATE
    (waiting / "dvc.lock").unlink()  # the fixture runs the stage anew


def test_a_dvc_that_is_hashing_is_interrupted(repository: Repository, dvc: Dvc) -> None:
    folder = with_stages(repository, grows="truncate -s 50G {out} && echo grown")
    with alarm(Ended) as ring_after, pytest.raises(Ended):
        dvc.reproduce("grows", when("grown", lambda: ring_after(0.2)))
    (folder / "grows.txt").unlink()
    assert not at_work_in(folder)
    assert dvc.run(["status"], print)


@pytest.mark.slow
@pytest.mark.parametrize(("gently", "num_tries"), [(True, 10), (False, 5)])
def test_endings_at_random_moments_can_all_be_repaired(
    repository: Repository, gently: bool, num_tries: int, dvc: Dvc
) -> None:
    folder = with_stages(repository, writes="seq 10 | xargs -I@ touch @.txt; touch {out}")
    outs = json.dumps([f"{number}.txt" for number in range(1, 11)])[1:]
    repository.replace("dvc.yaml", '["writes.txt"]', f'["writes.txt", {outs}')
    began = time.monotonic()
    dvc.reproduce("writes", print)
    took = time.monotonic() - began
    repository.commit("whole")
    choice = random.Random(0)
    for number in range(num_tries):
        repository.write("params.yaml", f"number: {number}")
        end = partial(os.kill, os.getpid(), signal.SIGALRM) if gently else partial(kill_dvc, folder)
        with suppress(Ended, StageError), alarm(Ended), after(choice.uniform(0.2, 1.0) * took, end):
            dvc.reproduce("writes", print)
        assert not at_work_in(folder)
        repaired = repair(folder)
        assert not (gently and any("dvc.lock" in line for line in repaired))
    assert dvc.reproduce("writes", print) in Outcome


@contextmanager
def after(seconds: float, do: Callable[[], object]) -> Iterator[None]:
    """Do something while the block runs, unless it ends before; nothing is left to happen afterwards."""
    timer = threading.Timer(seconds, do)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def kill_dvc(folder: Path) -> None:
    with suppress(psutil.Error, LookupError, ValueError):  # it has ended
        dvc_of(supervisor_of(folder)).kill()
