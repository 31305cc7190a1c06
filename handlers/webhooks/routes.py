"""`/v1/webhooks/{tenant}/{adapter}`: who sent it is checked here, what it says is read later.

A webhook is answered as soon as Restate has it. The providers repeat what was not taken, and some
of them give up on an address that answers slowly.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.wasm import reference
from adapters.wasm.contract import Webhook
from adapters.wasm.installed import Installed, Registry
from adapters.wasm.manifest import TwilioWebhook
from adapters.wasm.webhooks import Challenge, Refused, WebhookRequest, verify
from handlers.api import operation
from handlers.api.door import WEBHOOKS
from handlers.api.problems import Problem
from handlers.reports import WebhookCall
from handlers.webhooks.limits import WebhookLimits

BODY_LIMIT: Final = 2 * 1024 * 1024
"""Bytes. SendGrid posts up to 1,000 events at a time, of about 500 bytes each."""

_encode = msgspec.json.Encoder().encode
_log: Final = logging.getLogger("hermes.webhooks")


_PROBLEMS: Final = (
    "not_found",
    "webhook_refused",
    "malformed_webhook",
    "body_too_large",
    "too_many_webhooks",
    "engine_unavailable",
)
_PARAMETERS: Final = [
    {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
    }
    for name, description in (
        ("tenant", "Whose adapter it is."),
        ("adapter", "The adapter's name."),
    )
]


class ReportSink(Protocol):
    """Takes what a provider reports, durably."""

    async def webhook(self, call: bytes) -> None:
        """Returns once it is safe. Raises EngineUnavailable."""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What the routes work with. `public_url` is how the providers see us, without a path.

    `reference_key` is what our references are signed with. `limits` are those of each tenant.
    `seen` counts requests by tenant, adapter and what became of them.
    """

    registry: Registry
    sink: ReportSink
    public_url: str
    reference_key: bytes
    clock: Callable[[], datetime]
    limits: WebhookLimits = field(default_factory=WebhookLimits)
    seen: Counter[tuple[str, str, str]] = field(default_factory=Counter)


def add_routes(router: APIRouter, webhooks: Webhooks | None) -> None:
    """Serve the providers; every path is `not_found` where there are no `webhooks`."""

    async def webhook(request: Request) -> Response:
        """For the provider that an adapter speaks to: delivery reports and messages from people.

        The signature is checked over the raw body and the public address, as the provider's
        scheme has it; anything that is not signed is refused, and nothing becomes of it.
        """
        if webhooks is None:
            raise Problem("not_found")
        tenant, adapter = request.path_params["tenant"], request.path_params["adapter"]
        installed = await _installed(webhooks, tenant, adapter, request.query_params.get("ref", ""))
        if installed is None or installed.manifest.webhook is None:
            raise Problem("not_found")
        body = await _body(request)
        verdict = verify(
            installed.manifest.webhook,
            _configured(installed),
            WebhookRequest(
                request.method,
                _public(webhooks.public_url, request),
                [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers.raw],
                body,
                dict(_query(request)),
            ),
            webhooks.clock().timestamp(),
        )
        if isinstance(verdict, Refused):
            webhooks.seen[tenant, adapter, verdict.reason.value] += 1
            _log.warning("a webhook of %s/%s is refused: %s", tenant, adapter, verdict.reason.value)
            raise Problem("webhook_refused")
        if isinstance(verdict, Challenge):
            webhooks.seen[tenant, adapter, "challenge"] += 1
            return Response(verdict.text, media_type="text/plain")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Problem("malformed_webhook") from None
        try:
            webhooks.limits.take(tenant, adapter, len(body))
        except Problem:
            webhooks.seen[tenant, adapter, "limited"] += 1
            raise
        call = WebhookCall(
            tenant,
            adapter,
            Webhook(
                request.method,
                dict(_query(request)),
                request.headers.get("content-type", ""),
                text,
            ),
            webhooks.clock(),
        )
        await webhooks.sink.webhook(_encode(call))
        webhooks.seen[tenant, adapter, "accepted"] += 1
        if isinstance(installed.manifest.webhook, TwilioWebhook):
            # Without TwiML, Twilio sends the body back to the person as an answer.
            return Response("<Response/>", media_type="text/xml")
        return Response(status_code=200)

    async def webhook_verification(request: Request) -> Response:
        """For a provider that asks whether the address is right before it uses it."""
        return await webhook(request)

    for method, endpoint, summary in (
        ("POST", webhook, "A provider's report"),
        ("GET", webhook_verification, "A provider's question"),
    ):
        operation.add(
            router,
            method,
            WEBHOOKS + "{tenant}/{adapter}",
            endpoint,
            tag="Webhooks",
            summary=summary,
            status=200,
            answer=None,
            problems=_PROBLEMS,
            parameters=_PARAMETERS,
            upload="*/*" if method == "POST" else None,
            open_to_all=True,
        )


async def _installed(webhooks: Webhooks, tenant: str, adapter: str, ref: str) -> Installed | None:
    """The version in use; of an adapter that was taken out of use, the one that made the attempt
    which the address names."""
    active = webhooks.registry.active(tenant, adapter)
    if active is None and await webhooks.registry.refresh():
        # It was put to use a moment ago: some providers call at once.
        active = webhooks.registry.active(tenant, adapter)
    if active is not None:
        return active
    named = reference.read(webhooks.reference_key, tenant, adapter, ref)
    if named is None:
        return None
    return await webhooks.registry.pinned(tenant, adapter, named.version)


async def _body(request: Request) -> bytes:
    """The raw body. Raises Problem as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "")
    too_large = Problem("body_too_large", f"The body may have {BODY_LIMIT} bytes.")
    if declared.isdecimal() and int(declared) > BODY_LIMIT:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise too_large
    return bytes(body)


def _public(base: str, request: Request) -> str:
    """The address that the provider called; what a proxy made of it is not what was signed."""
    path = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.scope["query_string"]
    return base.rstrip("/") + path.decode("latin-1") + (f"?{query.decode('latin-1')}" * bool(query))


def _query(request: Request) -> Iterator[tuple[str, str]]:
    yield from parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _configured(installed: Installed) -> dict[str, object]:
    secrets = {key: secret.get_secret_value() for key, secret in installed.secrets.items()}
    return {**installed.values, **secrets}
