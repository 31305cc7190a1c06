"""GET /v1/messages: a tenant's messages, newest first, a page at a time."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from domain.channels import CHANNELS
from domain.ids import is_message_id
from domain.mode import Mode
from domain.ports import MessageQuery, Principal
from domain.sandbox import reaches
from domain.tenancy import Scope
from domain.timeline import Status
from handlers.api import operation
from handlers.api.answers import MessagePage, encode, message_summary
from handlers.api.body import field_errors
from handlers.api.door import principal_of
from handlers.api.problems import FieldError, Problem, validation_failed
from handlers.api.schemas import MAX_METADATA, Rfc3339
from handlers.api.services import Services

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500

_METADATA: Final = "metadata."
_REPEATABLE: Final = ("status",)


class _Query(BaseModel):
    """The parameters with names of their own. Their values come as texts."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    mode: Mode | None = None
    status: tuple[Status, ...] = ()
    channel: str | None = None
    created_after: Rfc3339 | None = None
    created_before: Rfc3339 | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: str | None = None


_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


class _Position(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Where a page ended: the last row's place in the order."""

    created_at: datetime
    id: str


def add_routes(router: APIRouter, services: Services) -> None:
    """Serve the resource."""

    async def list_messages(request: Request) -> Response:
        """Messages, newest first. Filters combine; `next_cursor` leads to the next page.

        A page shows each message as the log has it: while a message is under way its own page is
        more exact.
        """
        query = _parse(principal_of(request), request.query_params)
        # One more than asked for tells whether there is another page.
        rows = await services.log.list(replace(query, limit=query.limit + 1))
        page = rows[: query.limit]
        more = len(rows) > len(page)
        answer = MessagePage(
            data=[message_summary(row) for row in page],
            next_cursor=_cursor(_Position(page[-1].created_at, page[-1].id)) if more else None,
        )
        return Response(encode(answer), media_type="application/json")

    operation.add(
        router,
        "GET",
        "/v1/messages",
        list_messages,
        scope=Scope.READ,
        tag="Messages",
        summary="List messages",
        status=200,
        answer="MessagePage",
        parameters=_PARAMETERS,
        problems=["validation_failed", "invalid_cursor"],
    )


def _parse(principal: Principal, parameters: QueryParams) -> MessageQuery:
    """Raises Problem."""
    named: dict[str, Any] = {}
    metadata: list[tuple[str, str]] = []
    faults: list[FieldError] = []
    for name in parameters:
        values = parameters.getlist(name)
        if any("\0" in text for text in (name, *values)):
            faults.append(FieldError("nul_character", "U+0000 is not allowed.", parameter=name))
        elif name.startswith(_METADATA) and name != _METADATA:
            metadata.extend((name.removeprefix(_METADATA), value) for value in values)
        elif name in _REPEATABLE:
            named[name] = tuple(values)
        elif len(values) > 1:
            faults.append(FieldError("repeated_parameter", "Given twice.", parameter=name))
        else:
            named[name] = values[0]
    if len(metadata) > MAX_METADATA:
        detail = f"At most {MAX_METADATA} metadata filters."
        faults.append(FieldError("metadata_too_large", detail, parameter="metadata"))
    channel = named.get("channel")
    if channel is not None and channel not in CHANNELS:
        detail = f"Channels: {', '.join(CHANNELS)}."
        faults.append(FieldError("unknown_channel", detail, parameter="channel"))
    try:
        query = _Query.model_validate(named)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        faults.extend(_parameter_fault(fault, named) for fault in found)
        raise validation_failed(faults) from None
    if faults:
        raise validation_failed(faults)
    mode = query.mode or principal.mode
    if not reaches(principal.mode, mode):
        detail = "A test key sees test messages only."
        raise validation_failed([FieldError("unknown_value", detail, parameter="mode")])
    return MessageQuery(
        tenant=principal.tenant,
        limit=query.limit,
        mode=mode,
        statuses=query.status,
        channel=query.channel,
        created_after=None if query.created_after is None else _utc(query.created_after),
        created_before=None if query.created_before is None else _utc(query.created_before),
        metadata=tuple(metadata),
        before=None if query.cursor is None else _position(query.cursor),
    )


def _parameter_fault(fault: Any, named: dict[str, Any]) -> FieldError:
    (error,) = field_errors([fault])
    name = str(fault["loc"][0])
    code = {"unknown_field": "unknown_parameter"}.get(error.code, error.code)
    detail = error.detail
    if code == "unknown_parameter":
        detail = "There is no such parameter."
    elif code == "invalid_datetime" and " " in named[name]:
        detail = "Write the + of an offset as %2B in a query."
    return FieldError(code, detail, parameter=name)


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # Of the first or the last day that can be written, in UTC before or behind it.
        return _FIRST if moment.year == _FIRST.year else _LAST


def _cursor(position: _Position) -> str:
    return base64.urlsafe_b64encode(encode(position)).decode().rstrip("=")


def _position(cursor: str) -> tuple[datetime, str]:
    """What `_cursor` wrote. It needs no signature: a page is always of the caller's own tenant."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = msgspec.json.decode(raw, type=_Position)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise Problem("invalid_cursor") from None
    if position.created_at.tzinfo is None or not is_message_id(position.id):
        raise Problem("invalid_cursor")
    return _utc(position.created_at), position.id


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


_PARAMETERS: Final = [
    _parameter(
        "mode",
        "Live messages or those of test keys; left out, what the key itself sends. A test key "
        "sees no live messages.",
        {"$ref": "#/components/schemas/Mode"},
    ),
    _parameter(
        "status",
        "Only messages in this status; repeat it for several.",
        {"type": "array", "items": {"$ref": "#/components/schemas/Status"}},
    ),
    _parameter(
        "channel",
        "Only messages whose current or last channel is this.",
        {"type": "string", "enum": list(CHANNELS)},
    ),
    _parameter(
        "created_after",
        "Only messages created then or later.",
        {"type": "string", "format": "date-time"},
    ),
    _parameter(
        "created_before",
        "Only messages created before.",
        {"type": "string", "format": "date-time"},
    ),
    _parameter(
        "metadata",
        "`metadata.KEY=value`: only messages with this label; repeat it to ask for several at "
        "once.",
        {"type": "object", "additionalProperties": {"type": "string"}},
    ),
    _parameter(
        "limit",
        "Messages on a page.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    _parameter("cursor", "`next_cursor` of the page before.", {"type": "string"}),
]
