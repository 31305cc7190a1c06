"""The providers' door: what is let in, what it becomes, and what is turned away."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from pydantic import SecretStr

from adapters.wasm.installed import Health, Installed
from adapters.wasm.manifest import read_manifest
from adapters.wasm.reference import mint
from domain.limits import Cap
from domain.ports import EngineUnavailable
from handlers.api.app import create_app
from handlers.reports import CALL, WebhookCall
from handlers.webhooks.limits import WebhookLimits
from handlers.webhooks.routes import BODY_LIMIT, Webhooks
from tests.fakes import FakeClock, FakeEngine, FakeKeys, FakeLog

KEY = bytes(32)
PUBLIC = "https://hooks.hermes.example"
TOKEN, APP_SECRET, VERIFY = "the auth token", "the app secret", "the verify token"
FORM = {"MessageSid": "SM1", "MessageStatus": "delivered"}


def manifest(name: str, webhook: Mapping[str, str] | None):
    keys = {value for key, value in (webhook or {}).items() if key != "scheme"}
    described = {"type": "string", "description": "A key.", "secret": True}
    return read_manifest(
        json.dumps(
            {
                "name": name,
                "version": "1.0.0",
                "contract": "1.0.0",
                "summary": "For a test.",
                "channels": ["sms"],
                "hosts": ["api.example.com"],
                "webhook": webhook,
                "configuration": dict.fromkeys(keys, described),
            }
        )
    )


def installed(name: str, webhook: Mapping[str, str] | None, **secrets: str) -> Installed:
    hidden = {key: SecretStr(value) for key, value in secrets.items()}
    return Installed(
        "alice", name, "ab" * 32, 1, manifest(name, webhook), Path("none"), {}, hidden, 100
    )


class Adapters:
    """Alice has three of them."""

    def __init__(self) -> None:
        self._active = {
            one.adapter: one
            for one in (
                installed("sms", {"scheme": "twilio", "secret": "token"}, token=TOKEN),
                installed(
                    "chat",
                    {"scheme": "meta", "secret": "app", "verify_token": "verify"},
                    app=APP_SECRET,
                    verify=VERIFY,
                ),
                installed("quiet", None),
            )
        }

    async def refresh(self) -> bool:
        return False

    def active(self, tenant: str, adapter: str) -> Installed | None:
        return self._active.get(adapter) if tenant == "alice" else None

    async def pinned(self, tenant: str, adapter: str, version: str) -> Installed | None:
        """Alice had one more, which made attempts."""
        if (tenant, adapter) != ("alice", "former") or version != "ab" * 4:
            return None
        return installed("former", {"scheme": "twilio", "secret": "token"}, token=TOKEN)

    def all_active(self) -> list[Installed]:
        return list(self._active.values())

    def of(self, tenant: str) -> list[Installed]:
        return list(self._active.values())

    def choose(self, tenant: str, channel: str) -> list[Installed]:
        return []

    async def note_health(self, installed: Installed, health: Health) -> None:
        raise AssertionError("no webhook says anything about health")


@dataclass
class Sink:
    """Restate, which may be away."""

    calls: list[WebhookCall] = field(default_factory=list)
    away: bool = False

    async def webhook(self, call: bytes) -> None:
        if self.away:
            raise EngineUnavailable("away")
        self.calls.append(CALL.read(call))


@dataclass
class Door:
    client: httpx.AsyncClient
    sink: Sink
    webhooks: Webhooks

    async def twilio(self, form=FORM, *, url="/v1/webhooks/alice/sms?ref=r1", sign=TOKEN, **more):
        """Post a form, signed for the public address."""
        signed = PUBLIC + url + "".join(k + form[k] for k in sorted(form))
        mac = hmac.digest(sign.encode(), signed.encode(), hashlib.sha1)
        headers = {"X-Twilio-Signature": base64.b64encode(mac).decode(), **more}
        return await self.client.post(url, data=form, headers=headers)

    async def meta(self, body: bytes, *, sign=APP_SECRET, url="/v1/webhooks/alice/chat"):
        """Post JSON, signed."""
        mac = hmac.new(sign.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={mac}", "content-type": "application/json"}
        return await self.client.post(url, content=body, headers=headers)


@pytest.fixture
async def door():
    clock, sink = FakeClock(), Sink()
    webhooks = Webhooks(Adapters(), sink, PUBLIC, KEY, clock)
    app = create_app(FakeKeys({}), FakeLog(), FakeEngine(), clock=clock, webhooks=webhooks)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.7:8000") as client:
        yield Door(client, sink, webhooks)


async def test_a_signed_report_is_handed_over_as_it_came(door):
    answer = await door.twilio()
    assert (answer.status_code, answer.text) == (200, "<Response/>")
    [call] = door.sink.calls
    assert (call.tenant, call.adapter) == ("alice", "sms")
    assert call.webhook.method == "POST"
    assert call.webhook.query == {"ref": "r1"}
    assert call.webhook.content_type == "application/x-www-form-urlencoded"
    assert call.webhook.body == urlencode(FORM)
    assert call.received_at == door.webhooks.clock()


async def test_no_header_of_the_provider_goes_further(door):
    await door.twilio(Authorization="Basic c2VjcmV0")
    assert "c2VjcmV0" not in repr(door.sink.calls)


async def test_what_is_posted_twice_is_handed_over_twice(door):
    """A provider that repeats itself has its reasons; the message tells repetitions by their id."""
    await door.twilio()
    await door.twilio()
    assert len(door.sink.calls) == 2


REFUSED = {
    "another secret": {"sign": "another"},
    "another address": {"url": "/v1/webhooks/alice/chat"},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
async def test_what_is_signed_wrongly_becomes_nothing(door, options):
    answer = await door.twilio(**options)
    assert (answer.status_code, answer.json()["code"]) == (403, "webhook_refused")
    assert door.sink.calls == []
    assert [outcome for _, _, outcome in door.webhooks.seen] != ["accepted"]


async def test_what_is_not_signed_becomes_nothing(door):
    answer = await door.client.post("/v1/webhooks/alice/sms", data=FORM)
    assert answer.status_code == 403
    assert door.sink.calls == []
    assert door.webhooks.seen == {("alice", "sms", "missing"): 1}


@pytest.mark.parametrize(
    "path", ["alice/none", "bob/sms", "alice/quiet", "nobody/sms"], ids=lambda path: path
)
async def test_where_nobody_listens(door, path):
    answer = await door.twilio(url=f"/v1/webhooks/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert door.sink.calls == []


@pytest.mark.parametrize(
    ("tenant", "status"), [("alice", 200), ("bob", 404)], ids=["its own", "another's reference"]
)
async def test_what_began_with_an_adapter_that_was_removed_is_reported_all_the_same(
    door, tenant, status
):
    ref = mint(KEY, tenant, "former", "msg_01JG3T5C8VE7Q9X2B4N6M8P0RS", 1, "ab" * 32)
    answer = await door.twilio(url=f"/v1/webhooks/alice/former?ref={ref}")
    assert answer.status_code == status
    assert len(door.sink.calls) == (status == 200)


async def test_restate_is_away(door):
    door.sink.away = True
    answer = await door.twilio()
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert door.webhooks.seen == {}


async def test_a_body_over_the_limit(door):
    answer = await door.meta(b" " * (BODY_LIMIT + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_body_that_is_no_text(door):
    answer = await door.meta(b'{"a": "\xff"}')
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_webhook")
    assert door.sink.calls == []


async def test_the_provider_asks_whether_the_address_is_right(door):
    query = {"hub.mode": "subscribe", "hub.verify_token": VERIFY, "hub.challenge": "1158201444"}
    answer = await door.client.get("/v1/webhooks/alice/chat", params=query)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["content-type"].startswith("text/plain")
    assert door.sink.calls == []


async def test_the_provider_asks_with_another_token(door):
    query = {"hub.mode": "subscribe", "hub.verify_token": "another", "hub.challenge": "1"}
    answer = await door.client.get("/v1/webhooks/alice/chat", params=query)
    assert answer.status_code == 403
    assert "another" not in answer.text


async def test_meta_wants_an_empty_200(door):
    answer = await door.meta(b'{"object": "whatsapp_business_account", "entry": []}')
    assert (answer.status_code, answer.content) == (200, b"")
    assert len(door.sink.calls) == 1


async def test_more_than_a_tenant_may_post_is_for_later(door):
    limits = WebhookLimits(posts=Cap(count=1, seconds=60.0))
    few = Webhooks(Adapters(), door.sink, PUBLIC, KEY, FakeClock(), limits)
    app = create_app(FakeKeys({}), FakeLog(), FakeEngine(), clock=FakeClock(), webhooks=few)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://10.0.0.7:8000"
    ) as client:
        narrow = Door(client, door.sink, few)
        # What is not signed takes nothing of what the provider may.
        assert (await narrow.twilio(sign="another")).status_code == 403
        assert (await narrow.twilio()).status_code == 200
        answer = await narrow.twilio()
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_webhooks")
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert few.seen["alice", "sms", "limited"] == 1
    assert len(door.sink.calls) == 1
