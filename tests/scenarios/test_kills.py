"""kill -9 of each process with messages on their way. Afterwards every message has ended, none is
lost, both sides' counts agree, and what was sent twice says so."""

import signal
import time

import pytest

from tests.scenarios.driver import (
    assert_conserved,
    attempts,
    email,
    entries,
    entry,
    flagged,
    mailbox,
    number,
    sms,
    statuses,
)
from tests.waiting import until

REBIND_LIMIT = 5.0
IN_FLIGHT = 50


def test_endpoint_killed_while_a_message_waits_for_its_receipt(hermes):
    to = number("9901")
    sent = hermes.send(sms(), to_sms=to)
    hermes.until_event(sent, "submitted")
    hermes.kill("endpoint")
    message = hermes.ended(sent)
    assert message["status"] == "delivered"
    assert len(hermes.submits(to)) == 1
    assert not flagged(message)


def test_endpoint_killed_while_many_wait_for_their_receipts(hermes):
    ids = hermes.send_all(orders(hermes, ["9901"] * 100))
    until(lambda: len(hermes.submits()) == 100)
    hermes.kill("endpoint")
    messages = hermes.all_ended(ids)
    assert statuses(messages) == {"delivered": 100}
    assert_conserved(messages, hermes.submits())
    assert len(hermes.submits()) == 100


def test_endpoint_killed_while_a_mail_is_handed_over(hermes):
    """The relay has the mail and its answer is lost: sent again, and flagged."""
    inbox = mailbox("slow")
    sent = hermes.send(email(timeout=60), to_email=inbox)
    until(lambda: hermes.mails(inbox))
    hermes.kill("endpoint")
    message = hermes.ended(sent)
    assert message["status"] == "sent"
    assert entry(message, "outcome_unknown")["attempt"] == 1
    assert entry(message, "submitted")["possible_duplicate"]
    ids = [mail["message_id"] for mail in hermes.mails(inbox)]
    assert ids == [f"<{sent}.1@hermes.example>", f"<{sent}.2@hermes.example>"]


def test_endpoint_killed_while_a_mail_is_handed_over_at_most_once(hermes):
    inbox = mailbox("slow")
    sent = hermes.send(email(timeout=60), to_email=inbox, delivery_policy="at_most_once")
    until(lambda: hermes.mails(inbox))
    hermes.kill("endpoint")
    message = hermes.ended(sent)
    assert (message["status"], message["failure"]["code"]) == ("failed", "outcome_unknown")
    assert len(hermes.mails(inbox)) == 1


def test_an_endpoint_that_is_told_to_stop_hears_the_relay_out(slow_carrier):
    """As at every new release: nothing is sent again, and nothing is in doubt."""
    inbox = mailbox("slow")
    sent = slow_carrier.send(email(timeout=60), to_email=inbox, delivery_policy="at_most_once")
    until(lambda: slow_carrier.mails(inbox))
    slow_carrier.stack.kill("endpoint", signal.SIGTERM)
    message = slow_carrier.ended(sent)
    assert message["status"] == "sent"
    assert [e["attempt"] for e in entries(message, "submitted")] == [1]
    assert len(slow_carrier.mails(inbox)) == 1


def test_endpoint_killed_while_an_sms_is_handed_over(slow_carrier):
    """The pool is another process: it answers the next endpoint for the same attempt."""
    ids = slow_carrier.send_all(orders(slow_carrier, ["0000"] * 30))
    until(lambda: slow_carrier.received() == 30)
    slow_carrier.kill("endpoint")
    messages = slow_carrier.all_ended(ids)
    assert statuses(messages) == {"delivered": 30}
    assert len(slow_carrier.submits()) == 30
    assert_conserved(messages, slow_carrier.submits())


@pytest.mark.parametrize("policy", ["at_least_once", "at_most_once"])
def test_pool_killed_with_fifty_submits_in_flight(slow_carrier, policy, record_property):
    """Of the fifty, some are answered late, some never, and a few of these without a receipt."""
    kinds = ["0000"] * 20 + ["9902"] * 5 + ["9909"] * 15 + ["9908"] * 10
    ids = slow_carrier.send_all(orders(slow_carrier, kinds, delivery_policy=policy))
    until(lambda: slow_carrier.received() >= IN_FLIGHT)
    binds = slow_carrier.smsc()["binds"]
    slow_carrier.kill("pool")
    rebind = slow_carrier.wait_rebound(binds)
    record_property("rebind_s", rebind)
    print(f"\nrebind after kill -9 of the pool ({policy}): {rebind:.2f} s")
    assert rebind < REBIND_LIMIT

    messages = slow_carrier.all_ended(ids)
    submits = slow_carrier.submits()
    assert_conserved(messages, submits)
    by_kind = dict(zip(ids, kinds, strict=True))
    for message in messages:
        kind = by_kind[message["id"]]
        # A receipt settles what the killed process did not hear the answer to.
        expected = {"0000": "delivered", "9909": "delivered"}.get(kind, "sent")
        assert message["status"] == expected, message["timeline"]
    if policy == "at_most_once":
        assert len(submits) == len(ids)
        assert not any(flagged(message) for message in messages)


@pytest.mark.parametrize("policy", ["at_least_once", "at_most_once"])
def test_link_killed_with_submits_in_flight(slow_carrier, policy):
    ids = slow_carrier.send_all(
        orders(slow_carrier, ["0000"] * 20 + ["9908"] * 5, delivery_policy=policy)
    )
    until(lambda: slow_carrier.received() >= 25)
    binds = slow_carrier.smsc()["binds"]
    slow_carrier.kill_links()
    assert slow_carrier.wait_rebound(binds) < REBIND_LIMIT
    messages = slow_carrier.all_ended(ids)
    assert statuses(messages) == {"delivered": 20, "sent": 5}
    assert_conserved(messages, slow_carrier.submits())


def test_pool_killed_between_response_and_receipt(hermes):
    to = number("9901")
    sent = hermes.send(sms(), to_sms=to)
    hermes.until_event(sent, "submitted")
    with hermes.down("pool"):
        until(lambda: hermes.smsc()["receipts_waiting"] == 1)
    message = hermes.ended(sent)
    assert message["status"] == "delivered"
    assert len(hermes.submits(to)) == 1


def test_receipts_while_restate_is_down_arrive_afterwards(hermes):
    ids = hermes.send_all(orders(hermes, ["9901"] * 20))
    until(lambda: len(hermes.submits()) == 20)
    with hermes.down("restate"):
        until(lambda: hermes.smsc()["receipts_acked"] == 20)
    messages = hermes.all_ended(ids)
    assert statuses(messages) == {"delivered": 20}
    assert_conserved(messages, hermes.submits())


def test_pool_killed_while_receipts_wait_for_restate(hermes):
    ids = hermes.send_all(orders(hermes, ["9901"] * 20))
    until(lambda: len(hermes.submits()) == 20)
    with hermes.down("restate"):
        until(lambda: hermes.smsc()["receipts_acked"] == 20)
        hermes.kill("pool")
    assert statuses(hermes.all_ended(ids)) == {"delivered": 20}


def test_restate_killed_mid_cascade(hermes):
    """In each state that a message can be in: waiting for a receipt, for the fallback, sending."""
    kinds = ["9901"] * 20 + ["9902"] * 20 + ["9903"] * 10 + ["0000"] * 20
    ids = hermes.send_all(orders(hermes, kinds, timeout=2))
    until(lambda: len(hermes.submits()) >= 35)
    hermes.kill("restate")
    messages = hermes.all_ended(ids)
    assert sum(statuses(messages).values()) == len(ids)
    assert set(statuses(messages)) <= {"delivered", "sent"}
    assert_conserved(messages, hermes.submits())
    assert not any(flagged(message) for message in messages)
    assert hermes.smsc()["duplicates"] == 0
    mailed = [mail["message_id"][1:].partition(".")[0] for mail in hermes.mails()]
    assert len(set(mailed)) == len(mailed)
    assert set(mailed) >= {m["id"] for m in messages if entries(m, "submitted", channel="email")}
    assert set(mailed) <= {m["id"] for m in messages if attempts(m, "email")}


def test_restate_killed_while_the_pool_is_asked(slow_carrier):
    """No entry of a journal says so far that anything was sent: the pool says so."""
    ids = slow_carrier.send_all(orders(slow_carrier, ["0000"] * 30))
    until(lambda: slow_carrier.received() == 30)
    slow_carrier.kill("restate")
    messages = slow_carrier.all_ended(ids)
    assert statuses(messages) == {"delivered": 30}
    assert len(slow_carrier.submits()) == 30
    assert_conserved(messages, slow_carrier.submits())
    assert not any(flagged(message) for message in messages)


def test_restate_and_endpoint_killed_while_the_pool_is_asked(slow_carrier):
    ids = slow_carrier.send_all(orders(slow_carrier, ["0000"] * 30))
    until(lambda: slow_carrier.received() == 30)
    for name in ("restate", "endpoint"):
        slow_carrier.kill(name)
    messages = slow_carrier.all_ended(ids)
    assert statuses(messages) == {"delivered": 30}
    assert len(slow_carrier.submits()) == 30
    assert_conserved(messages, slow_carrier.submits())


def test_pool_hangs_before_it_is_asked(hermes):
    """Asked directly, in vain, and then by Restate: it hears both, and sends once."""
    with hermes.stopped("pool"):
        ids = hermes.send_all(orders(hermes, ["0000"] * 20, timeout=20))
        for sent in ids:
            hermes.until_event(sent, "step")
    messages = hermes.all_ended(ids)
    assert statuses(messages) == {"delivered": 20}
    assert len(hermes.submits()) == 20
    assert_conserved(messages, hermes.submits())
    assert not any(flagged(message) for message in messages)


def test_pool_hangs_with_submits_in_flight(slow_carrier):
    """Long enough for the endpoint to give up; the links may or may not outlive it."""
    ids = slow_carrier.send_all(orders(slow_carrier, ["0000"] * 20, timeout=20))
    until(lambda: slow_carrier.received() == 20)
    with slow_carrier.stopped("pool"):
        for sent in ids:
            slow_carrier.until_event(sent, "step")
    messages = slow_carrier.all_ended(ids)
    assert statuses(messages) == {"delivered": 20}
    assert_conserved(messages, slow_carrier.submits())


def test_request_while_restate_is_down(hermes):
    to, purpose = number(), f"down-{time.time_ns()}"
    body = hermes.order(sms(), to_sms=to, metadata={"purpose": purpose})
    with hermes.down("restate"):
        for headers in ({}, {"idempotency-key": purpose}):
            answer = hermes.request("POST", "/v1/messages", json=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert hermes.http.get(f"{hermes.stack.api_url}/readyz").status_code == 503
        assert hermes.http.get(f"{hermes.stack.api_url}/healthz").status_code == 200
    # What follows has overtaken anything that could still be on its way.
    witness = number("0001")
    assert hermes.ended(hermes.send(sms(), to_sms=witness))["status"] == "delivered"
    assert hermes.listed(**{"metadata.purpose": purpose}) == []
    assert [submit["destination"] for submit in hermes.submits()] == [witness.lstrip("+")]
    answer = hermes.request("POST", "/v1/messages", json=body, headers={"idempotency-key": purpose})
    assert answer.status_code == 202
    assert "idempotent-replayed" not in answer.headers
    assert hermes.ended(answer.json()["id"])["status"] == "delivered"


def test_everything_killed_at_once(hermes):
    kinds = ["9901"] * 20 + ["9902"] * 10 + ["0000"] * 20
    ids = hermes.send_all(orders(hermes, kinds, timeout=5))
    until(lambda: len(hermes.submits()) >= 25)
    for name in ("restate", "endpoint", "pool", "api"):
        hermes.kill(name)
    for name in ("restate", "endpoint", "pool", "api"):
        hermes.stack.wait_ready(name)
    messages = hermes.all_ended(ids)
    assert sum(statuses(messages).values()) == len(ids)
    assert_conserved(messages, hermes.submits())


def orders(hermes, kinds, timeout=8, **more):
    """One message for each kind of number, each with a text of its own and an e-mail to fall back
    to."""
    run = time.time_ns()
    for index, kind in enumerate(kinds):
        text = f"{run}/{index}"
        yield hermes.order(
            sms(timeout=timeout),
            email(),
            to_sms=number(kind),
            to_email=mailbox(),
            text=text,
            metadata={"text": text},
            **more,
        )
