"""SendGrid's mail send and its Event Webhook: api.sendgrid.com.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct, field

from infra.simulators.providers.accounts import SendGridAccount
from infra.simulators.providers.behaviours import (
    SENDGRID,
    SENDGRID_SENDERS,
    Behaviour,
    Signature,
    by_beginning,
)
from infra.simulators.providers.courier import Outgoing, backoff
from infra.simulators.providers.provider import (
    Answer,
    Event,
    Provider,
    Submission,
    json_answer,
)
from infra.simulators.providers.signatures import (
    SENDGRID_SIGNATURE,
    SENDGRID_TIMESTAMP,
    sign_sendgrid,
)

MAX_BATCH: Final = 1_000
"""Events in one callback."""
MAX_RECIPIENTS: Final = 1_000
MAX_CUSTOM_ARGS: Final = 10_000
"""Octets of all custom_args."""
STALE_S: Final = 3_600
_ADDRESS: Final = re.compile(r"[^@\s<>]{1,64}@[^@\s<>]+\.[^@\s<>.]+")


class _Error(Struct, frozen=True):
    status: int
    message: str
    field: str | None = None


ERRORS: Final[dict[str, _Error]] = {
    "credentials": _Error(401, "The provided authorization grant is invalid, expired, or revoked"),
    "sender": _Error(
        403,
        "The from address does not match a verified Sender Identity. Mail cannot be sent until "
        "this error is resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/"
        "sender-identity/ to see the Sender Identity requirements",
        "from",
    ),
    "not found": _Error(404, "Not found"),
    "json": _Error(400, "Bad Request"),
    "personalizations": _Error(
        400,
        "The personalizations field is required and must have at least one personalization.",
        "personalizations",
    ),
    "to": _Error(
        400,
        "The to array is required for all personalization objects, and must have at least one "
        "email object with a valid email address.",
        "personalizations.0.to",
    ),
    "address": _Error(400, "Does not contain a valid address.", "personalizations.0.to.0.email"),
    "from": _Error(
        400,
        "The from object must be provided for every email send. It is an object that requires the "
        "email parameter, but may also contain a name parameter.  e.g. "
        '{"email" : "example@example.com"}  or {"email" : "example@example.com", "name" : '
        '"Example Recipient"}.',
        "from.email",
    ),
    "subject": _Error(
        400,
        "The subject is required. You can get around this requirement if you use a template with "
        "a subject defined or if every personalization has a subject defined.",
        "subject",
    ),
    "content": _Error(
        400,
        "Unless a valid template_id is provided, the content parameter is required. There must be "
        "at least one defined content block. We typically suggest both text/plain and text/html "
        "blocks are included, but only one block is required.",
        "content",
    ),
    "content.value": _Error(
        400,
        "The content value must be a string at least one character in length.",
        "content.0.value",
    ),
    "content.order": _Error(
        400,
        "If present, text/plain must be first, followed by text/html, followed by any other "
        "content.",
        "content.0.type",
    ),
    "custom_args": _Error(
        400, "The custom_args values must be strings and less than 10,000 bytes.", "custom_args"
    ),
    "throttled": _Error(429, "too many requests"),
    "internal": _Error(500, "Internal Server Error"),
    "unavailable": _Error(503, "Service Unavailable"),
}
"""SendGrid has no codes: names of our own for its messages."""

_REASONS: Final = {
    "bounce": "550 5.1.1 The email account that you tried to reach does not exist.",
    "blocked": "550 5.7.1 Message rejected: the sending IP address is blocked.",
}


class _Batch(Struct):
    """Events to come together, and who waits for their first attempt."""

    events: list[dict[str, Any]] = field(default_factory=list)
    tried: list["asyncio.Future[None]"] = field(default_factory=list)


class SendGrid(Provider):
    """POST /v3/mail/send with a Bearer key; batched, signed events."""

    name = "sendgrid"
    internal = "internal"
    throttled = "throttled"
    delivered = ("processed", "delivered")

    def __init__(self, *arguments: Any) -> None:
        self._batches: dict[tuple[str, Signature], _Batch] = {}
        self._strange_key = ec.generate_private_key(ec.SECP256R1())
        super().__init__(*arguments)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v3/mail/send", self.handled_by(self._judge)),
            web.get("/v3/scopes", self.handled_by(self._scopes)),
        ]

    def behaviour_of(self, recipient: str) -> Behaviour:
        return by_beginning(SENDGRID, recipient)

    def new_id(self) -> str:
        return secrets.token_urlsafe(16)

    def refuse(self, refusal: str, submission: Submission | None = None) -> Answer:
        error = ERRORS[refusal]
        headers = {}
        if error.status in (429, 503):
            headers["Retry-After"] = str(self.options.retry_after_s)
        if error.status == 429:
            headers["X-RateLimit-Limit"] = "600"
            headers["X-RateLimit-Remaining"] = "0"
            headers["X-RateLimit-Reset"] = str(int(time.time()) + self.options.retry_after_s)
        body = {"errors": [{"message": error.message, "field": error.field, "help": None}]}
        return json_answer(error.status, body, headers)

    def not_found(self, request: web.Request) -> Answer:
        return self.refuse("not found")

    def accept(self, submission: Submission, id_: str) -> Answer:
        return Answer(202, b"", "text/plain; charset=utf-8", {"X-Message-Id": id_})

    def emit(
        self,
        submission: Submission,
        recipient: str,
        id_: str,
        event: Event,
        signature: Signature,
    ) -> Awaitable[None] | None:
        account: SendGridAccount = submission.account
        if not account.webhook:
            self.record.counters.callbacks_nowhere += 1
            return None
        shown = _event(event, recipient, id_, submission.details["smtp_id"])
        # Ours come flat beside SendGrid's, which win.
        shown = {**submission.details["custom_args"].get(recipient, {}), **shown}
        if submission.details["categories"]:
            shown["category"] = submission.details["categories"]
        key = (account.api_key, signature)
        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = _Batch()
            self._loop.call_later(self.options.batch_ms / 1e3, self._flush, key, batch)
        tried: asyncio.Future[None] = self._loop.create_future()
        batch.events.append(shown)
        batch.tried.append(tried)
        if len(batch.events) >= MAX_BATCH:
            self._flush(key, batch)
        return tried

    @property
    def pending(self) -> int:
        return super().pending + sum(len(batch.events) for batch in self._batches.values())

    def forget(self) -> None:
        self._batches.clear()
        super().forget()

    # -- requests ---------------------------------------------------------------------------

    def _judge(self, request: web.Request, body: bytes) -> Answer | Submission:
        account = self._authenticated(request)
        if account is None:
            return self.refuse("credentials")
        try:
            mail = json.loads(body)
        except ValueError:
            mail = None
        if not isinstance(mail, dict):
            return self.refuse("json")
        fault = _fault(mail)
        if fault is not None:
            return self.refuse(fault)
        recipients = []
        custom_args: dict[str, dict[str, str]] = {}
        for personalization in mail["personalizations"]:
            for to in personalization["to"]:
                recipients.append(to["email"])
                custom_args[to["email"]] = {
                    **mail.get("custom_args", {}),
                    **personalization.get("custom_args", {}),
                }
        sender = mail["from"]["email"]
        refusal = by_prefix(SENDGRID_SENDERS, sender)
        content = mail.get("content") or [{}]
        return Submission(
            account=account,
            recipients=recipients,
            sender=sender,
            text=str(content[0].get("value", mail.get("template_id", ""))),
            reference=json.dumps(custom_args[recipients[0]]),
            details={
                "custom_args": custom_args,
                "categories": mail.get("categories", []),
                "smtp_id": f"<{secrets.token_urlsafe(16)}@geopod-ismtpd-0>",
            },
            refusal=refusal,
            dry_run=bool(
                mail.get("mail_settings", {}).get("sandbox_mode", {}).get("enable", False)
            ),
        )

    def _scopes(self, request: web.Request, _: bytes) -> Answer:
        if self._authenticated(request) is None:
            return self.refuse("credentials")
        return json_answer(200, {"scopes": ["mail.send"]})

    def _authenticated(self, request: web.Request) -> SendGridAccount | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return self._accounts.sendgrid.get(key) if scheme.lower() == "bearer" else None

    # -- callbacks --------------------------------------------------------------------------

    def _flush(self, key: tuple[str, Signature], batch: _Batch) -> None:
        if self._batches.get(key) is not batch:
            return
        del self._batches[key]
        api_key, signature = key
        account = self._accounts.sendgrid.get(api_key)
        if account is None or not account.webhook:
            return
        body = json.dumps(batch.events, separators=(",", ":")).encode()
        signing = self._strange_key if signature == "bad" else account.key
        age = STALE_S if signature == "stale" else 0

        def headers() -> dict[str, str]:
            timestamp = str(int(time.time()) - age)
            return {
                SENDGRID_SIGNATURE: sign_sendgrid(signing, timestamp, body),
                SENDGRID_TIMESTAMP: timestamp,
                "User-Agent": "SendGrid Event API",
                "Accept-Encoding": "gzip",
            }

        options = self.options
        sent = self._courier.send(
            Outgoing(
                account.webhook,
                "application/json;charset=utf-8",
                body,
                signature,
                headers,
                backoff(options.callback_retries, options.callback_backoff_ms),
                options.callback_origin,
            ),
            self.record,
        )

        def tried(_: Any) -> None:
            for future in batch.tried:
                if not future.done():
                    future.set_result(None)

        sent.add_done_callback(tried)


def by_prefix(table: Mapping[str, str], address: str) -> str | None:
    """The error that a sender gets, None for none."""
    lowered = address.lower()
    return next((error for prefix, error in table.items() if lowered.startswith(prefix)), None)


def _event(event: Event, recipient: str, id_: str, smtp_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "email": recipient,
        "timestamp": int(event.at),
        "smtp-id": smtp_id,
        "event": event.name,
        "sg_event_id": event.id,
        "sg_message_id": f"{id_}.recvd-0000000000-00000-1-00000000-0.0",
    }
    if event.name == "delivered":
        shown |= {"response": "250 2.0.0 OK", "tls": 1}
    elif event.name == "deferred":
        shown |= {"response": "451 4.3.0 Try again later", "attempt": "1"}
    elif event.name in ("bounce", "blocked"):
        shown |= {
            "event": "bounce",
            "type": event.name,
            "reason": _REASONS[event.name],
            "status": event.code,
            "bounce_classification": "Reputation" if event.name == "blocked" else "Invalid Address",
        }
    elif event.name == "dropped":
        shown |= {"reason": event.code, "status": "5.0.0"}
    elif event.name in ("open", "click"):
        del shown["smtp-id"]
        shown |= {"ip": "192.0.2.1", "useragent": "Mozilla/5.0"}
        if event.name == "click":
            shown["url"] = "https://example.com/"
        else:
            shown["sg_machine_open"] = event.code == "machine"
    return shown


def _fault(mail: dict[str, Any]) -> str | None:
    """The name of the first thing that is wrong with a mail, None when nothing is."""
    personalizations: Any = mail.get("personalizations")
    if not _objects(personalizations):
        return "personalizations"
    count = 0
    for personalization in personalizations:
        to: Any = personalization.get("to")
        if not _objects(to):
            return "to"
        if not all(_ADDRESS.fullmatch(str(one.get("email", ""))) for one in to):
            return "address"
        count += len(to)
    if count > MAX_RECIPIENTS:
        return "personalizations"
    sender = mail.get("from")
    if not isinstance(sender, dict) or not _ADDRESS.fullmatch(str(sender.get("email", ""))):
        return "from"
    if not mail.get("template_id"):
        if not mail.get("subject") and not all(p.get("subject") for p in personalizations):
            return "subject"
        fault = _content_fault(mail.get("content"))
        if fault is not None:
            return fault
    given = [mail.get("custom_args", {})] + [p.get("custom_args", {}) for p in personalizations]
    for arguments in given:
        if (
            not isinstance(arguments, dict)
            or not all(isinstance(value, str) for value in arguments.values())
            or len(json.dumps(arguments)) > MAX_CUSTOM_ARGS
        ):
            return "custom_args"
    return None


def _content_fault(content: Any) -> str | None:
    if not _objects(content):
        return "content"
    if not all(isinstance(part.get("value"), str) and part["value"] for part in content):
        return "content.value"
    order = {"text/plain": 0, "text/html": 1}
    kinds = [order.get(str(part.get("type")), 2) for part in content]
    return None if kinds == sorted(kinds) else "content.order"


def _objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
