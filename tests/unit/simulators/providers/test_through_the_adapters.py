"""Messages through our own adapters to the sandbox, and its callbacks through them back.

Nothing between them is a stand-in: the components run in the host, requests go out by its egress,
callbacks pass its signature checks.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import ANY

import msgspec
import pytest
from pydantic import SecretStr

from adapters.wasm.contract import Webhook
from adapters.wasm.egress import Egress
from adapters.wasm.host import AdapterHost
from adapters.wasm.installed import Installed
from adapters.wasm.manifest import read_manifest
from adapters.wasm.sdk.build import build
from adapters.wasm.webhooks import Refused, WebhookRequest, verify
from domain.delivery import DeliveryRequest
from domain.ids import fresh_id
from domain.message import Content
from tests.unit.wasm.host.conftest import Tenants, Values
from tests.unit.wasm.puppet import Heard
from tests.waiting import eventually

ADAPTERS = Path(__file__).resolve().parents[4] / "adapters/wasm/providers"
PUBLIC = "https://hermes.example"
HOSTS = {
    "api.twilio.com": "twilio",
    "api.sendgrid.com": "sendgrid",
    "fcm.googleapis.com": "fcm",
    "oauth2.googleapis.com": "fcm",
    "graph.facebook.com": "whatsapp",
}
SENDERS = {"twilio": "+4520111111", "sendgrid": "Shop <shop@example.com>"}
CHANNELS = {"twilio": "sms", "sendgrid": "email", "fcm": "push", "whatsapp": "whatsapp"}
TIMEOUT_MS = 1_000


class Way:
    """Messages out by one adapter, and the reports that came in."""

    def __init__(self, sandbox, host, tenants):
        self.sandbox, self._host, self._tenants = sandbox, host, tenants
        self.reports, self.inbound, self.refused = [], [], []

    async def install(self, name):
        manifest = read_manifest((ADAPTERS / name / "manifest.json").read_bytes())
        limits = msgspec.structs.replace(manifest.limits, http_timeout_ms=TIMEOUT_MS)
        self.manifest = msgspec.structs.replace(manifest, limits=limits)
        if name != "fcm":
            self.sandbox.accounts.put(name, {"webhook": f"{PUBLIC}/v1/webhooks/acme/{name}"})
        self.account = {**self.sandbox.accounts.show()[name][0]}
        given = {**self.account, **({"from": SENDERS[name]} if name in SENDERS else {})}
        secrets, values = {}, {}
        for key, kind in manifest.configuration.items():
            value = given.get(key, kind.default)
            if kind.secret and value is not None:
                secrets[key] = SecretStr(value)
            elif value is not None:
                values[key] = value
        self.installed = Installed(
            tenant="acme",
            adapter=name,
            version="a" * 64,
            revision=1,
            manifest=self.manifest,
            component=build(ADAPTERS / name),
            values=values,
            secrets=secrets,
            priority=1,
        )
        self._tenants.activate(self.installed)
        await self._host.configure(self.installed)

    async def health(self):
        return await self._host.check(self.installed)

    async def send(self, to):
        name = self.installed.adapter
        request = DeliveryRequest(
            message=fresh_id(datetime.now(UTC), bytes(10)),
            attempt=1,
            tenant="acme",
            to=to,
            content=Content("Hi", subject="Hi" if name in ("sendgrid", "fcm") else None),
            receipt_ref="",
            not_after=datetime.now(UTC) + timedelta(minutes=1),
            channel=CHANNELS[name],
        )
        return await self._host.deliver(request, name)

    @property
    def last(self):
        """What the newest report says: a level or a failure; None without one."""
        if not self.reports:
            return None
        report = self.reports[-1]
        return report.failure.code.value if report.failure else report.level.value

    def is_quiet(self):
        """Whether every callback is through."""
        provider = self.sandbox.providers[self.installed.adapter]
        pending = [one for one in provider.record.callbacks if one.state == "pending"]
        return not pending and not provider.pending

    async def take(self, call):
        """What the API does with a webhook; the status it answers."""
        request = WebhookRequest(
            call.method, PUBLIC + call.path, list(call.headers.items()), call.body, call.query
        )
        verdict = verify(self.manifest.webhook, self.account, request, time.time())
        if isinstance(verdict, Refused):
            self.refused.append(verdict)
            return 403
        webhook = Webhook("POST", call.query, call.headers["Content-Type"], call.body.decode())
        reported = await self._host.report("acme", self.installed.adapter, webhook)
        self.reports += reported.reports
        self.inbound += reported.inbound
        return 200


@pytest.fixture
async def way(start, hook, compiled):
    """`await way("twilio")`: that adapter, installed and on its way to a sandbox."""
    made = []

    async def way(name):
        sandbox, ports = await start(callback_origin=hook.origin, callback_retries=0)
        reroute = {h: f"http://127.0.0.1:{getattr(ports, p)}" for h, p in HOSTS.items()}
        tenants, egress = Tenants(), Egress(reroute=reroute)
        host = AdapterHost(
            tenants,
            egress,
            Heard(),
            public_url=PUBLIC,
            reference_key=b"k" * 32,
            artifacts=compiled,
            values=Values(),
        )
        made.append((host, egress))
        way = Way(sandbox, host, tenants)
        await way.install(name)
        hook.respond = way.take
        return way

    yield way
    for host, egress in made:
        await host.close()
        await egress.close()


CASES = [
    # provider, recipient, the submission's state, its failure, the last report
    ("twilio", "+4520123456", "taken", None, "delivered"),
    ("twilio", "+4520129803", "taken", None, "recipient_unreachable"),
    ("twilio", "+4520129804", "taken", None, "delivered"),
    ("twilio", "+4520129805", "failed", "recipient_invalid", None),
    ("twilio", "+4520129807", "failed", "provider_error", None),
    ("twilio", "+4520129809", "unknown", "outcome_unknown", "delivered"),
    ("twilio", "+4520129810", "unknown", "outcome_unknown", None),
    ("twilio", "+4520129811", "unknown", "outcome_unknown", "delivered"),
    ("twilio", "+4520129816", "busy", "provider_throttled", None),
    ("twilio", "+4520129818", "failed", "provider_unavailable", None),
    ("twilio", "+4520129823", "taken", None, "content_rejected"),
    ("sendgrid", "ann@example.com", "taken", None, "delivered"),
    ("sendgrid", "sg-bounce@example.com", "taken", None, "recipient_invalid"),
    ("sendgrid", "sg-read@example.com", "taken", None, "read"),
    ("sendgrid", "sg-early@example.com", "taken", None, "delivered"),
    ("sendgrid", "sg-invalid@example.com", "failed", "recipient_invalid", None),
    ("sendgrid", "sg-throttled@example.com", "busy", "provider_throttled", None),
    ("sendgrid", "sg-error@example.com", "failed", "provider_error", None),
    ("sendgrid", "sg-unanswered@example.com", "unknown", "outcome_unknown", "delivered"),
    ("sendgrid", "sg-reset@example.com", "unknown", "outcome_unknown", None),
    ("whatsapp", "+4520123456", "taken", None, "delivered"),
    ("whatsapp", "+4520129703", "taken", None, "recipient_unreachable"),
    ("whatsapp", "+4520129704", "taken", None, "delivered"),
    ("whatsapp", "+4520129705", "failed", "recipient_invalid", None),
    ("whatsapp", "+4520129709", "unknown", "outcome_unknown", "delivered"),
    ("whatsapp", "+4520129716", "busy", "provider_throttled", None),
    ("whatsapp", "+4520129718", "failed", "provider_unavailable", None),
    ("whatsapp", "+4520129725", "taken", None, "read"),
    ("fcm", "device-1:APA91b", "taken", None, None),
    ("fcm", "unregistered-1:APA91b", "failed", "recipient_invalid", None),
    ("fcm", "quota-1:APA91b", "busy", "provider_throttled", None),
    ("fcm", "unavailable-1:APA91b", "failed", "provider_unavailable", None),
    ("fcm", "unanswered-1:APA91b", "unknown", "outcome_unknown", None),
]


@pytest.mark.parametrize("provider", CHANNELS)
async def test_what_becomes_of_messages(way, provider):
    way = await way(provider)
    health = await way.health()
    assert health.ok, health.detail
    expected = {to: tuple(rest) for name, to, *rest in CASES if name == provider}
    ended = {}
    for to, (_, _, reported) in expected.items():
        submission = await way.send(to)
        failure = submission.failure
        if reported is not None:
            await eventually(lambda wanted=reported: way.last == wanted)
        await eventually(way.is_quiet)
        ended[to] = (
            submission.state.value,
            failure.code.value if failure else None,
            way.last,
        )
        assert submission.retry_after == (1 if submission.state.value == "busy" else ANY)
        assert all(report.reference for report in way.reports)
        way.reports.clear()
    assert ended == expected
    assert not way.refused


@pytest.mark.parametrize(
    ("provider", "to", "callbacks"),
    [
        ("twilio", "+4520129814", 2),
        ("whatsapp", "+4520129714", 2),
        ("sendgrid", "sg-unsigned@example.com", 1),
        ("sendgrid", "sg-stale@example.com", 1),
    ],
)
async def test_nothing_comes_of_a_bad_signature(way, provider, to, callbacks):
    way = await way(provider)
    assert (await way.send(to)).state.value == "taken"
    counters = way.sandbox.providers[provider].record.counters
    await eventually(lambda: counters.callbacks_given_up >= callbacks)
    assert not way.reports


@pytest.mark.parametrize("provider", ["twilio", "whatsapp"])
async def test_somebody_writes(way, provider):
    way = await way(provider)
    way.sandbox.providers[provider].inbound(
        {"from": "+4520123456", "to": "+4520111111", "text": "Hej æ"}
    )
    await eventually(lambda: way.inbound)
    [text] = way.inbound
    assert (text.sender, text.text) == ("+4520123456", "Hej æ")
