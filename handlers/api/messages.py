"""/v1/messages: send one, look at it, withdraw it."""

from __future__ import annotations

from typing import Final, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from domain.billing.settlement import Settled
from domain.callback import Telling
from domain.ids import is_message_id
from domain.message import MessageOrder
from domain.ports import Principal
from domain.sandbox import reaches
from domain.tenancy import Scope
from domain.timeline import Entry, Event, Record
from handlers.api import body, operation
from handlers.api.acceptance import Submission, accept, idempotency_key
from handlers.api.answers import Cancellation, accepted_message, encode, message_view
from handlers.api.door import Endpoint, principal_of
from handlers.api.problems import Problem
from handlers.api.services import Services
from handlers.api.tracing import trace_of

BODY_PROBLEMS: Final = (
    "body_required",
    "malformed_json",
    "invalid_idempotency_key",
    "body_too_large",
    "unsupported_media_type",
    "validation_failed",
    "engine_unavailable",
)


class Found(NamedTuple):
    """A tenant's message, from Restate while it is under way and from the log afterwards."""

    order: MessageOrder
    record: Record
    late: tuple[Entry, ...] = ()
    callbacks: tuple[Telling, ...] = ()
    bill: tuple[Settled, ...] = ()


def add_routes(router: APIRouter, services: Services) -> Endpoint:
    """Serve the resource. Returns the endpoint that sends a message, the busiest of all."""

    async def send_message(request: Request) -> Response:
        """Send one message. `202` means that Hermes holds it durably and will account for it.

        With an `Idempotency-Key` the request can be repeated safely. Without one, a request
        that got no answer may or may not have been accepted.
        """
        principal, key = principal_of(request), idempotency_key(request)
        if key is None:
            # A repeated request is answered as the first one was, whatever has come since.
            services.limiter.turn_away(principal)
        raw = await body.read(request, services.limits.message_body)
        submission = Submission(
            principal=principal,
            raw=raw,
            key=key,
            body=body.parse_message(raw),
            trace=trace_of(request.headers),
        )
        accepted = await accept(services, submission)
        answer = accepted_message(accepted.id, accepted.order)
        headers = {"Location": answer.links.self, **services.limiter.headers(principal)}
        if accepted.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Response(encode(answer), 202, headers, "application/json")

    async def get_message(request: Request) -> Response:
        """A message with its timeline: every step, attempt, receipt and reason.

        The content is not returned: it may hold one-time passwords.
        """
        message_id = request.path_params["id"]
        found = await _find(services, principal_of(request), message_id)
        view = message_view(message_id, *found)
        return Response(encode(view), media_type="application/json")

    async def cancel_message(request: Request) -> Response:
        """Withdraw a message. No further attempt begins; one that is under way may still arrive.

        The outcome is in the message's timeline.
        """
        message_id = request.path_params["id"]
        found = await _find(services, principal_of(request), message_id)
        status = found.record.status
        if status.terminal:
            raise Problem("already_ended")
        if not await services.engine.cancel(message_id):
            listed = await services.log.get(message_id)
            if listed is not None and listed.record is not None:
                raise Problem("already_ended")
            # Accepted, but its handler has not begun: there is nothing to withdraw yet.
            raise Problem("request_in_progress", headers={"Retry-After": "1"})
        return Response(
            encode(Cancellation(message_id, status)), 202, media_type="application/json"
        )

    send = operation.add(
        router,
        "POST",
        "/v1/messages",
        send_message,
        scope=Scope.SEND,
        tag="Messages",
        summary="Send a message",
        status=202,
        body="MessageBody",
        answer="AcceptedMessage",
        headers={
            "Location": "The message's path.",
            "Idempotent-Replayed": "`true` when an earlier request had brought the message.",
            "RateLimit-Policy": "Your account's and your key's rate, if they have one, as in "
            "draft-ietf-httpapi-ratelimit-headers: `q` messages in `w` seconds.",
            "RateLimit": "What is left of it: `r` messages at once.",
        },
        parameters=[operation.IDEMPOTENCY_KEY, operation.TRACEPARENT],
        problems=[
            *BODY_PROBLEMS,
            "tenant_suspended",
            "content_refused",
            "compliance_refused",
            "unsubscribing_impossible",
            "recipient_suppressed",
            "rate_limited",
            "recipient_capped",
            "quota_exceeded",
            "duplicate_content",
            "idempotency_key_reused",
            "request_in_progress",
            "queue_full",
            "carriers_down",
            "account_empty",
        ],
    )
    operation.add(
        router,
        "GET",
        "/v1/messages/{id}",
        get_message,
        scope=Scope.READ,
        tag="Messages",
        summary="Look at a message",
        status=200,
        answer="MessageView",
        parameters=[operation.MESSAGE_ID],
        problems=["message_not_found", "engine_unavailable"],
    )
    operation.add(
        router,
        "DELETE",
        "/v1/messages/{id}",
        cancel_message,
        scope=Scope.SEND,
        tag="Messages",
        summary="Withdraw a message",
        status=202,
        answer="Cancellation",
        parameters=[operation.MESSAGE_ID],
        problems=[
            "message_not_found",
            "already_ended",
            "request_in_progress",
            "engine_unavailable",
        ],
    )
    return send


async def _find(services: Services, principal: Principal, message_id: str) -> Found:
    """The tenant's message; Restate is asked unless the log has its end.

    Raises Problem `message_not_found`. A row that the key may not see counts as none from the
    first line on, so that it leads through the same calls as an id that does not exist.
    """
    if not is_message_id(message_id):
        raise Problem("message_not_found")
    row = await services.log.get(message_id, tenant=principal.tenant)
    if row is not None and not _may_see(principal, row.order):
        row = None
    if row is not None and row.record is not None:
        return Found(row.order, row.record, row.late, row.callbacks, row.bill)
    live = await services.engine.status(message_id)
    if live is not None and _may_see(principal, live[0]):
        if row is None:
            return Found(*live)
        return Found(*live, callbacks=row.callbacks, bill=row.bill)
    if row is None:
        raise Problem("message_not_found")
    # Accepted, but its handler has not begun: this is the line that it begins with.
    begun = [Entry(row.order.accepted_at, Event.ACCEPTED)]
    return Found(row.order, Record(row.status, begun, channel=row.channel))


def _may_see(principal: Principal, order: MessageOrder) -> bool:
    """Whether the message is the tenant's, and no live one where a test key asks."""
    return order.tenant == principal.tenant and reaches(principal.mode, order.mode)
