"""A Prefect worker of type `process` whose runs say themselves that they end when it is stopped.

Prefect's own worker kills its runs (SIGKILL) when it gets SIGTERM or Ctrl-C. Such a run leaves its clone and half of its
log behind, and the server believes that it goes on until its heartbeats are missed. This one tells its runs to end and
gives them time, and lets a worker take those again that had not begun. `python process_worker.py` takes the options of
`prefect worker start`; it needs nothing but Prefect.
"""

import logging
import os
import re
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
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import flow_run_logger
from prefect.runner._state_proposer import StateProposer
from prefect.states import Scheduled
from prefect.utilities.templating import resolve_variables
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

GRACE_SECONDS = 30.0
"""More than a run takes to end its stage with DVC's locks freed; less than an init system waits (90 s with systemd)."""
ANSWER_SECONDS = 10.0
"""In which the server takes back a run of a worker that is stopped; if it does not, it finds the run by itself, later."""
AGAIN_SECONDS = 60.0
"""Before a second try: a server that was away may be back."""

LOOK_SECONDS = 60.0
"""Between two looks at a run that has not begun; the server calls it crashed after a while (flows/settings.yaml)."""
GIT_ENVIRONMENT = {
    "GIT_HTTP_LOW_SPEED_LIMIT": "1",  # bytes a second,
    "GIT_HTTP_LOW_SPEED_TIME": "60",  # for so long: Git itself would wait for a silent server for ever
    "GIT_TERMINAL_PROMPT": "0",  # nobody is there to type a password
}
"""Of runs, whose code Prefect clones. Where the machine's own environment says otherwise, that holds."""
GIT_CLONE = "prefect.deployments.steps.git_clone"
GIT_SECONDS = 90.0
"""Of patience with a repository that is asked why it gave no code; over HTTP, Git has less."""
PULL_FAILED = "Process exited with status code: 1."
NOISE = ("Runner failed to retrieve flow to execute on_", "Aborted submission of flow run ")
"""How lines begin that a flow without hooks, and a run that waits for another one to end, would have in their logs."""

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
            group.start_soon(self._end_if_not_begun, flow_run.id, pid)
            try:
                await ended.wait()
                group.cancel_scope.cancel()
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

    async def _end_if_not_begun(self, run: UUID, pid: int) -> None:
        """End the process of a run that is over before it has begun: it may wait for a silent Git server for ever."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            with suppress(httpx.HTTPError):
                found = await self.client.read_flow_run(run)
                if found.run_count:
                    return
                if found.state and found.state.is_final():
                    with suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                    return

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


_propose_crashed = StateProposer.propose_crashed


async def _propose_crashed_with_reason(self: StateProposer, flow_run: FlowRun, message: str) -> State[Any] | None:
    """Call a run crashed; if that is because its code cannot be cloned, say so, which Prefect tells nobody."""
    if message.startswith(PULL_FAILED):
        with suppress(httpx.HTTPError, ObjectNotFound):
            async with get_client() as client:
                has_begun = (await client.read_flow_run(flow_run.id)).run_count
                if not has_begun and (why := await _refusal(client, flow_run)):
                    message = why
                    flow_run_logger(flow_run).error("%s", message)
    return await _propose_crashed(self, flow_run, message)


async def _refusal(client: PrefectClient, flow_run: FlowRun) -> str:
    """Return why Git does not give the code of a run's deployment, or nothing if it does."""
    deployment = await client.read_deployment(flow_run.deployment_id) if flow_run.deployment_id else None
    for step in (deployment and deployment.pull_steps) or []:
        if GIT_CLONE in step:
            clone: dict[str, str] = await resolve_variables(step[GIT_CLONE], client=client)
            if why := await _refused_by_git(clone["repository"], clone["branch"]):
                line = f"The code could not be cloned from {clone['repository']}: {why}"
                return re.sub(r"://[^/@\s]*@", "://", line)  # which may be a token
    return ""


async def _refused_by_git(repository: str, branch: str) -> str:
    """Return Git's own line if there is no such branch to be had, or nothing."""
    command = ["git", "ls-remote", "--exit-code", repository, f"refs/heads/{branch}"]
    with anyio.move_on_after(GIT_SECONDS):
        listed = await anyio.run_process(command, check=False, env=os.environ | {"LC_ALL": "C"})
        if not listed.returncode:
            return ""
        lines = listed.stderr.decode(errors="replace").strip().splitlines() or [f"no branch '{branch}' there"]
        return next((line for line in lines if line.startswith("fatal:")), lines[-1]).removeprefix("fatal: ")
    return f"no answer within {GIT_SECONDS:g} s"


class ForPeople(logging.Filter):
    """Lets a run's log say once which worker takes it, not every ten seconds as long as another run is at work."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_news = not message.startswith(NOISE) and message not in self._taken
        if message.startswith("Worker "):
            self._taken.add(message)
        return is_news


if __name__ == "__main__":
    os.environ |= GIT_ENVIRONMENT | os.environ
    StateProposer.propose_crashed = _propose_crashed_with_reason  # type: ignore[method-assign]
    for name in ("prefect.flow_runs", "prefect.flow_runs.worker"):
        logging.getLogger(name).addFilter(ForPeople())
    sys.argv[1:1] = ["worker", "start", "--type", "process"]
    app()
