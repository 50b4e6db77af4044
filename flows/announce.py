"""Says to the Prefect server that data has arrived, so that a run starts without waiting for the clock."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rnnflow.runtime.errors import InputError, exit_on_input_error

EVENT = "rnnflow.data.arrived"
RESOURCE = "rnnflow.data.raw."
"""Both, with the project's name after the second, are named in `prefect.yaml`, by the trigger of the deployment that is to run."""


def main(argv: Sequence[str] | None = None) -> None:
    """Send the event and return when the server has it."""
    arguments = _parser().parse_args(argv)
    with exit_on_input_error():
        delivery: str = arguments.delivery
        announce(delivery, arguments.why or " ".join(["new data", delivery]).strip(), arguments.folder)


def announce(delivery: str, why: str, folder: str = ".") -> None:
    """Send the event and print which automations it starts.

    Raises:
        InputError: the server does not answer, or nothing on it listens.
    """
    from prefect.events.schemas.automations import EventTrigger

    from flows.redaction import redacted
    from flows.repository.project import project_name
    from flows.repository.workspace import own_repository
    from flows.server import events
    from flows.server.connection import connected

    resource = f"{RESOURCE}{project_name(own_repository(Path.cwd()), folder)}"

    with connected() as client:
        listening = [
            automation.name
            for automation in client.read_automations()
            if isinstance(automation.trigger, EventTrigger)
            and EVENT in automation.trigger.expect
            and resource in (automation.trigger.match.get("prefect.resource.id") or ())
            and automation.enabled
        ]
        if not listening:
            raise InputError(
                f"no deployment on {redacted(str(client.api_url))} listens for {EVENT} of {resource}; run `make deploy`"
            )
        labels = {"prefect.resource.id": resource, "prefect.resource.name": "data/raw"}
        events.send(client, EVENT, labels, {"delivery": delivery, "why": why})
    print(f"announced: {why} ({', '.join(listening)})")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.announce",
        description="Tell the Prefect server at PREFECT_API_URL that data has arrived: it starts a run.",
    )
    parser.add_argument("--delivery", default="", metavar="NAME", help="what has arrived, such as june")
    parser.add_argument("--folder", default=".", help="the one with dvc.yaml, as for `python -m flows.deploy`")
    parser.add_argument("--why", metavar="TEXT", help="the reason, shown in the run's name; default: new data NAME")
    return parser


if __name__ == "__main__":
    main()
