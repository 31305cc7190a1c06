"""The two doors: what a tenant may see and repeat, and the trusted one behind it."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta

import msgspec

from domain.ids import RANDOMNESS, fresh_id
from domain.message import Content, Level, MessageOrder, Step
from tests.scenarios.driver import email, mailbox, number, sms
from tests.waiting import until


def test_two_tenants_see_nothing_of_each_other(hermes):
    to = number()
    ours = hermes.send(sms(), to_sms=to, metadata={"secret": "ours"})
    theirs = hermes.send(sms(), to_sms=to, metadata={"secret": "theirs"}, tenant="globex")
    hermes.ended(ours)
    for stranger, message_id in (("globex", ours), ("acme", theirs)):
        for method in ("GET", "DELETE"):
            answer = hermes.request(method, f"/v1/messages/{message_id}", stranger)
            assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")
        listed = hermes.listed(stranger)
        assert message_id not in {message["id"] for message in listed}
    assert [m["id"] for m in hermes.listed("globex", **{"metadata.secret": "theirs"})] == [theirs]
    assert hermes.listed("globex", **{"metadata.secret": "ours"}) == []


def test_the_same_key_of_two_tenants_is_two_messages(hermes):
    to, key = number(), {"idempotency-key": f"order-{os.urandom(4).hex()}"}
    ours = hermes.send(sms(), to_sms=to, headers=key)
    theirs = hermes.send(sms(), to_sms=to, headers=key, tenant="globex")
    assert ours != theirs
    until(lambda: len(hermes.submits(to)) == 2)


def test_idempotent_repeat_delivers_once(hermes):
    to, key = number(), {"idempotency-key": f"order-{os.urandom(4).hex()}"}
    body = hermes.order(sms(), to_sms=to)
    answers = [hermes.request("POST", "/v1/messages", json=body, headers=key) for _ in range(3)]
    assert [a.status_code for a in answers] == [202, 202, 202]
    assert len({a.text for a in answers}) == 1
    replayed = ["idempotent-replayed" in a.headers for a in answers]
    assert replayed == [False, True, True]
    hermes.ended(answers[0].json()["id"])
    again = hermes.request("POST", "/v1/messages", json=body, headers=key)
    assert (again.status_code, again.text) == (202, answers[0].text)
    other = hermes.request("POST", "/v1/messages", json=body | {"ttl": 999}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(hermes.submits(to)) == 1


def test_traceparent_reaches_the_message(hermes):
    trace = os.urandom(16).hex()
    header = {"traceparent": f"00-{trace}-{os.urandom(8).hex()}-01"}
    message = hermes.ended(hermes.send(email(), to_email=mailbox(), headers=header))
    assert message["trace_id"] == trace


def test_traceparent_reaches_restate(hermes):
    trace = os.urandom(16).hex()
    header = {"traceparent": f"00-{trace}-{os.urandom(8).hex()}-01"}
    sent = hermes.send(email(), to_email=mailbox(), headers=header)
    rows = until(
        lambda: hermes.sql(
            "SELECT trace_id FROM sys_invocation"
            f" WHERE target_service_key = '{sent}' AND target_handler_name = 'send'"
        )
    )
    assert rows == [{"trace_id": trace}]


def test_trusted_door_delivers(hermes):
    now = datetime.now(UTC)
    to, message_id = number(), fresh_id(now, os.urandom(RANDOMNESS))
    order = MessageOrder(
        tenant="acme",
        to={"sms": to},
        content=Content("through the trusted door"),
        plan=(Step("sms", timeout=30, success=Level.DELIVERED),),
        accepted_at=now,
        expires_at=now + timedelta(minutes=5),
    )
    answer = subprocess.run(
        [
            *("curl", "--silent", "--fail-with-body", "--json", msgspec.json.encode(order)),
            f"{hermes.stack.ingress_url}/restate/send/Message/{message_id}/send",
        ],
        capture_output=True,
    )
    assert json.loads(answer.stdout)["status"] == "Accepted"
    message = hermes.ended(message_id)
    assert message["status"] == "delivered"
    assert [submit["text"] for submit in hermes.submits(to)] == ["through the trusted door"]
    assert hermes.listed()[0]["id"] == message_id


def test_trusted_door_refuses_what_no_door_of_ours_would_let_in(hermes):
    now = datetime.now(UTC)
    order = MessageOrder(
        tenant="acme",
        to={},
        content=Content("x"),
        plan=(Step("sms", timeout=30, success=Level.DELIVERED),),
        accepted_at=now,
        expires_at=now + timedelta(minutes=5),
    )
    url = f"{hermes.stack.ingress_url}/restate/call/Message/{fresh_id(now, bytes(10))}/send"
    answer = hermes.http.post(url, json=msgspec.to_builtins(order))
    assert (answer.status_code, answer.json()["message"]) == (400, "to: no address for sms")


def test_delivery_services_are_not_on_the_trusted_door(hermes):
    for service in ("SmsDelivery", "EmailDelivery"):
        url = f"{hermes.stack.ingress_url}/restate/call/{service}/deliver"
        assert hermes.http.post(url, json={}).status_code in (400, 404)
