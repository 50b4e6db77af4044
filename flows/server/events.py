"""Events that this project sends to the Prefect server, by which its automations start runs or tell people."""

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.events import Event, Resource

PROJECT = "rnnflow.project"
"""Label of the events' resources."""
PROMOTED = "rnnflow.production.promoted"
PUBLISHED = "rnnflow.results.published"
WORSE = "rnnflow.verdict.worse"


def send(client: SyncPrefectClient, name: str, resource: Mapping[str, str], payload: Mapping[str, Any]) -> None:
    """Send an event, and return when the server has it; Prefect's `emit_event` leaves that to a thread."""
    event = Event(event=name, resource=Resource(dict(resource)), payload=dict(payload))
    client.request("POST", "/events", json=[event.model_dump(mode="json")])
