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
from prefect.states import Cancelled, Crashed

from flows.server.connection import has_lasting_server

EVENT = "prefect.flow-run.heartbeat"
SECONDS = 5.0
WORKER_SECONDS = 35.0
"""What a worker needs at most to end a cancelled run; after that it is not there."""


@contextmanager
def alive() -> Iterator[None]:
    """Keep in touch with the server about the current flow run, if there is one, as long as this lasts.

    Raises:
        Abort: the server says that the run has been cancelled, is over or is repeated; what it did has ended.
    """
    if not has_lasting_server():
        yield
        return
    run_state = _RunState(UUID(flow_run.id))
    try:  # from the first moment on: what is told to end before it has begun is cancelled as well
        with _in_touch(run_state):
            yield
    except TerminationSignal:
        with get_client(sync_client=True) as client:
            run_state.apply(client)
        raise


@contextmanager
def _in_touch(run_state: "_RunState") -> Iterator[None]:
    """Send signs of life and look at the run's state, each in a thread: the client tries again while the server is away."""
    resource = {
        "prefect.resource.id": f"prefect.flow-run.{run_state.run}",
        "prefect.resource.name": flow_run.name or "",
    }
    ended = threading.Event()
    with get_client(sync_client=True) as client:

        def look() -> None:
            if run_state.is_to_end(client) and not ended.is_set():
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

    def __init__(self, run: UUID) -> None:
        self.run = run
        self.cancelling_since: float | None = None
        self.own_number: int | None = None  # how often it has been run with this time, known from the first answer on
        self.number: int | None = None

    def is_to_end(self, client: SyncPrefectClient) -> bool:
        """Whether it is over, repeated by another process, or cancelled and nobody else ends it."""
        state = self._ask(client)
        if state is None or not state.is_cancelling():
            return state is not None and self._is_elsewhere(state)
        self.cancelling_since = self.cancelling_since or time.monotonic()
        return time.monotonic() - self.cancelling_since > WORKER_SECONDS

    def apply(self, client: SyncPrefectClient) -> None:
        """Leave a run that was told to end in the state it was told to, where Prefect would call it crashed."""
        state = self._ask(client)
        if state and state.is_cancelling():
            state = Cancelled(message="Cancelled; everything that it had started has ended.")
            get_run_logger().warning("%s", state.message)
            client.set_flow_run_state(self.run, state)
        elif state and state.is_running() and self.number == self.own_number:
            # Prefect's own word for it comes too late where an init system waits no longer.
            message = "It was told to end (SIGTERM): its worker or its machine is being stopped."
            client.set_flow_run_state(self.run, Crashed(message=message))
            raise Abort from None
        if state and self._is_elsewhere(state):
            raise Abort from None

    def _is_elsewhere(self, state: State) -> bool:
        """Whether it has ended, or is called crashed and waits for another process or has one."""
        return state.is_final() or state.is_scheduled() or self.number != self.own_number

    def _ask(self, client: SyncPrefectClient) -> State | None:
        try:
            found = client.read_flow_run(self.run)
        except httpx.HTTPError:
            return None
        self.number = found.run_count
        self.own_number = self.own_number or self.number
        return found.state


def _repeat(action: Callable[[], object], ended: threading.Event) -> None:
    """Do something every few seconds in a thread; in a copy of the context, so that events name the flow and tags."""

    def run() -> None:
        while not ended.wait(SECONDS):
            action()

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
