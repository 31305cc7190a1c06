"""The sandbox and our own host agree: signatures, access tokens, and the form of configurations."""

import json
import time
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr

from adapters.wasm.contract import HttpRequest
from adapters.wasm.egress import Egress
from adapters.wasm.installed import Installed
from adapters.wasm.manifest import (
    Manifest,
    MetaWebhook,
    SendGridWebhook,
    TwilioWebhook,
)
from adapters.wasm.webhooks import Accepted, Challenge, Refused, WebhookRequest, verify
from tests.unit.simulators.providers.twilio_client import GOOD, basic, messages_url
from tests.unit.simulators.providers.webhook import PUBLIC

ADAPTERS = Path(__file__).resolve().parents[4] / "adapters/wasm/providers"
SCHEMES = {
    "twilio": TwilioWebhook(secret="auth_token"),
    "sendgrid": SendGridWebhook(public_key="webhook_public_key"),
    "whatsapp": MetaWebhook(secret="app_secret", verify_token="verify_token"),
}
GOOD_AND_BAD = [
    ("twilio", "+4520123456", Accepted),
    ("twilio", "+4520129814", Refused),
    ("sendgrid", "ann@example.com", Accepted),
    ("sendgrid", "sg-unsigned@example.com", Refused),
    ("sendgrid", "sg-stale@example.com", Refused),
    ("whatsapp", "+4520123456", Accepted),
    ("whatsapp", "+4520129714", Refused),
]


def account(sandbox, provider):
    return sandbox.accounts.show()[provider][0]


def judged(sandbox, provider, call):
    request = WebhookRequest(
        call.method,
        PUBLIC if call.method == "POST" else f"https://hermes.example{call.path}",
        list(call.headers.items()),
        call.body,
        call.query,
    )
    return verify(SCHEMES[provider], account(sandbox, provider), request, time.time())


async def submit(http, sandbox, ports, provider, to):
    """Send one message as the provider's account."""
    own = account(sandbox, provider)
    port = getattr(ports, provider)
    if provider == "twilio":
        credentials = basic(own["account_sid"], own["auth_token"])
        return await http("POST", messages_url(ports), data={**GOOD, "To": to}, headers=credentials)
    if provider == "sendgrid":
        mail = {
            "personalizations": [{"to": [{"email": to}]}],
            "from": {"email": "shop@example.com"},
            "subject": "Hi",
            "content": [{"type": "text/plain", "value": "Hi"}],
        }
        path, key, body = "/v3/mail/send", own["api_key"], mail
    else:
        path, key = f"/v23.0/{own['phone_number_id']}/messages", own["access_token"]
        body = {
            "messaging_product": "whatsapp",
            "to": to,
            "type": "text",
            "text": {"body": "Hi"},
        }
    headers = {"Authorization": f"Bearer {key}"}
    return await http("POST", f"http://127.0.0.1:{port}{path}", json=body, headers=headers)


@pytest.mark.parametrize(("provider", "to", "verdict"), GOOD_AND_BAD)
async def test_signatures(start, hook, http, provider, to, verdict):
    sandbox, ports = await start(callback_origin=hook.origin)
    if provider != "twilio":
        sandbox.accounts.put(provider, {"webhook": PUBLIC})
    answer = await submit(http, sandbox, ports, provider, to)
    assert answer.status in (200, 201, 202)
    for call in await hook.receives(1):
        assert isinstance(judged(sandbox, provider, call), verdict)


async def test_the_proof_of_a_webhook(start, hook):
    sandbox, _ = await start(callback_origin=hook.origin)
    sandbox.accounts.put("whatsapp", {"webhook": PUBLIC})

    def challenged(call):
        verdict = judged(sandbox, "whatsapp", call)
        return verdict.text if isinstance(verdict, Challenge) else "refused"

    hook.challenge = challenged
    assert (await sandbox.providers["whatsapp"].verify(None))["verified"]


@pytest.mark.parametrize("provider", ["twilio", "sendgrid", "fcm", "whatsapp"])
async def test_the_accounts_are_good_configurations(start, provider):
    sandbox, _ = await start()
    manifest = msgspec.json.decode(
        (ADAPTERS / provider / "manifest.json").read_bytes(), type=Manifest
    )
    own = account(sandbox, provider)
    for name, key in manifest.configuration.items():
        # The sender of a mail is the tenant's own choice.
        if key.required and name != "from":
            assert key.fault(own[name]) is None


async def test_our_egress_gets_an_access_token_and_sends(start):
    sandbox, ports = await start()
    own = account(sandbox, "fcm")
    manifest = msgspec.json.decode((ADAPTERS / "fcm/manifest.json").read_bytes(), type=Manifest)
    installed = Installed(
        tenant="acme",
        adapter="fcm",
        version="0" * 64,
        revision=1,
        manifest=manifest,
        component=Path("none"),
        values={"project_id": own["project_id"]},
        secrets={"service_account": SecretStr(own["service_account"])},
        priority=0,
    )
    origin = f"http://127.0.0.1:{ports.fcm}"
    egress = Egress(reroute={"fcm.googleapis.com": origin, "oauth2.googleapis.com": origin})
    try:
        for count in (1, 2):
            answer = await egress.port(installed).send(
                HttpRequest(
                    "POST",
                    f"https://fcm.googleapis.com/v1/projects/{own['project_id']}/messages:send",
                    (
                        ("authorization", "Bearer {{token:firebase}}"),
                        ("content-type", "application/json"),
                    ),
                    json.dumps({"message": {"token": f"device-{count}"}}),
                )
            )
            assert getattr(answer, "status", answer) == 200
    finally:
        await egress.close()
    paths = [request.path for request in sandbox.providers["fcm"].record.requests]
    assert paths.count("/token") == 1
    assert len(sandbox.providers["fcm"].record.messages) == 2
