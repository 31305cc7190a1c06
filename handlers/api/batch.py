"""/v1/messages/batch: many messages in one request, each accepted or refused on its own."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.store.database import is_away
from domain.ports import EngineUnavailable, Principal
from domain.tenancy import Scope
from handlers.api import body, operation
from handlers.api.acceptance import Submission, accept, idempotency_key
from handlers.api.answers import BatchAnswer, BatchItem, accepted_message, encode
from handlers.api.door import principal_of
from handlers.api.messages import BODY_PROBLEMS
from handlers.api.problems import Problem, engine_unavailable, store_unavailable
from handlers.api.schemas import MAX_BATCH
from handlers.api.services import Services
from handlers.api.shares import Shares
from handlers.api.tracing import Trace, trace_of

_log: Final = logging.getLogger("hermes.api")


def add_routes(router: APIRouter, services: Services) -> None:
    """Serve the resource."""
    places = Shares(services.limits.batch_concurrency, services.limits.batch_share)

    async def send_batch(request: Request) -> Response:
        """Send up to 1,000 messages. `results` has one entry for each, in the same order.

        An `Idempotency-Key` covers each message together with its place in the list, so a batch
        that was taken in part can be repeated as it was. After a `503`, or without an answer, some
        may have been taken: repeat it with the same key.
        """
        raw = await body.read(request, services.limits.batch_body)
        key = idempotency_key(request)
        principal = principal_of(request)
        trace = trace_of(request.headers)
        share = places.of(principal.tenant)

        async def take(index: int, message: bytes) -> tuple[BatchItem, bool]:
            async with share:
                return await _item(services, principal, trace, key, index, message)

        items = await asyncio.gather(
            *(
                take(index, bytes(message))
                for index, message in enumerate(body.parse_batch(raw, MAX_BATCH))
            )
        )
        results = [item for item, _ in items]
        problems = [item.problem.code for item in results if item.problem is not None]
        if problems == ["engine_unavailable"] * len(results):
            raise engine_unavailable()
        if missed := problems.count("store_unavailable"):
            _log.error("the database is away: %d messages of a batch are not taken", missed)
        if missed == len(results):
            raise store_unavailable()
        for code in problems:
            services.refused(principal.tenant, code)
        answer = BatchAnswer(
            accepted=len(results) - len(problems), refused=len(problems), results=results
        )
        replayed = all(replayed for item, replayed in items if item.message is not None)
        headers = {"Idempotent-Replayed": "true"} if answer.accepted and replayed else None
        return Response(encode(answer), 202, headers, "application/json")

    operation.add(
        router,
        "POST",
        "/v1/messages/batch",
        send_batch,
        scope=Scope.SEND,
        tag="Messages",
        summary="Send many messages",
        status=202,
        body="BatchBody",
        answer="BatchAnswer",
        headers={
            "Idempotent-Replayed": "`true` when earlier requests had brought every message that "
            "was accepted."
        },
        parameters=[operation.IDEMPOTENCY_KEY, operation.TRACEPARENT],
        problems=BODY_PROBLEMS,
    )


async def _item(
    services: Services,
    principal: Principal,
    trace: Trace,
    key: str | None,
    index: int,
    raw: bytes,
) -> tuple[BatchItem, bool]:
    """One message's result, and whether an earlier request had brought it."""
    try:
        submission = Submission(
            principal=principal,
            raw=raw,
            body=body.parse_message(raw),
            trace=trace,
            key=key,
            index=index,
        )
        accepted = await accept(services, submission)
    except Problem as problem:
        return BatchItem(problem=problem.details), False
    except EngineUnavailable:
        return BatchItem(problem=engine_unavailable().details), False
    except Exception as error:
        if is_away(error):
            # Once for the batch in the log, not with a trace for each.
            return BatchItem(problem=store_unavailable().details), False
        # The other messages may have been accepted: their results must reach the client.
        incident = f"urn:uuid:{uuid.uuid4()}"
        _log.exception(
            "message %d of a batch failed: %s", index, incident, extra={"incident": incident}
        )
        return BatchItem(problem=Problem("internal_error", instance=incident).details), False
    return BatchItem(message=accepted_message(accepted.id, accepted.order)), accepted.replayed
