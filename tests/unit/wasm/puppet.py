"""The puppet: a guest whose message is a script of what it is to do and to answer."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.wasm.contract import GuestContent, HttpError, HttpRequest, HttpResponse, Message
from adapters.wasm.manifest import Limits
from adapters.wasm.runtime import Call
from domain.message import Category
from infra.local.stack import ROOT

SOURCE = ROOT / "infra" / "bench" / "guests" / "puppet"
POST = {"sendHttp": {"method": "POST", "url": "https://api.example.com/send"}}
GET = {"sendHttp": {"method": "GET", "url": "https://api.example.com/look"}}
OK = {"done": {"ok": True, "level": "accepted"}}


@dataclass
class Heard:
    """A sink that keeps what it is told."""

    lines: list[tuple[str, str, str, str]] = field(default_factory=list)
    metrics: list[tuple[str, str, str, float]] = field(default_factory=list)

    def log(self, tenant: str, adapter: str, level: str, message: str) -> None:
        self.lines.append((tenant, adapter, level, message))

    def metric(self, tenant: str, adapter: str, name: str, value: float) -> None:
        self.metrics.append((tenant, adapter, name, value))


@dataclass
class Scripted:
    """A port that gives these answers, the last of them again and again."""

    answers: list[HttpResponse | HttpError]
    requests: list[HttpRequest] = field(default_factory=list)

    async def send(self, request: HttpRequest) -> HttpResponse | HttpError:
        self.requests.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def script(*answers: Any, **more: Any) -> str:
    """The text of a message that has the puppet answer so."""
    return json.dumps({"answers": list(answers), **more})


def message(text: str) -> bytes:
    """A whole message with such a text, as the host encodes it."""
    return msgspec.json.encode(
        Message(
            id="msg_1",
            attempt=1,
            channel="sms",
            to="+4520123456",
            sender=None,
            content=GuestContent(text),
            category=Category.OTP,
            reference="ref",
            callback_url="https://hermes.example/v1/webhooks/t/puppet?ref=ref",
            not_after=datetime(2030, 1, 1, tzinfo=UTC),
        )
    )


def new_call(
    sink: Any,
    *,
    tenant: str = "acme",
    limits: Limits | None = None,
    values: dict[str, str] | None = None,
) -> Call:
    """A call of that tenant's puppet."""
    return Call(
        tenant,
        "puppet",
        limits=limits or Limits(),
        sink=sink,
        configuration={"account": f"account of {tenant}"},
        values=values or {},
    )
