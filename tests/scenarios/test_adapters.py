"""Messages through adapters: the sandbox's four providers, their answers and their webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest

from infra.local.demo_adapters import set_up_demo_adapters
from infra.local.stack import COMPONENTS
from tests.scenarios.driver import Driver, email, entries, entry
from tests.scenarios.tenant import Tenant
from tests.waiting import until

NUMBER = "+15005550006"
"""Of the demonstration's Twilio account."""


@pytest.fixture(scope="session")
def tenant():
    tenant = Tenant()
    yield tenant
    tenant.close()


@pytest.fixture(scope="session")
def adapters_stack(tmp_path_factory, tenant):
    """A stack with the provider sandbox, whose first tenant has an account at each."""
    routes = [{"number": NUMBER, "tenant": "acme", "url": f"{tenant.url}/acme"}]
    driver = Driver(
        tmp_path_factory.mktemp("adapters"),
        components=COMPONENTS,
        environment={"HERMES_INBOUND": json.dumps(routes)},
    )
    try:
        driver.start()
        set_up_demo_adapters(driver.stack)
        yield driver
    finally:
        driver.close()


@pytest.fixture
def hermes(adapters_stack):
    """The stack, its simulators' memory empty."""
    adapters_stack.forget()
    adapters_stack.http.post(f"{adapters_stack.stack.providers_url}/reset").raise_for_status()
    return adapters_stack


def sms(**more):
    return {"channel": "sms", "provider": "twilio", "timeout": 30, "success": "delivered", **more}


def sent_by(hermes, channel, address, step=None, **more):
    """Send one message on one channel; its id."""
    step = step or {"channel": channel, "timeout": 30}
    body = {"to": {channel: address}, "content": {"text": "Hello"}, "plan": [step], **more}
    answer = hermes.request("POST", "/v1/messages", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def number(behaviour):
    """A Danish mobile whose last four digits choose the behaviour."""
    return f"+452012{behaviour}"


def taken(hermes, provider):
    """The messages that a provider took."""
    url = f"{hermes.stack.providers_url}/messages"
    answer = hermes.http.get(url, params={"provider": provider}).raise_for_status().json()
    return answer[provider]


ARRIVES = {
    "twilio": ("sms", "+4520123456", sms(), "delivered"),
    "sendgrid": (
        "email",
        "anna@example.com",
        email(provider="sendgrid") | {"success": "delivered"},
        "delivered",
    ),
    "fcm": ("push", "a-registration-token", None, "sent"),
    "whatsapp": ("whatsapp", "+4520123456", None, "delivered"),
}


@pytest.mark.parametrize("provider", ARRIVES)
def test_a_message_arrives(hermes, provider):
    channel, address, step, status = ARRIVES[provider]
    message = hermes.ended(sent_by(hermes, channel, address, step))
    assert (message["status"], message["channel"]) == (status, channel)
    submitted = entry(message, "submitted")
    assert submitted["provider"] == provider
    assert submitted["provider_ids"]
    assert len(taken(hermes, provider)) == 1
    if status == "delivered":
        assert entries(message, "receipt", level="delivered")[0]["provider"] == provider


def test_the_body_reaches_the_recipient(hermes):
    hermes.ended(sent_by(hermes, "push", "a-registration-token", content={
        "text": "Your table is ready.", "subject": "Your table", "data": {"table": "7"},
    }))  # fmt: skip
    [push] = taken(hermes, "fcm")
    assert "Your table is ready." in str(push)


FAULTS = {
    # provider, what chooses the behaviour, how it ends, with which code and the provider's own
    "400": ("twilio", "9805", "failed", ("recipient_invalid", "21211")),
    "429, then not": ("twilio", "9806", "delivered", None),
    "500 once": ("twilio", "9817", "delivered", None),
    "undelivered": ("twilio", "9803", "failed", ("recipient_unreachable", "30003")),
    "reset, not accepted": ("twilio", "9810", "failed", ("outcome_unknown", None)),
    "reset, yet delivered": ("twilio", "9811", "delivered", None),
    "early callbacks": ("twilio", "9804", "delivered", None),
    "callbacks twice": ("twilio", "9812", "delivered", None),
    "callbacks in the opposite order": ("twilio", "9813", "delivered", None),
    "bounced": ("sendgrid", "sg-bounce", "failed", ("recipient_invalid", "5.1.1")),
    "events twice": ("sendgrid", "sg-twice", "delivered", None),
    "unregistered": ("fcm", "unregistered", "failed", ("recipient_invalid", "UNREGISTERED")),
    "undeliverable": ("whatsapp", "9703", "failed", ("recipient_unreachable", "131026")),
    "read": ("whatsapp", "9725", "delivered", None),
    "early statuses": ("whatsapp", "9704", "delivered", None),
}
PLACES = {
    "twilio": ("sms", "+452012{}"),
    "sendgrid": ("email", "{}@example.com"),
    "fcm": ("push", "{}-registration-token"),
    "whatsapp": ("whatsapp", "+452012{}"),
}


@pytest.mark.parametrize(("provider", "behaviour", "status", "code"), FAULTS.values(), ids=FAULTS)
def test_faults(hermes, provider, behaviour, status, code):
    channel, address = PLACES[provider]
    success = "sent" if channel == "push" else "delivered"
    step = {"channel": channel, "provider": provider, "timeout": 12, "success": success}
    # What may have been sent is not sent again here: what became of the first is looked at.
    once = {"delivery_policy": "at_most_once"}
    sent = sent_by(hermes, channel, address.format(behaviour), step, **once)
    message = hermes.ended(sent, within=30)
    assert message["status"] == status, message["timeline"]
    if code is not None:
        failure = message["failure"]
        assert (failure["code"], failure["provider_code"]) == code
    receipts = [(e.get("level"), e["provider_status"]) for e in entries(message, "receipt")]
    assert len(receipts) == len(set(receipts)), "a report is told once"


def test_a_provider_that_goes_on_failing_is_asked_until_the_step_is_over(hermes):
    message = hermes.ended(sent_by(hermes, "sms", number("9807"), sms(timeout=3)))
    # Not the time: every try was refused for the same reason.
    assert message["failure"]["code"] == "provider_error"
    assert len(entries(message, "failed", attempt=2)) == 1


def test_what_is_signed_wrongly_proves_nothing(hermes):
    message = hermes.ended(sent_by(hermes, "sms", number("9814"), sms(timeout=3)))
    assert message["failure"]["code"] == "timeout"
    assert entries(message, "receipt") == []


def test_a_provider_that_refuses_leads_to_the_next_channel(hermes):
    body = {
        "to": {"whatsapp": number("9703"), "email": "anna@example.com"},
        "content": {"text": "Hello"},
        "plan": [{"channel": "whatsapp", "timeout": 20}, email()],
    }
    answer = hermes.request("POST", "/v1/messages", json=body)
    message = hermes.ended(answer.json()["id"])
    assert (message["status"], message["channel"]) == ("sent", "email")


def test_the_adapter_of_the_same_channel_takes_over_from_the_carrier(hermes):
    """Nobody is named: the carrier is asked first, and has no bind."""
    with hermes.down("smsc"):
        step = {"channel": "sms", "timeout": 20}
        message = hermes.ended(sent_by(hermes, "sms", "+4520123456", step))
    assert (message["status"], message["channel"]) == ("delivered", "sms")
    assert entry(message, "submitted")["provider"] == "twilio"


def test_a_message_from_a_person_reaches_the_tenant_once(hermes, tenant):
    url = f"{hermes.stack.providers_url}/inbound"
    webhook = f"{hermes.stack.api_url}/v1/webhooks/acme/twilio"
    accounts = f"{hermes.stack.providers_url}/accounts"
    hermes.http.post(accounts, json={"provider": "twilio", "webhook": webhook}).raise_for_status()
    said = {"provider": "twilio", "from": "+4520123456", "to": NUMBER, "text": "Stop that, please"}
    hermes.http.post(url, json=said).raise_for_status()
    path, _, event = tenant.hears("Stop that, please")
    assert (path, event["type"]) == ("/acme", "message.received")
    assert (event["data"]["from"], event["data"]["to"]) == (said["from"], NUMBER)
    assert len(tenant.heard("Stop that, please")) == 1


def test_a_webhook_that_its_adapter_cannot_read_is_shown_and_waits(hermes):
    """Its id is longer than a report's may be: what the guest makes of it is refused."""
    token = hermes.http.get(f"{hermes.stack.providers_url}/accounts").json()["twilio"][0]
    url = f"{hermes.stack.api_url}/v1/webhooks/acme/twilio"
    form = {"MessageSid": "SM" + "0" * 300, "MessageStatus": "delivered"}
    signed = url + "".join(key + form[key] for key in sorted(form))
    mac = hmac.digest(token["auth_token"].encode(), signed.encode(), hashlib.sha1)
    headers = {"X-Twilio-Signature": base64.b64encode(mac).decode()}
    hermes.http.post(url, data=form, headers=headers).raise_for_status()

    def unread():
        return hermes.request("GET", "/v1/adapters/twilio").json()["unread"]

    seen = until(unread, within=20)
    assert (seen["waiting"], seen["given_up"], seen["kind"]) == (1, 0, "malformed")
    # The others are read all the same.
    message = hermes.ended(sent_by(hermes, "sms", "+4520123456", sms()))
    assert message["status"] == "delivered"


def test_another_tenant_has_none_of_them(hermes):
    body = {"to": {"push": "a-registration-token"}, "content": {"text": "Hello"}}
    answer = hermes.request("POST", "/v1/messages", "globex", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "no_provider_for_channel"


def test_reports_outlive_the_endpoint(hermes):
    """Killed with -9 while the provider's callbacks are on their way."""
    sent = sent_by(hermes, "sms", number("9829"), sms(timeout=40))
    hermes.until_event(sent, "submitted")
    hermes.kill("endpoint")
    message = hermes.ended(sent, within=40)
    assert message["status"] == "delivered"
    assert len(taken(hermes, "twilio")) == 1


def test_no_secret_is_written_anywhere_but_sealed(hermes):
    """What the demonstration's account is made of, looked for in every file of ours."""
    accounts = hermes.http.get(f"{hermes.stack.providers_url}/accounts").json()
    secrets = [
        accounts["twilio"][0]["auth_token"],
        accounts["sendgrid"][0]["api_key"],
        accounts["whatsapp"][0]["access_token"],
    ]
    hermes.ended(sent_by(hermes, "sms", "+4520123456", sms()))
    ours = hermes.stack.data_dir
    kept = until(lambda: list(_files(ours)))
    leaks = [
        (path.relative_to(ours), secret)
        for path in kept
        for secret in secrets
        if path.name != "provider-accounts.json" and secret.encode() in path.read_bytes()
    ]
    assert leaks == []


def _files(directory: Path):
    return (path for path in directory.rglob("*") if path.is_file())
