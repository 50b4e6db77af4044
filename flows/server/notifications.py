"""The automations that tell people what has become of a run, through Prefect's own blocks: Slack, e-mail, a webhook."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument, StateType
from prefect.events import Posture
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound

from flows.server.events import PROJECT, PROMOTED, PUBLISHED, WORSE
from flows.settings import Notify, NotifyHours
from rnnflow.runtime.errors import InputError

WEBHOOK = "webhook"
"""The one type of block that sends no notification but a request."""
_MESSAGE = "flow_run.state.message"
_SAID = "event.payload.said"
_REQUEST = '{"subject": {{ ("PROJECT: KIND, " ~ flow_run.name)|tojson }}, "text": {{ (TEXT)|tojson }}, "url": {{ flow_run|ui_url|tojson }}}'


@dataclass(frozen=True)
class _Kind:
    """What people can be told.

    Attributes:
        event: that the server sees.
        text: the line that is told, as Prefect's templates name it.
        labels: of the event's resource.
        of: labels of resources that it is related to.
        hours: None, or so long after the last event of this kind, if there was no further one.
    """

    event: str
    text: str
    labels: Mapping[str, str] = field(default_factory=dict)
    of: Sequence[Mapping[str, str]] = ()
    hours: float | None = None


def _ended(project: str, state: StateType) -> _Kind:
    """Return what a run of the flow `retrain` looks like that has ended so; its state may have any name."""
    tag = {"prefect.resource.id": f"prefect.tag.{project}", "prefect.resource.role": "tag"}
    flow = {"prefect.resource.name": "retrain", "prefect.resource.role": "flow"}
    return _Kind("prefect.flow-run.*", _MESSAGE, {"prefect.state-type": state.value}, [tag, flow])


def _kinds(project: str, hours: NotifyHours) -> dict[str, _Kind]:
    succeeded = _ended(project, StateType.COMPLETED)
    no_success = f"no run has succeeded for {hours.silent:g} hours; the last one: "
    no_news = f"nothing new was published for {hours.unchanged:g} hours; the last time: "
    return {
        "failed": _ended(project, StateType.FAILED),
        "crashed": _ended(project, StateType.CRASHED),
        "worse": _Kind(WORSE, _SAID, {PROJECT: project}),
        "promoted": _Kind(PROMOTED, _SAID, {PROJECT: project}),
        "silent": replace(succeeded, text=f"'{no_success}' ~ {_MESSAGE}", hours=hours.silent),
        "unchanged": _Kind(PUBLISHED, f"'{no_news}' ~ {_SAID}", {PROJECT: project}, hours=hours.unchanged),
    }


def _prefix(project: str) -> str:
    """Return how the names of these automations begin."""
    return f"{project}: tell "


def automations(
    client: SyncPrefectClient, project: str, wanted: Sequence[Notify], hours: NotifyHours
) -> list[AutomationCore]:
    """Return an automation for each thing that each block is to tell.

    Raises:
        InputError: a block is not on the server, or cannot tell anything.
    """
    return [
        _automation(project, entry, kind, _kinds(project, hours)[kind], _block(client, entry))
        for entry in wanted
        for kind in entry.of
    ]


def remove_others(client: SyncPrefectClient, project: str, wanted: Sequence[AutomationCore]) -> Iterator[str]:
    """Remove the automations that the settings do not ask for any more, and yield their names."""
    names = {automation.name for automation in wanted}
    for automation in client.read_automations():
        if automation.name.startswith(_prefix(project)) and automation.name not in names:
            client.delete_automation(automation.id)
            yield automation.name


def _automation(project: str, entry: Notify, name: str, kind: _Kind, block: BlockDocument) -> AutomationCore:
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*", **kind.labels},
        match_related=[dict(labels) for labels in kind.of],
        after=set() if kind.hours is None else {kind.event},
        expect={kind.event},
        posture=Posture.Reactive if kind.hours is None else Posture.Proactive,
        threshold=1,
        within=timedelta(hours=kind.hours or 0),
    )
    action = (
        CallWebhook(
            block_document_id=block.id,
            payload=_REQUEST.replace("PROJECT", project).replace("KIND", name).replace("TEXT", kind.text),
        )
        if entry.type == WEBHOOK
        else SendNotification(
            block_document_id=block.id,
            subject=f"{project}: {name}, {{{{ flow_run.name }}}}",
            body=f"{{{{ {kind.text} }}}}\n{{{{ flow_run|ui_url }}}}",
        )
    )
    description = "Made by `make deploy` as flows/settings.yaml says."
    return AutomationCore(
        name=f"{_prefix(project)}{entry.block} of {name}", description=description, trigger=trigger, actions=[action]
    )


def _block(client: SyncPrefectClient, entry: Notify) -> BlockDocument:
    try:
        block = client.read_block_document_by_name(entry.name, entry.type)
    except ObjectNotFound:
        raise InputError(
            f"settings.yaml: notify: block '{entry.block}' is not on the server; make it on the server's page Blocks, "
            "where its address and password stay"
        ) from None
    capabilities = block.block_schema.capabilities if block.block_schema else []
    if entry.type != WEBHOOK and "notify" not in capabilities:
        raise InputError(
            f"settings.yaml: notify: block '{entry.block}' sends no notifications; take one of type slack-webhook, "
            "sendgrid-email, custom-webhook or webhook, for example"
        )
    return block
