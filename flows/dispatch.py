"""Stages at work elsewhere: flow runs of the deployments `stage/PROJECT-POOL`, which workers take, lose or leave lying."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling

from flows import settings
from flows.repository.pipeline import Stage
from flows.server.waiting_runs import call_crashed_if_it_never_began
from rnnflow.runtime.errors import InputError

T = TypeVar("T")

POLL_SECONDS = 1.0
SERVER_AWAY_SECONDS = 900.0
"""So long may the Prefect server not answer before the run gives up."""

_AT_WORK = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
)
_NOT_ENDED = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=[StateType.CANCELLING, *TERMINAL_STATES]))


@dataclass
class DispatchedStage:
    """A stage that is with a worker, waits for one, or has come back.

    Attributes:
        stage: what was sent.
        parameters: of the flow run.
        pool: where to.
        run: id of the flow run.
        num_deaths: how many workers have died with it.
        waits_since: when it was sent, or when its pool was last seen busy with something else.
        outcome: how it came up to date.
        failure: why it did not.
    """

    stage: Stage
    parameters: Mapping[str, str]
    pool: str
    run: UUID
    num_deaths: int
    waits_since: float = field(default_factory=time.monotonic)
    outcome: str = ""
    failure: str = ""


class Dispatcher:
    """Sends the stages of the current flow run to the pools of `settings.yaml`, and says when they are back.

    Attributes:
        id: of the current flow run.
        dispatched: what is away, by the names of the stages.
        pools_without_worker: pools in which nobody took a stage in time.
    """

    def __init__(self, client: SyncPrefectClient, project: str, product: str) -> None:
        self.client = client
        self.project = project
        self.product = product
        self.id = UUID(str(flow_run.id))
        self.dispatched: dict[str, DispatchedStage] = {}
        self.settings = settings.load()
        self.default_pool = self.settings.workers[settings.DEFAULT]
        self.pools_without_worker: set[str] = set()
        self.logger = get_run_logger()

    def require_deployments(self, stages: Iterable[Stage]) -> None:
        """Make sure that every stage can be sent, to the default pool as well.

        Raises:
            InputError: the server has no such deployment.
        """
        for pool in sorted({self.default_pool, *(self.settings.pool(stage.name) for stage in stages)}):
            name = self._deployment(pool)
            try:
                self.client.read_deployment_by_name(name)
            except ObjectNotFound:
                raise InputError(f"deployment '{name}' is not on the server; run `make deploy`") from None

    def send(self, stage: Stage, commit: str, ref: str) -> None:
        """Let a worker of the stage's pool run it, as it is at `commit`, which is to be had on `ref`."""
        pool = self.settings.pool(stage.name)
        parameters = {"stage": stage.name, "commit": commit, "ref": ref, "run": str(flow_run.name)}
        parameters["folder"] = self.product
        self._send(stage, parameters, self.default_pool if pool in self.pools_without_worker else pool)

    def returned(self) -> list[DispatchedStage]:
        """Wait a moment for what is away, and return what is done, well or not."""
        if self.dispatched:
            time.sleep(POLL_SECONDS)
        return [
            self.dispatched.pop(each.stage.name) for each in [*self.dispatched.values()] if self._has_returned(each)
        ]

    def has_ended(self, run: UUID) -> bool:
        """Return whether the server knows a flow run, and knows that it has ended."""
        try:
            state = self.client.read_flow_run(run).state
        except ObjectNotFound:
            return False
        return state is not None and state.is_final()

    def cancel(self, sender: UUID) -> None:
        """Cancel what workers still do for a run that has ended."""
        chosen = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[sender]), state=_NOT_ENDED)
        for run in self.client.read_flow_runs(flow_run_filter=chosen):
            self.client.set_flow_run_state(run.id, Cancelling(message="the run that sent it has ended"))

    def _deployment(self, pool: str) -> str:
        return f"stage/{self.project}-{pool}"

    def _send(self, stage: Stage, parameters: Mapping[str, str], pool: str, num_deaths: int = 0) -> None:
        def ask() -> FlowRun:
            key = f"{self.id} {flow_run.run_count} {stage.name} {pool} {num_deaths}"  # asked twice, the server starts one run
            run = run_deployment(
                self._deployment(pool), parameters=dict(parameters), timeout=0, tags=[pool], idempotency_key=key
            )
            assert isinstance(run, FlowRun)
            return run

        self.dispatched[stage.name] = DispatchedStage(stage, parameters, pool, self._answer(ask).id, num_deaths)
        self.logger.info("%s sent to %s", stage.name, pool)

    def _has_returned(self, dispatched: DispatchedStage) -> bool:
        run = self._answer(lambda: self.client.read_flow_run(dispatched.run))
        state = run.state
        if state is None or state.is_scheduled():
            return self._is_given_up(dispatched)
        if not state.is_final():
            self._answer(lambda: call_crashed_if_it_never_began(self.client, run))  # then it is sent again
            return False
        said = state.message or state.name or ""
        if state.is_completed():
            dispatched.outcome = said
        elif state.is_crashed() and dispatched.num_deaths < self.settings.retries.max:
            self.logger.warning("%s: %s; sent again", dispatched.stage.name, said)
            self._send(dispatched.stage, dispatched.parameters, dispatched.pool, dispatched.num_deaths + 1)
            return False
        else:
            dispatched.failure = said
        return True

    def _is_given_up(self, dispatched: DispatchedStage) -> bool:
        """Send a stage that nobody takes to the default pool, or give it up when that is the one without a worker."""
        now = time.monotonic()
        if now - dispatched.waits_since < self.settings.worker_wait_seconds:
            return False
        if self._is_busy(dispatched.pool):
            dispatched.waits_since = now
            return False
        self.pools_without_worker.add(dispatched.pool)
        reason = f"no worker of pool '{dispatched.pool}' took it within {self.settings.worker_wait_seconds:g} s"
        self._answer(lambda: self.client.set_flow_run_state(dispatched.run, Cancelling(message=reason)))
        if dispatched.pool == self.default_pool:
            own_pool = self._answer(lambda: self.client.read_flow_run(self.id)).work_pool_name
            is_own = own_pool == f"{self.project}-{dispatched.pool}"
            own = " (this run holds one of its workers' places itself)" if is_own else ""
            dispatched.failure = f"{reason}{own}; start one with `make worker POOL={dispatched.pool}`"
            return True
        self.logger.warning("%s: %s; sent to %s", dispatched.stage.name, reason, self.default_pool)
        self._send(dispatched.stage, dispatched.parameters, self.default_pool)
        return False

    def _is_busy(self, pool: str) -> bool:
        """Return whether a worker of the pool does something else: then it may take more when that has ended."""
        at_work = self._answer(
            lambda: self.client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=_AT_WORK),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[f"{self.project}-{pool}"])),
            )
        )
        return any(run.id != self.id for run in at_work)

    def _answer(self, ask: Callable[[], T]) -> T:
        """Return the server's answer, and wait for a server that is away for a while."""
        deadline = time.monotonic() + SERVER_AWAY_SECONDS
        while True:
            try:
                return ask()
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise
                self.logger.warning("the Prefect server does not answer (%s); waiting for it", error)
                time.sleep(POLL_SECONDS)
