"""What people are told, through a webhook on this machine."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect import Flow, flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Failed, Running

from flows.server import events, notifications, registration
from flows.settings import Notify, NotifyHours
from rnnflow.runtime.errors import InputError
from tests.flows.servers import PROJECT, PrefectServer
from tests.flows.services import wait_until

HOURS = NotifyHours(silent=0.003, unchanged=0.003)
"""The least that Prefect allows is ten seconds."""
ALL = ["failed", "crashed", "worse", "promoted"]


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a webhook, and what has been sent to it."""
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


@flow(name="retrain")
def retrain() -> None:
    """Have the name by which runs are known; it is never run."""


@flow(name="stage")
def stage() -> None:
    """Have another name."""


@pytest.mark.slow
def test_people_are_told_what_the_settings_ask_for_and_no_more(
    server: PrefectServer, told: tuple[str, list[dict[str, str]]]
) -> None:
    url, received = told
    with temporary_settings({PREFECT_API_URL: server.api_url}), server.client() as client:
        Webhook(url=url).save("requests")
        CustomWebhookNotificationBlock(
            name="team", url=url, json_data={"subject": "{{subject}}", "text": "{{body}}"}
        ).save("team")
        wanted = [Notify(block="webhook/requests", of=ALL), Notify(block="custom-webhook/team", of=["failed"])]  # type: ignore[arg-type]
        made = notifications.automations(client, PROJECT, wanted, HOURS)
        for automation in made:
            assert registration.ensure_automation(client, automation) == registration.Change.CREATED
        again = [
            registration.ensure_automation(client, each)
            for each in notifications.automations(client, PROJECT, wanted, HOURS)
        ]
        assert set(again) == {registration.Change.UNCHANGED}
        ended: dict[str, tuple[Flow[[], None], State[None]]] = {
            "failed": (retrain, Failed(name="InputError", message='params.yaml: "epochs" is\nwrong')),
            "crashed": (retrain, Crashed(message="no heartbeat")),
            "fine": (retrain, Completed(message="up to date")),
            "of a stage": (stage, Failed(message="its parent says it")),
        }
        for name, (of, state) in ended.items():
            run = client.create_flow_run(of, name=name, tags=[PROJECT], state=Running())
            client.set_flow_run_state(run.id, state, force=True)
        resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", events.PROJECT: PROJECT}
        for event in (events.WORSE, events.PROMOTED):
            events.send(client, event, resource, {"said": f"said with {event}"})
        wait_until(lambda: len(received) >= 5, "five messages")
        lines = sorted((sent["subject"], sent["text"].partition("\nhttp")[0]) for sent in received)
        assert lines == [
            ("rnnflow: crashed, crashed", "no heartbeat"),
            ("rnnflow: failed, failed", 'params.yaml: "epochs" is\nwrong'),
            ("rnnflow: failed, failed", 'params.yaml: "epochs" is\nwrong'),
            ("rnnflow: promoted, of a stage", "said with rnnflow.production.promoted"),
            ("rnnflow: worse, of a stage", "said with rnnflow.verdict.worse"),
        ]
        assert sorted(notifications.remove_others(client, PROJECT, made[:1])) == sorted(each.name for each in made[1:])
        assert [*notifications.remove_others(client, PROJECT, [])] == [made[0].name]


def test_a_block_that_is_not_there_or_tells_nothing_is_refused(server: PrefectServer) -> None:
    with temporary_settings({PREFECT_API_URL: server.api_url}), server.client() as client:
        Secret(value="nothing").save("word", overwrite=True)
        for block, said in (
            ("slack-webhook/nobody", "is not on the server"),
            ("secret/word", "sends no notifications"),
        ):
            with pytest.raises(InputError, match=f"settings.yaml: notify: block '{block}' {said}"):
                notifications.automations(client, PROJECT, [Notify(block=block, of=["failed"])], HOURS)


@pytest.mark.slow
def test_people_are_told_when_nothing_has_succeeded_and_nothing_new_has_come_for_long(
    server: PrefectServer, told: tuple[str, list[dict[str, str]]]
) -> None:
    url, received = told
    with temporary_settings({PREFECT_API_URL: server.api_url}), server.client() as client:
        Webhook(url=url).save("requests", overwrite=True)
        (silent, unchanged) = notifications.automations(
            client, PROJECT, [Notify(block="webhook/requests", of=["silent", "unchanged"])], HOURS
        )
        for automation in (silent, unchanged):
            registration.ensure_automation(client, automation)
        run = client.create_flow_run(retrain, name="the last", tags=[PROJECT], state=Running())
        client.set_flow_run_state(run.id, Completed(message="5 stages: 5 ran"), force=True)
        resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", events.PROJECT: PROJECT}
        events.send(client, events.PUBLISHED, resource, {"said": "published as auto/main"})
        wait_until(lambda: len(received) >= 2, "two messages")
        assert sorted((sent["subject"], sent["text"]) for sent in received) == [
            (
                "rnnflow: silent, the last",
                "no run has succeeded for 0.003 hours; the last one: 5 stages: 5 ran",
            ),
            (
                "rnnflow: unchanged, the last",
                "nothing new was published for 0.003 hours; the last time: published as auto/main",
            ),
        ]
        assert len([*notifications.remove_others(client, PROJECT, [])]) == 2
