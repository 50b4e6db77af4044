"""The automations by which a server notices that a flow run is dead: it has no other way to tell."""

from collections.abc import Collection
from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events import Posture
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger

SILENCE_SECONDS = 85
"""Longer than a server's absence of a minute and its start; shorter than the 90 in which a death is to be found."""
REPEATED = "Repeated"
REPEAT_SECONDS = 60
"""Between a death and the second try."""

_RUN = "prefect.flow-run."


def never_began(start_seconds: float) -> str:
    """Return what is said of a run that a worker took so long ago, and that has not begun."""
    return f"Not running {start_seconds:g} s after a worker took it: its worker has died, or its repository is silent."


def automations(project: str, start_seconds: float) -> list[AutomationCore]:
    """Return the automations that a server needs for a project's runs, which carry its name as a tag.

    Runs of other projects on the server may send heartbeats more seldom. What a trigger begins to wait with is among what it
    waits for as well: only then does a further one begin the wait anew, of a run that was put back or is repeated.

    Args:
        project: its name.
        start_seconds: in which a run begins after a worker took it.
    """
    return [
        _after_silence(
            project,
            name="runs that fell silent",
            description="The process of a run has died, with its worker or alone: it sends no heartbeats any more.",
            after={"Running", "heartbeat"},
            within=SILENCE_SECONDS,
            message=f"No heartbeat for {SILENCE_SECONDS} s: the flow's process, its worker or its machine has died.",
        ),
        _after_silence(
            project,
            name="runs that never began",
            description="A worker took a run and died before its flow began.",
            after={"Pending"},
            within=start_seconds,
            message=never_began(start_seconds),
        ),
        _after_silence(
            project,
            name="runs whose cancellation nobody ends",
            description="The process of a run has died with its worker while it was being cancelled.",
            after={"Cancelling"},
            expect=("Cancelling", "Cancelled", "Crashed", "Completed", "Failed"),
            within=SILENCE_SECONDS,
            state=StateType.CANCELLED,  # not crashed, or it would be repeated
            message=f"Cancelled; what it had started has not said within {SILENCE_SECONDS} s that it has ended.",
        ),
        _repeat(project),
    ]


def _repeat(project: str) -> AutomationCore:
    """Return the automation that schedules a crashed run again, once: whichever worker is there takes it.

    It waits a while, since a death is told twice: a worker's own word for it may come late, and would be taken for a
    second death, of the run that has just been scheduled again.
    """
    trigger = EventTrigger(
        match={"prefect.resource.id": f"{_RUN}*", "prefect.run-count": "1"},
        match_related=[
            {"prefect.resource.id": f"prefect.tag.{project}", "prefect.resource.role": "tag"},
            {"prefect.resource.name": "retrain", "prefect.resource.role": "flow"},  # a stage is sent again by its run
        ],
        for_each={"prefect.resource.id"},
        after={f"{_RUN}Crashed"},
        expect={f"{_RUN}{REPEATED}"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=REPEAT_SECONDS),
    )
    action = ChangeFlowRunState(state=StateType.SCHEDULED, name=REPEATED, message="It crashed, and is repeated once.")
    return AutomationCore(
        name=f"{project}: crashed runs once more",
        description="A run whose process, worker or machine died is repeated, once; its training continues.",
        trigger=trigger,
        actions=[action],
    )


def _after_silence(
    project: str,
    *,
    name: str,
    description: str,
    after: set[str],
    within: float,
    message: str,
    expect: Collection[str] = ("*",),
    state: StateType = StateType.CRASHED,
) -> AutomationCore:
    """Return the automation that says how a run has ended; the server refuses that for one that has ended already.

    Args:
        project: whose runs these are.
        name: the automation's, behind that of the project.
        description: the automation's.
        after: the events that it begins to wait with, anew with each.
        within: so many seconds.
        message: the state's.
        expect: the events that it waits for; by default the next sign of life, or whatever state the run is in now.
        state: that the run is in from then on.
    """
    trigger = EventTrigger(
        match={"prefect.resource.id": f"{_RUN}*"},
        match_related={"prefect.resource.id": f"prefect.tag.{project}", "prefect.resource.role": "tag"},
        for_each={"prefect.resource.id"},
        after={f"{_RUN}{event}" for event in after},
        expect={f"{_RUN}{event}" for event in expect},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=within),
    )
    action = ChangeFlowRunState(state=state, message=message)
    return AutomationCore(name=f"{project}: {name}", description=description, trigger=trigger, actions=[action])
