"""Calls to the Prefect server that the environment names, its refusals as one line."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL

from flows.redaction import redacted
from flows.server import temporary_server
from rnnflow.runtime.errors import InputError

HOW_TO_START = "start one with `make server`"


def has_lasting_server() -> bool:
    """Return whether Prefect's settings name a server, and one that will be there after this process."""
    url = PREFECT_API_URL.value()
    return bool(url) and not temporary_server.is_at(str(url))


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """A client of the server at `PREFECT_API_URL`, which has answered.

    Raises:
        InputError: no server is named, none answers there, or it refuses.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise InputError(
            f"PREFECT_API_URL is not set: {HOW_TO_START}, then export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    failure: str | None = None
    try:
        with get_client(sync_client=True) as client:
            client.api_version()
            yield client
    except httpx.TransportError as error:
        failure = str(error)
    except httpx.HTTPStatusError as error:
        raise InputError(redacted(f"{url}: {_refusal(error.response)}")) from None
    if failure is not None:  # not in the handler: a refused connection as its context would count as one that may pass
        raise InputError(redacted(f"{url}: no Prefect server answers ({failure}); {HOW_TO_START}"))


def _refusal(response: httpx.Response) -> str:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return "the server asks for a password: set PREFECT_API_AUTH_STRING to user:password"
    if response.status_code == httpx.codes.NOT_FOUND:
        return f"no Prefect API there ({response.request.url.path} not found); the address ends in /api"
    said = textwrap.shorten(response.text, 300)
    return f"{response.request.method} {response.request.url.path} was refused with {response.status_code}: {said}"
