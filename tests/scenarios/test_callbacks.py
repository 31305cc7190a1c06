"""A tenant's endpoints, from outside: told once each event in order, whatever dies in between."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook

from tests.scenarios.driver import TERMINAL, email, mailbox, number, sms
from tests.waiting import known_everywhere, until

PROGRESS = ["message.submitted", "message.attempt_failed"]
ENDS = ["message.sent", "message.delivered", "message.failed", "message.expired"]


class Receiver:
    """A tenant's endpoint that keeps every event that it took, and every id that it was sent."""

    def __init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): text for name, text in self.headers.items()}
                receiver.hurry.wait(receiver.delay)
                receiver.tries.append(headers["webhook-id"])
                failing = receiver.failures > 0
                receiver.failures -= failing
                if not failing:
                    receiver.taken.append((headers, body))
                self.send_response(500 if failing else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.delay = 0.0
        self.hurry = threading.Event()
        self.failures = 0
        self.tries: list[str] = []
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hermes"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def told(self, message: str) -> list[str]:
        """The types of the events about a message, in the order in which they were taken."""
        events = [json.loads(body) for _, body in self.taken]
        return [event["type"] for event in events if event["data"].get("id") == message]


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def endpoint(hermes, receiver):
    """Acme's endpoint, which follows everything."""
    body = {"url": receiver.url, "events": [*PROGRESS, *ENDS]}
    answer = hermes.request("POST", "/v1/callbacks", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    # Every process knows of a change within a second.
    time_is_over = time.monotonic() + 1.0
    until(lambda: time.monotonic() > time_is_over)
    yield made
    hermes.request("DELETE", f"/v1/callbacks/{made['id']}")


def look(hermes, endpoint):
    return hermes.request("GET", f"/v1/callbacks/{endpoint['id']}").json()


def test_events_come_signed_in_order_and_stand_in_the_timeline(hermes, receiver, endpoint):
    message = hermes.send(
        sms(timeout=60), email(), to_sms=number("9903"), to_email=mailbox(), metadata={"order": "7"}
    )
    expected = [
        "message.submitted",
        "message.submitted",
        "message.sent",
    ]
    until(lambda: receiver.told(message) == expected)
    for headers, body in receiver.taken:
        Webhook(endpoint["secret"]).verify(body, headers)
    last = json.loads(receiver.taken[-1][1])["data"]
    assert (last["status"], last["channel"], last["metadata"]) == ("sent", "email", {"order": "7"})

    def callbacks():
        timeline = hermes.message(message)["timeline"]
        lines = [line["callback"] for line in timeline if line["event"] == "callback"]
        return lines if all(line["state"] == "delivered" for line in lines) else None

    lines = until(callbacks)
    assert [line["type"] for line in lines] == expected
    assert {line["endpoint"] for line in lines} == {endpoint["id"]}
    assert {line["tries"] for line in lines} == {1}


def test_an_endpoint_that_fails_once_is_told_later_and_still_in_order(hermes, receiver, endpoint):
    receiver.failures = 1
    message = hermes.send(sms(), to_sms=number())
    hermes.ended(message)
    until(lambda: receiver.tries)
    waiting = until(lambda: (e := look(hermes, endpoint))["health"]["failures"] and e)
    assert (waiting["state"], waiting["health"]["error"]) == ("failing", "HTTP 500")
    assert waiting["backlog"]["waiting"] == 2
    until(lambda: receiver.told(message) == ["message.submitted", "message.delivered"])
    assert len(receiver.tries) == 3
    until(lambda: look(hermes, endpoint)["backlog"]["waiting"] == 0)


def test_an_endpoint_that_was_disabled_is_told_what_waited(hermes, receiver, endpoint):
    path = f"/v1/callbacks/{endpoint['id']}"
    hermes.request("PATCH", path, json={"enabled": False})
    known_everywhere()
    messages = [hermes.send(sms(), to_sms=number()) for _ in range(5)]
    for message in messages:
        hermes.ended(message)
    until(lambda: look(hermes, endpoint)["backlog"]["waiting"] == 10)
    assert receiver.tries == []
    hermes.request("PATCH", path, json={"enabled": True})
    until(lambda: len(receiver.taken) == 10)
    for message in messages:
        assert receiver.told(message) == ["message.submitted", "message.delivered"]


def test_a_replay_brings_the_same_ids_again(hermes, receiver, endpoint):
    message = hermes.send(sms(), to_sms=number())
    until(lambda: len(receiver.told(message)) == 2)
    until(lambda: look(hermes, endpoint)["backlog"]["waiting"] == 0)
    path = f"/v1/callbacks/{endpoint['id']}/replay"
    answer = hermes.request("POST", path, json={"since": "2026-01-01T00:00:00Z"})
    assert answer.json()["replayed"] == 2
    until(lambda: len(receiver.told(message)) == 4)
    ids = [headers["webhook-id"] for headers, _ in receiver.taken]
    assert ids[2:] == ids[:2]


def test_a_message_of_another_tenant_is_told_nobody_here(hermes, receiver, endpoint):
    theirs = hermes.send(sms(), tenant="globex", to_sms=number())
    ours = hermes.send(sms(), to_sms=number())
    until(lambda: len(receiver.told(ours)) == 2)
    until(lambda: hermes.message(theirs, "globex")["status"] in TERMINAL)
    assert receiver.told(theirs) == []


def test_handlers_killed_while_events_wait_lose_none(hermes, receiver, endpoint):
    receiver.delay = 0.3
    messages = [hermes.send(sms(), to_sms=number()) for _ in range(40)]
    until(lambda: len(receiver.taken) >= 5)
    hermes.kill("endpoint")
    receiver.hurry.set()
    for message in messages:
        until(
            lambda name=message: (
                set(receiver.told(name)) == {"message.submitted", "message.delivered"}
            ),
            within=60,
        )
        # What was on its way when the process died may come twice, by the same id.
        assert receiver.told(message)[0] == "message.submitted"
        assert receiver.told(message)[-1] == "message.delivered"
    until(lambda: look(hermes, endpoint)["backlog"]["waiting"] == 0)
