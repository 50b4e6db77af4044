"""Stages on the workers they need: each is sent to its work pool, and its result is fetched from DVC's remote."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from prefect import get_run_logger

from flows.dispatch import DispatchedStage, Dispatcher
from flows.outcomes import Outcomes
from flows.redaction import redacted
from flows.repository import pipeline, publishing
from flows.repository.pipeline import Stage
from flows.repository.workspace import Workspace
from flows.server.connection import connected
from flows.stage import attempt, bring_up_to_date, push_data, record_up_to_date
from flows.supervision.dvc import Dvc, Failure, StageError
from rnnflow.runtime.errors import InputError

PREFIX = "work/"
"""Of the branches that a coordinated run and its workers share as long as it lasts."""
NO_SHELL = Path(__file__).with_name("no_shell.sh")


def run_on_workers(plan: Sequence[Stage], workspace: Workspace) -> Outcomes:
    """Bring the stages up to date on the workers of their pools, independent ones side by side.

    Raises:
        InputError: the Prefect server, its deployments or DVC's remote are not fit for it.
    """
    outcomes = Outcomes()
    waiting = list(plan)
    with _coordinator(plan, workspace) as coordinator:
        while waiting or coordinator.dispatcher.dispatched:
            for stage in [stage for stage in waiting if stage.upstream <= outcomes.known()]:
                waiting.remove(stage)
                if outcomes.is_blocked(stage):
                    continue
                if outcomes.is_settled(stage):
                    outcomes.done[stage.name] = record_up_to_date(stage, workspace)
                elif restored := coordinator.restore_or_send(stage):
                    outcomes.done[stage.name] = restored
            for dispatched in coordinator.dispatcher.returned():
                try:
                    outcomes.done[dispatched.stage.name] = coordinator.fetch_result(dispatched)
                except StageError as error:
                    outcomes.failed[dispatched.stage.name] = error
    pipeline.put_in_order(workspace.folder, [stage.name for stage in plan if stage.is_new])
    return outcomes


class _Coordinator:
    """Keeps a workspace and the workers in step: what came about here goes to them before a stage, and comes back after.

    Results so far travel as a commit on a branch of the run's own, in whose `dvc.lock` a worker finds what the stages
    before made. Data travels through DVC's remote and run cache alone. No stage ever runs in the workspace itself.
    """

    def __init__(self, workspace: Workspace, without_shell: Dvc, dispatcher: Dispatcher) -> None:
        self.workspace = workspace
        self.restoring = replace(workspace, dvc=without_shell)
        self.dispatcher = dispatcher
        self.branch = f"{PREFIX}{dispatcher.id}"
        self.commit = workspace.base
        self.is_shared = False  # whether `commit` is on the branch and holds all results so far
        self.is_pushed = False  # whether DVC's remote holds all data of the workspace

    def restore_or_send(self, stage: Stage) -> str | None:
        """Return how a stage came up to date that has run before, or let a worker of its pool run it."""
        if pipeline.has_run_before(self.workspace.folder, stage.name):
            with suppress(StageError):  # somebody has collected the garbage, and with it the data
                outcome = self._restore(stage)
                self.is_pushed = False
                return outcome
        self._share()
        self.dispatcher.send(stage, self.commit, self.branch)
        return None

    def fetch_result(self, dispatched: DispatchedStage) -> str:
        """Restore a finished stage from the run cache of the remote, and return how its worker brought it up to date.

        Raises:
            StageError: its worker's, or DVC's here.
        """
        name = dispatched.stage.name
        if dispatched.failure:
            attempt(name, self.workspace, _raising(StageError(name, Failure.PERMANENT, dispatched.failure)))
        self._restore(dispatched.stage)
        return f"{dispatched.outcome} on {dispatched.pool}"

    def remove_abandoned(self) -> None:
        """Remove what coordinated runs that died have left: their branches, and what workers still do for them."""
        for branch in publishing.branches(self.workspace, PREFIX):
            try:
                sender = UUID(branch.removeprefix(PREFIX))
            except ValueError:  # a person's
                continue
            if self.dispatcher.has_ended(sender):
                self.dispatcher.cancel(sender)
                self._remove(branch)

    def end(self) -> None:
        """Leave nothing behind: no worker that is still at work for this run, and no branch."""
        try:
            self.dispatcher.cancel(self.dispatcher.id)
        finally:
            if self.commit != self.workspace.base:
                self._remove(self.branch)

    def _restore(self, stage: Stage) -> str:
        outcome = bring_up_to_date(stage, self.restoring, pull=True)
        self.is_shared = False
        return outcome

    def _share(self) -> None:
        if not self.is_pushed:
            push_data(self.workspace)
            self.is_pushed = True
        if not self.is_shared:
            self.commit = publishing.snapshot(self.workspace, "Results so far", self.commit)
            attempt("share", self.workspace, lambda _: publishing.push(self.workspace, self.commit, self.branch))
            self.is_shared = True

    def _remove(self, branch: str) -> None:
        try:
            publishing.remove(self.workspace, branch)
        except InputError as error:  # the next coordinated run tries again
            get_run_logger().warning("branch %s is left: %s", branch, error)


@contextmanager
def _coordinator(plan: Sequence[Stage], workspace: Workspace) -> Iterator[_Coordinator]:
    _require_run_cache(workspace)
    environment = {**workspace.dvc.environment, "SHELL": str(NO_SHELL)}
    with connected() as client, Dvc(workspace.folder, environment) as without_shell:
        coordinator = _Coordinator(workspace, without_shell, Dispatcher(client, workspace.project, workspace.product))
        coordinator.dispatcher.require_deployments(plan)
        coordinator.remove_abandoned()
        try:
            yield coordinator
        finally:
            coordinator.end()


def _require_run_cache(workspace: Workspace) -> None:
    url = pipeline.default_remote(workspace.folder) or ""
    if url.startswith(("http://", "https://")):
        raise InputError(
            f"{redacted(url)}: DVC keeps no run cache on a remote of type HTTP, and a coordinated run fetches its results "
            "through it; take another type, such as ssh:// or webdavs://, or run on one machine"
        )


def _raising(error: StageError) -> Callable[[object], str]:
    def step(_: object) -> str:
        raise error

    return step
