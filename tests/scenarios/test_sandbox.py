"""A test key on the whole stack: the same way as every message, and nobody is reached."""

from __future__ import annotations

import json

import pytest

from adapters.store.keys import create_key
from domain.mode import Mode
from domain.sandbox import SCRIPTS
from tests.scenarios.driver import email, entries, mailbox, number, sms
from tests.scenarios.tenant import Tenant
from tests.waiting import until

SLOW = {"late", "silent", "unknown", "error", "unavailable"}
"""Scripts that end with their step's time."""


@pytest.fixture
def sandbox(hermes):
    """The stack, asked with a test key of acme's."""
    live = hermes.stack.keys["acme"]
    where = hermes.stack.data_dir / "hermes.db"
    hermes.stack.keys["acme"] = create_key(where, "acme", "sandbox", mode=Mode.TEST)
    hermes.stack.keys["acme, live"] = live
    until(lambda: hermes.request("GET", "/v1/messages").status_code == 200)
    try:
        yield hermes
    finally:
        hermes.stack.keys["acme"] = live
        del hermes.stack.keys["acme, live"]


@pytest.fixture
def endpoint():
    tenant = Tenant()
    yield tenant
    tenant.close()


def test_every_magic_recipient_on_the_whole_stack(sandbox):
    """Of each script one message by SMS, which falls back to e-mail where it fails; the carrier
    and the relay see none of them."""
    sent = {}
    for script in SCRIPTS:
        if script.suppressed:
            continue
        timeout = 1 if script.word in SLOW else 20
        plan = (sms(timeout=timeout), email(timeout=5))
        to = number(script.digits)
        sent[script.word] = sandbox.send(*plan, to_sms=to, to_email=mailbox("anna"))
    messages = {word: sandbox.ended(id_, within=40) for word, id_ in sent.items()}
    ends = {word: (m["status"], m["channel"]) for word, m in messages.items()}
    arrives = {"delivered", "early", "throttled", "unanswered", "read", "flaky", "twice"}
    assert {word for word, end in ends.items() if end == ("delivered", "sms")} == arrives
    assert {end for word, end in ends.items() if word not in arrives} == {("sent", "email")}
    assert {m["mode"] for m in messages.values()} == {"test"}
    assert sandbox.submits() == []
    assert sandbox.mails() == []


def test_somebody_who_has_opted_out(sandbox):
    body = sandbox.order(sms(), to_sms=number("9918"))
    refused = sandbox.request("POST", "/v1/messages", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "recipient_suppressed")


def test_a_killed_endpoint_loses_no_receipt(sandbox):
    """The receipts are Restate's: the process that promised them may die."""
    sent = [sandbox.send(sms(), to_sms=number("9911")) for _ in range(10)]
    sandbox.kill("endpoint")
    assert {m["status"] for m in sandbox.all_ended(sent)} == {"delivered"}


def test_the_callback_says_that_it_is_a_test(sandbox, endpoint):
    sent = sandbox.send(sms(), to_sms=number("9903"), status_callback=endpoint.url)
    sandbox.ended(sent)
    [(_, headers, body)] = until(lambda: list(endpoint.posts))
    event = json.loads(body)
    assert event["type"] == "message.failed"
    assert event["data"]["test"] is True
    assert (event["data"]["id"], event["data"]["failure"]) == (sent, "recipient_unreachable")
    assert headers["webhook-signature"]


def test_what_is_listed_is_kept_apart(sandbox):
    test = sandbox.send(sms(), to_sms=number())
    listed = sandbox.listed(limit=500)
    assert test in {message["id"] for message in listed}
    assert {message["mode"] for message in listed} == {"test"}


def test_a_test_message_costs_nothing_and_counts_nowhere(sandbox):
    def usage():
        return sandbox.request("GET", "/v1/usage", "acme, live").raise_for_status().json()

    before = usage()
    message = sandbox.ended(sandbox.send(sms(), to_sms=number()))
    assert usage() == before
    assert not [entry for entry in message["timeline"] if entry.get("cost")]
    assert entries(message, "submitted", provider="sandbox")
    assert sandbox.request("GET", "/v1/usage").json()["code"] == "live_key_required"


def test_a_person_is_forgotten_on_the_whole_stack(hermes):
    """Live messages this time: one that has ended, and one that is under way."""
    to = number("9902")
    ended = hermes.ended(hermes.send(sms(timeout=1), to_sms=to, metadata={"name": "Anna"}))
    under_way = hermes.send(sms(timeout=60), to_sms=to)
    hermes.until_event(under_way, "submitted")
    asked = {"to": {"sms": to}}
    found = hermes.request("DELETE", "/v1/recipients", json=asked).json()["recipients"]["sms"]
    assert found["erased"] >= 1
    assert found["under_way"] >= 1
    after = hermes.message(ended["id"])
    assert (after["to"], after["metadata"]) == ({"sms": ""}, {})
    assert (after["status"], after["failure"]["code"]) == ("failed", "timeout")
    assert hermes.listed(**{"metadata.name": "Anna"}) == []
    assert hermes.message(under_way)["to"] == {"sms": to}
    hermes.request("DELETE", f"/v1/messages/{under_way}")
    hermes.ended(under_way)
    found = hermes.request("DELETE", "/v1/recipients", json=asked).json()["recipients"]["sms"]
    assert found["erased"] >= 1
    assert hermes.message(under_way)["to"] == {"sms": ""}
