"""A Prefect worker of type `process` whose runs say themselves that they end when it is stopped.

Prefect's own worker kills its runs (SIGKILL) when it gets SIGTERM or Ctrl-C. Such a run leaves its clone and half of its
log behind, and the server believes that it goes on until its heartbeats are missed. This one tells its runs to end and
gives them time. `python process_worker.py` takes the options of `prefect worker start`; it needs nothing but Prefect.
"""

import os
import signal
import sys
import warnings
from contextlib import suppress
from functools import partial

import anyio
from anyio.abc import TaskStatus
from prefect.cli import app
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

GRACE_SECONDS = 30.0
"""More than a run takes to end its stage with DVC's locks freed; less than an init system waits (90 s with systemd)."""

warnings.filterwarnings("ignore", "Type 'EndingProcessWorker' .* has key 'process'")  # it is meant to take its place


class EndingProcessWorker(ProcessWorker):
    """Takes the place of Prefect's own worker of this type, in this process."""

    type = "process"

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow; if the worker is stopped meanwhile, tell the flow's process to end and wait a while for it."""
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
                raise
        return results[0]


if __name__ == "__main__":
    sys.argv[1:1] = ["worker", "start", "--type", "process"]
    app()
