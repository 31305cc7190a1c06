"""What providers report by webhook: read by the adapter, told to the messages that it is about.

The webhook's handler (`handlers/webhooks`) has checked the signature and handed the body to
Restate; from there nothing is lost, whatever dies.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec
from restate import Context, InvocationRetryPolicy, Service

from adapters.restate.serde import JsonSerde
from adapters.suppression.automatic import CHANNEL
from adapters.wasm import reference
from adapters.wasm.contract import InboundText, OptOut, Report, Reported, Webhook
from adapters.wasm.runtime.faults import AdapterFailed
from domain.delivery import Receipt
from domain.failures import Failure
from domain.inbound import InboundDelivery, InboundMessage, Routes, delivery_of, inbound_id
from domain.message import Moment
from domain.suppression import Reason, is_hard_bounce
from handlers.unread import UnreadNotes, until_read

logger = logging.getLogger(__name__)

SERVICE = "AdapterReports"

_RETRIES = InvocationRetryPolicy(
    initial_interval=timedelta(seconds=1),
    exponentiation_factor=2.0,
    max_interval=timedelta(minutes=10),
    max_attempts=20,
    on_max_attempts="pause",
)
"""About two hours, then it waits for a person: it is Hermes that has failed. An adapter that has is
no failure of the invocation's, see `handlers/unread.py`."""

_SHOWN_FOR = timedelta(hours=1)

_MAX_STATUS = 64
"""Characters of a provider's own code or status that are kept, and of a detail below."""
_MAX_DETAIL = 500


class WebhookCall(msgspec.Struct, frozen=True):
    """A webhook whose signature is good, for one tenant's adapter."""

    tenant: str
    adapter: str
    webhook: Webhook
    received_at: Moment


class Told(msgspec.Struct):
    """Who is to hear what: messages by their id, deliveries by their idempotency key. Whoever got
    one of the `unwanted` messages is to be left alone. Nobody hears anything of a webhook that the
    adapter could not read: `failed` is the kind of its failure."""

    receipts: list[tuple[str, Receipt]] = []
    deliveries: list[tuple[str, InboundDelivery]] = []
    unwanted: list[tuple[str, Reason]] = []
    failed: str | None = None


class AdapterHost(Protocol):
    """Runs adapters."""

    async def report(self, tenant: str, adapter: str, webhook: Webhook) -> Reported:
        """What the adapter finds in a webhook. Raises AdapterFailed."""


Suppress = Callable[[str, str, str, Reason], Awaitable[None]]
"""Of tenant, adapter, message and reason. Does nothing where the adapter did not carry the message
as e-mail."""
CALL: JsonSerde[WebhookCall] = JsonSerde(WebhookCall)
_TOLD: JsonSerde[Told] = JsonSerde(Told)
_encode = msgspec.json.Encoder().encode


def create_adapter_reports(
    host: AdapterHost,
    reference_key: bytes,
    routes: Routes,
    heard: Callable[[str, Receipt], None] = lambda message, receipt: None,
    suppress: Suppress | None = None,
    *,
    unread: UnreadNotes,
) -> Service:
    """The service that reads webhooks. `reference_key` is what our references are signed with,
    `routes` says whose a message from a person is. `heard` is told each receipt with its message,
    perhaps twice; `suppress` puts the recipients of messages on their tenant's list; `unread` is
    told what could not be read."""
    reports = Service(
        SERVICE,
        inactivity_timeout=timedelta(minutes=1),
        journal_retention=_SHOWN_FOR,
        idempotency_retention=timedelta(days=1),
        invocation_retry_policy=_RETRIES,
    )

    @reports.handler(input_serde=CALL)
    async def read(ctx: Context, call: WebhookCall) -> None:
        """Tell each message what was reported, and each tenant what people wrote."""

        async def look() -> Told:
            try:
                reported = await host.report(call.tenant, call.adapter, call.webhook)
            except AdapterFailed as error:
                logger.warning(
                    "%s of %s cannot read a webhook: %s", call.adapter, call.tenant, error.kind
                )
                return Told(failed=error.kind)
            found = told(call, reported, reference_key, routes)
            for message, receipt in found.receipts:
                heard(message, receipt)
            return found

        found = await until_read(ctx, call, look, _TOLD, unread)
        if found is None:
            return
        for message, receipt in found.receipts:
            ctx.generic_send("Message", "receipt", _encode(receipt), key=message)
        for key, delivery in found.deliveries:
            ctx.generic_send("Inbound", "deliver", _encode(delivery), idempotency_key=key)
        if suppress is not None and found.unwanted:
            unwanted = found.unwanted

            async def leave_alone() -> None:
                for message, reason in unwanted:
                    await suppress(call.tenant, call.adapter, message, reason)

            await ctx.run_typed("suppress", leave_alone)

    return reports


def told(call: WebhookCall, reported: Reported, reference_key: bytes, routes: Routes) -> Told:
    """Whom a webhook's reports and messages are for. What is nobody's is left out, and logged."""
    found = Told()
    for report in reported.reports:
        named = report.reference or call.webhook.query.get("ref", "")
        attempted = reference.read(reference_key, call.tenant, call.adapter, named)
        if attempted is None:
            logger.info("%s of %s reports on nothing of ours", call.adapter, call.tenant)
            continue
        receipt = receipt_of(report, attempted.attempt, call.adapter, call.received_at)
        found.receipts.append((attempted.message, receipt))
        reason = _unwanted(report, receipt)
        if reason is not None:
            found.unwanted.append((attempted.message, reason))
    for text in reported.inbound:
        delivery = _delivery(text, call, routes)
        if delivery is None:
            logger.warning("nobody is told of a message to %s (%s)", text.to, call.adapter)
            continue
        found.deliveries.append((f"{call.tenant}/{call.adapter}/{text.id}", delivery))
    return found


def receipt_of(report: Report, attempt: int, adapter: str, received_at: datetime) -> Receipt:
    """The report as the cascade takes it. Its id is the provider's, which repeats it.

    Nothing is reported before it happens: a time beyond `received_at` would bring the message's
    end forward.
    """
    failure = None
    if (said := report.failure) is not None:
        failure = Failure(
            said.code, _cut(said.provider_code, _MAX_STATUS), _cut(said.detail, _MAX_DETAIL)
        )
    return Receipt(
        attempt=attempt,
        at=min(report.at or received_at, received_at),
        level=report.level,
        failure=failure,
        provider=adapter,
        provider_status=_cut(report.provider_status, _MAX_STATUS),
        id=f"{adapter}/{report.id}",
        final=report.final,
    )


_REASONS: Final[dict[OptOut, Reason]] = {
    "complaint": Reason.COMPLAINT,
    "unsubscribe": Reason.UNSUBSCRIBE,
}


def _unwanted(report: Report, receipt: Receipt) -> Reason | None:
    """Why a recipient is to be left alone after a report."""
    if report.opt_out is not None:
        return _REASONS[report.opt_out]
    if receipt.failure is not None and is_hard_bounce(CHANNEL, receipt.failure):
        return Reason.HARD_BOUNCE
    return None


def _cut(text: str | None, most: int) -> str | None:
    return None if text is None else text[:most]


def _delivery(text: InboundText, call: WebhookCall, routes: Routes) -> InboundDelivery | None:
    """What the number's tenant is told; None when the number is not the webhook's tenant's."""
    route = routes.find(text.to, text.text)
    if route is None or route.tenant != call.tenant:
        return None
    at = text.at or call.received_at
    message = InboundMessage(
        id=inbound_id(at, [f"{call.tenant}/{call.adapter}/{text.id}"]),
        carrier=call.adapter,
        source=text.sender,
        destination=text.to,
        text=text.text,
        data=None,
        parts=1,
        missing=(),
        received_at=at,
        last_at=at,
    )
    return delivery_of(message, route)
