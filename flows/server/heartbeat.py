"""The line between a flow run and the server while the run is at work: signs of life one way, its state the other.

Prefect's own heartbeats are at least 30 seconds apart. A silence short enough to find a death within 90 seconds is then
too short for a server that is away for a minute; with heartbeats in between, the first reaches the server as soon as it
is back, and both hold. The other way, a run is told of its cancellation by its worker alone: one whose worker has died,
or has lost the server for a while, would go on for ever, and so would one that was taken for dead and is not.
"""

import contextvars
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.exceptions import Abort, TerminationSignal
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled

EVENT = "prefect.flow-run.heartbeat"
SECONDS = 5.0
WORKER_SECONDS = 35.0
"""What a worker needs at most to end a cancelled run; after that it is not there."""


@contextmanager
def alive() -> Iterator[None]:
    """Keep in touch with the server about the current flow run, if there is one, as long as this lasts.

    Raises:
        Abort: the server says that the run has been cancelled or is over; what it did has ended.
    """
    if not PREFECT_API_URL.value():
        yield
        return
    run = UUID(flow_run.id)
    try:  # from the first moment on: what is told to end before it has begun is cancelled as well
        with _in_touch(run):
            yield
    except TerminationSignal:
        with get_client(sync_client=True) as client:
            _RunState(client, run).apply()
        raise


@contextmanager
def _in_touch(run: UUID) -> Iterator[None]:
    """Send signs of life and look at the run's state, each in a thread: the client tries again while the server is away."""
    resource = {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.name": flow_run.name or ""}
    ended = threading.Event()
    with get_client(sync_client=True) as client:
        run_state = _RunState(client, run)

        def look() -> None:
            if run_state.is_to_end() and not ended.is_set():
                ended.set()
                os.kill(os.getpid(), signal.SIGTERM)  # as a worker would: the flow ends its stage, then itself

        _repeat(lambda: emit_event(event=EVENT, resource=resource), ended)
        _repeat(look, ended)
        try:
            yield
        finally:
            ended.set()


class _RunState:
    """What the server says about a flow run."""

    def __init__(self, client: SyncPrefectClient, run: UUID) -> None:
        self.client = client
        self.run = run
        self.cancelling_since: float | None = None

    def is_to_end(self) -> bool:
        """Whether it is over, or cancelled and nobody else ends it."""
        state = self._ask()
        if state is None or not state.is_cancelling():
            return state is not None and state.is_final()
        self.cancelling_since = self.cancelling_since or time.monotonic()
        return time.monotonic() - self.cancelling_since > WORKER_SECONDS

    def apply(self) -> None:
        """Leave a run that was told to end in the state it was told to, where Prefect would call it crashed."""
        state = self._ask()
        if state and state.is_cancelling():
            state = Cancelled(message="Cancelled; everything that it had started has ended.")
            get_run_logger().warning("%s", state.message)
            self.client.set_flow_run_state(self.run, state)
        if state and state.is_final():
            raise Abort from None

    def _ask(self) -> State | None:
        try:
            return self.client.read_flow_run(self.run).state
        except httpx.HTTPError:
            return None


def _repeat(action: Callable[[], object], ended: threading.Event) -> None:
    """Do something every few seconds in a thread; in a copy of the context, so that events name the flow and tags."""

    def run() -> None:
        while not ended.wait(SECONDS):
            action()

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
