"""Stages in one workspace: those that do not depend on each other side by side, as far as the machine has processors."""

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from flows import settings
from flows.outcomes import Outcomes
from flows.repository import pipeline
from flows.repository.pipeline import Stage
from flows.repository.workspace import Workspace
from flows.settings import AUTO
from flows.stage import bring_up_to_date, record_up_to_date
from flows.supervision.dvc import Dvc, StageError
from flows.supervision.supervisor import END_SECONDS
from rnnflow.generation import threads
from rnnflow.runtime.environment import wanted_device

GPU = Path("/dev/nvidia0")


def run_here(plan: Sequence[Stage], workspace: Workspace, *, pull: bool) -> Outcomes:
    """Bring the stages up to date in the workspace, `parallel` of `settings.yaml` of them at a time."""
    outcomes = Outcomes()
    waiting = list(plan)
    with _SideBySide(workspace, num_places(), pull=pull) as at_work:
        while waiting or at_work:
            for stage in [stage for stage in waiting if stage.upstream <= outcomes.known()]:
                if outcomes.is_blocked(stage):
                    waiting.remove(stage)
                elif outcomes.is_settled(stage):
                    waiting.remove(stage)
                    outcomes.done[stage.name] = record_up_to_date(stage, workspace)
                elif at_work.has_place_for(stage):
                    waiting.remove(stage)
                    at_work.start(stage, is_last=not waiting)
            for stage, outcome in at_work.ended():
                try:
                    outcomes.done[stage.name] = outcome.result()
                except StageError as error:
                    outcomes.failed[stage.name] = error
    pipeline.put_in_order(workspace.folder, [stage.name for stage in plan if stage.is_new])
    return outcomes


def num_places() -> int:
    """Return how many threads the stages at work may have between them."""
    wanted = settings.load().parallel
    if wanted != AUTO:
        return wanted
    is_gpu_shared = GPU.exists() and wanted_device() != "cpu"  # trainings beside each other could run out of its memory
    return 1 if is_gpu_shared else threads.number()


class _SideBySide:
    """The stages at work, each in a thread and with a DVC of its own.

    The flow's main thread does nothing but wait for them, so that a cancellation reaches it at once: then it ends what
    they wait for.
    """

    def __init__(self, workspace: Workspace, num_places: int, *, pull: bool) -> None:
        self.workspace = workspace
        self.num_places = num_places
        self.pull = pull
        self._dvcs = [workspace.dvc]
        self._idle = [workspace.dvc]
        self._at_work: dict[Future[str], tuple[Stage, Dvc]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._at_work:
            for dvc in self._dvcs:
                dvc.stop()
            wait(self._at_work, END_SECONDS)  # but not for one that waits for its next try
        for dvc in self._dvcs[1:]:
            dvc.close()

    def __len__(self) -> int:
        return len(self._at_work)

    def has_place_for(self, stage: Stage) -> bool:
        """Return whether as many threads as the stage has are free; one with more than there are places runs alone."""
        taken = sum(stage.num_threads for stage, _ in self._at_work.values())
        return not taken or taken + stage.num_threads <= self.num_places

    def start(self, stage: Stage, *, is_last: bool) -> None:
        """Bring a stage up to date in a thread; unless it is the last, the DVC for the next one begins to load."""
        dvc = self._idle.pop() if self._idle else self._another()
        if not self._idle and not is_last and len(self._dvcs) < self.num_places:
            self._idle.append(self._another())
        outcome: Future[str] = Future()
        workspace = replace(self.workspace, dvc=dvc)

        def work() -> None:
            _keep(outcome, lambda: bring_up_to_date(stage, workspace, pull=self.pull))

        self._at_work[outcome] = stage, dvc
        # No pool: at its end the process would wait for a thread that waits for its next try.
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True).start()

    def ended(self) -> list[tuple[Stage, Future[str]]]:
        """Wait until one of the stages at work has ended, if there are any; return those that have."""
        found = []
        for outcome in wait(self._at_work, return_when=FIRST_COMPLETED).done:
            stage, dvc = self._at_work.pop(outcome)
            self._idle.append(dvc)
            found.append((stage, outcome))
        return found

    def _another(self) -> Dvc:
        dvc = Dvc(self.workspace.folder, self.workspace.dvc.environment)
        dvc.start()
        self._dvcs.append(dvc)
        return dvc


def _keep(outcome: Future[str], call: Callable[[], str]) -> None:
    """Leave what the call returns, or raises, to the thread that waits for it."""
    try:
        outcome.set_result(call())
    except BaseException as error:
        outcome.set_exception(error)
