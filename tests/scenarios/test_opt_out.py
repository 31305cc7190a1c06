"""Whoever wants no more gets no more: by STOP, by one click, by an address that bounces."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from adapters.store.tenants import change_tenant
from tests.scenarios.driver import Driver, email, entry, mailbox, sms
from tests.scenarios.tenant import Tenant
from tests.waiting import until

NUMBER = "4512345678"


@pytest.fixture(scope="module")
def tenant():
    tenant = Tenant()
    yield tenant
    tenant.close()


@pytest.fixture(scope="module")
def hermes(tmp_path_factory, tenant):
    """A stack whose number is acme's."""
    routes = [{"number": f"+{NUMBER}", "tenant": "acme", "url": f"{tenant.url}/acme"}]
    settings = {"HERMES_INBOUND": json.dumps(routes)}
    driver = Driver(tmp_path_factory.mktemp("opt-out"), environment=settings)
    try:
        yield driver.start()
    finally:
        driver.close()


def say(hermes, text, source):
    body = {"source": source.lstrip("+"), "destination": NUMBER, "text": text}
    hermes.http.post(f"{hermes.stack.smsc_url}/mo", json=body).raise_for_status()


def try_to_send(hermes, **order):
    body = hermes.order(sms() if "to_sms" in order else email(), **order)
    return hermes.request("POST", "/v1/messages", json=body)


def replies(hermes, person):
    """What the person was answered."""
    texts = [submit["text"] for submit in hermes.submits(person)]
    return [text for text in texts if text.startswith("acme: ")]


def refused(hermes, **order):
    """The refusal, once every process knows of it: within a second."""
    return until(lambda: (a := try_to_send(hermes, **order)).status_code == 422 and a, within=3.0)


def test_stop_ends_messages_is_answered_once_and_the_tenant_is_told(hermes, tenant):
    person = "+4520100001"
    say(hermes, "Stop!", person)
    assert tenant.hears("Stop!")[2]["data"]["opt_out"] == "stop"
    assert refused(hermes, to_sms=person).json()["code"] == "recipient_suppressed"
    assert try_to_send(hermes, to_sms=person, category="otp").status_code == 202
    assert try_to_send(hermes, to_sms="+4520100002").status_code == 202
    until(lambda: replies(hermes, person))
    say(hermes, "STOP", person)
    tenant.hears("STOP")
    say(hermes, "start", person)
    assert tenant.hears("start")[2]["data"]["opt_out"] == "start"
    until(lambda: try_to_send(hermes, to_sms=person).status_code == 202)
    until(lambda: len(replies(hermes, person)) == 2)
    # In Danish, as the number is: one for STOP, none for the second, one for START.
    found = Counter("ikke flere" in text for text in replies(hermes, person))
    assert found == {True: 1, False: 1}


def test_the_endpoint_dies_while_stop_is_obeyed(hermes, tenant):
    """The answer goes out once, however often the handler begins."""
    person = "+4520100003"
    with hermes.down("endpoint"):
        say(hermes, "AFMELD", person)
        until(lambda: sum(hermes.smsc()["answers"]["mo"].values()))
    tenant.hears("AFMELD")
    until(lambda: replies(hermes, person))
    refused(hermes, to_sms=person)
    hermes.kill("endpoint")
    say(hermes, "HJÆLP", person)
    tenant.hears("HJÆLP")
    until(lambda: len(replies(hermes, person)) == 2)


def test_one_click_in_a_mail_ends_marketing(hermes):
    inbox = mailbox()
    sent = hermes.send(email(), to_email=inbox, category="marketing")
    hermes.ended(sent)
    [mail] = hermes.mails(inbox)
    headers = dict(mail["headers"])
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = headers["List-Unsubscribe"].strip().strip("<>")
    assert link.startswith(hermes.stack.api_url + "/unsubscribe/")
    assert hermes.http.get(link).status_code == 200
    assert try_to_send(hermes, to_email=inbox, category="marketing").status_code == 202
    clicked = hermes.http.post(link, data={"List-Unsubscribe": "One-Click"})
    assert clicked.status_code == 200
    # This process knows at once.
    again = try_to_send(hermes, to_email=inbox, category="marketing")
    assert again.json()["code"] == "recipient_suppressed"
    assert try_to_send(hermes, to_email=inbox).status_code == 202


def test_a_mail_that_is_no_marketing_has_no_link(hermes):
    inbox = mailbox()
    hermes.ended(hermes.send(email(), to_email=inbox))
    [mail] = hermes.mails(inbox)
    assert "List-Unsubscribe" not in dict(mail["headers"])


def test_an_address_that_does_not_exist_is_not_tried_again(hermes):
    inbox = mailbox("bounce")
    sent = hermes.send(email(), to_email=inbox)
    assert hermes.ended(sent)["failure"]["code"] == "recipient_invalid"
    assert "does not exist" in refused(hermes, to_email=inbox).json()["detail"]
    listed = hermes.request("GET", "/v1/suppressions").json()["data"]
    assert [e["reason"] for e in listed if e["source"] == sent] == ["hard_bounce"]
    busy = mailbox("busy")
    hermes.ended(hermes.send(email(timeout=2), to_email=busy))
    assert try_to_send(hermes, to_email=busy).status_code == 202


def test_what_was_scheduled_before_stop_is_not_sent_after_it(hermes, tenant):
    person, other, inbox = "+4520100004", "+4520100005", mailbox()
    due = (datetime.now(UTC) + timedelta(seconds=7)).isoformat()
    alone = hermes.send(sms(), to_sms=person, send_at=due)
    code = hermes.send(sms(), to_sms=person, send_at=due, category="otp", text="Code 4711")
    both = hermes.send(sms(), email(), to_sms=person, to_email=inbox, send_at=due)
    for_other = hermes.send(sms(), to_sms=other, send_at=due)
    say(hermes, "stop", person)
    tenant.hears("stop")
    assert {hermes.message(sent)["status"] for sent in (alone, both)} == {"scheduled"}

    message = hermes.ended(alone)
    assert (message["status"], message["failure"]["code"]) == ("failed", "recipient_blocked")
    barred = entry(message, "failed")
    assert (barred["channel"], barred["failure"]["detail"]) == ("sms", "the person wrote STOP")
    message = hermes.ended(both)
    assert (message["status"], message["channel"]) == ("sent", "email")
    assert len(hermes.mails(inbox)) == 1
    assert hermes.ended(code)["status"] == "delivered"
    assert hermes.ended(for_other)["status"] == "delivered"
    texts = [submit["text"] for submit in hermes.submits(person)]
    assert [text for text in texts if not text.startswith("acme: ")] == ["Code 4711"]


def test_what_a_tenant_scheduled_before_it_was_suspended_is_not_sent(hermes):
    inbox = mailbox()
    due = (datetime.now(UTC) + timedelta(seconds=6)).isoformat()
    sent = hermes.send(email(), to_email=inbox, send_at=due)
    database = hermes.stack.data_dir / "hermes.db"
    change_tenant(database, "acme", {"suspended": True})
    try:
        message = hermes.ended(sent)
    finally:
        change_tenant(database, "acme", {"suspended": False})
    assert (message["status"], message["failure"]["code"]) == ("failed", "account_suspended")
    assert hermes.mails(inbox) == []
    until(lambda: try_to_send(hermes, to_email=inbox).status_code == 202)
