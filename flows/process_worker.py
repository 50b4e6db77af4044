"""A Prefect worker of type `process` whose runs say themselves that they end when it is stopped.

Prefect's own worker kills its runs (SIGKILL) when it gets SIGTERM or Ctrl-C. Such a run leaves its clone and half of its
log behind, and the server believes that it goes on until its heartbeats are missed. This one tells its runs to end and
gives them time, and lets a worker take those again that had not begun. `python process_worker.py` takes the options of
`prefect worker start`; it needs nothing but Prefect.
"""

import os
import signal
import sys
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import anyio
import httpx
from anyio.abc import TaskStatus
from prefect.cli import app
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

GRACE_SECONDS = 30.0
"""More than a run takes to end its stage with DVC's locks freed; less than an init system waits (90 s with systemd)."""
ANSWER_SECONDS = 10.0
"""In which the server takes back a run of a worker that is stopped; if it does not, it finds the run by itself, later."""
AGAIN_SECONDS = 60.0
"""Before a second try: a server that was away may be back."""

warnings.filterwarnings("ignore", "Type 'EndingProcessWorker' .* has key 'process'")  # it is meant to take its place


class EndingProcessWorker(ProcessWorker):
    """Takes the place of Prefect's own worker of this type, in this process."""

    type = "process"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tried_again: set[UUID] = set()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow; if the worker is stopped meanwhile, tell the flow's process to end and wait a while for it.

        A run that has ended before its flow began has lost nothing, and waits for a worker again: as often as a worker is
        stopped, and once if its process has died or did not reach the server.
        """
        results: list[ProcessWorkerResult] = []
        ended = anyio.Event()
        scope = anyio.CancelScope(shield=True)
        prefects_run = partial(super().run, flow_run, configuration)

        async def run(*, task_status: TaskStatus[int]) -> None:
            with scope:
                results.append(await prefects_run(task_status))
            ended.set()

        async with anyio.create_task_group() as group:
            pid = await group.start(run)
            if task_status:
                task_status.started(pid)
            try:
                await ended.wait()
            except anyio.get_cancelled_exc_class():
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)
                scope.deadline = anyio.current_time() + GRACE_SECONDS
                with anyio.CancelScope(shield=True):  # not for longer than that
                    await ended.wait()
                    with anyio.move_on_after(ANSWER_SECONDS):
                        await self._put_back(flow_run.id, "Its worker was stopped before it began.")
                raise
        (result,) = results
        if result.status_code and flow_run.id not in self._tried_again:
            self._tried_again.add(flow_run.id)
            if await self._put_back(flow_run.id, "Its process ended before it began.", AGAIN_SECONDS):
                return ProcessWorkerResult(identifier=result.identifier, status_code=0)  # or it would be called crashed
        return result

    async def _put_back(self, run: UUID, why: str, delay_seconds: float = 0.0) -> bool:
        """Let a worker take a run that has not begun after a while, and return whether it is one.

        A run that another one has sent, as a stage of a coordinated run, is sent again by that one.
        """
        try:
            found = await self.client.read_flow_run(run)
            is_lost = found.state is not None and (found.state.is_pending() or found.state.is_crashed())
            if found.run_count or found.parent_task_run_id or not is_lost:
                return False
            due = datetime.now(UTC) + timedelta(seconds=delay_seconds)
            await self.client.set_flow_run_state(run, Scheduled(scheduled_time=due, message=why))
        except httpx.HTTPError:  # the server is away for long; its own automation finds the run
            return False
        return True


if __name__ == "__main__":
    sys.argv[1:1] = ["worker", "start", "--type", "process"]
    app()
