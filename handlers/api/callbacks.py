"""/v1/callbacks: a tenant's own endpoints, what waits for them, and what they were told."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.callbacks.endpoints import (
    Directory,
    EndpointStore,
    TooManyEndpoints,
    UnknownEndpoint,
)
from adapters.callbacks.events import MAX_REPLAYED, STATES, EventStore
from adapters.callbacks.sender import CallbackForbidden, CallbackRefused
from domain.callback import ENDS, ORIGIN_PREFIX, PING, Endpoint, is_callable
from domain.ids import is_message_id
from domain.tenancy import Scope
from handlers.api import body, operation
from handlers.api.answers import encode
from handlers.api.callback_shapes import (
    CallbackBody,
    CallbackChangeBody,
    CallbackList,
    CallbackTest,
    CallbackView,
    RemovedCallback,
    ReplayBody,
    Replayed,
    RotationBody,
    TellingPage,
    callback_view,
    telling_view,
)
from handlers.api.door import principal_of
from handlers.api.problems import FieldError, Problem, validation_failed
from handlers.api.shares import Shares

MAX_BODY: Final = 16 * 1024
_DEFAULT_LIMIT: Final = 50
_MAX_LIMIT: Final = 500
_TESTS: Final = 8
_TESTS_EACH: Final = 2
"""Tests at a time, of all tenants and of each: one may take twenty seconds."""

_ID: Final = {
    "name": "endpoint",
    "in": "path",
    "required": True,
    "description": "The endpoint's id.",
    "schema": {"type": "string"},
    "example": "cbe_3f2a9c1d5e7b8a6c4d0e1f2a",
}
_JSON_PROBLEMS: Final = (
    "body_required",
    "malformed_json",
    "body_too_large",
    "unsupported_media_type",
    "validation_failed",
)
_CURSOR: Final = {
    "name": "cursor",
    "in": "query",
    "description": "`next_cursor` of the page before.",
    "schema": {"type": "string"},
}


def _limit(what: str) -> dict[str, Any]:
    return {
        "name": "limit",
        "in": "query",
        "description": f"{what} on a page.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": _MAX_LIMIT,
            "default": _DEFAULT_LIMIT,
        },
    }


_EVENT_PARAMETERS: Final = [
    _ID,
    {
        "name": "state",
        "in": "query",
        "description": "Only those that wait, were delivered, or were given up.",
        "schema": {"type": "string", "enum": list(STATES)},
    },
    {
        "name": "message",
        "in": "query",
        "description": "Only those about this message.",
        "schema": {"type": "string"},
    },
    _limit("Events"),
    _CURSOR,
]
_LIST_PARAMETERS: Final = [_limit("Hosts of messages' own `status_callback`s"), _CURSOR]
_HOST_ID: Final = re.compile(rf"{ORIGIN_PREFIX}[0-9a-f]{{24}}")


class Endpoints(Protocol):
    """The section of the endpoints."""

    @property
    def value(self) -> Directory:
        """The endpoints at the moment."""

    def refresh(self) -> None:
        """Read them again; blocks."""


class Sender(Protocol):
    """Posts one event."""

    async def send(
        self,
        url: str,
        secrets: tuple[str, ...],
        webhook_id: str,
        body: bytes,
        *,
        tenant: str = "",
    ) -> int:
        """The status of the answer. Raises CallbackRefused or CallbackForbidden."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the resource works with. `wake` lets an endpoint know that something waits for it."""

    endpoints: Endpoints
    store: EndpointStore
    events: EventStore
    sender: Sender
    wake: Callable[[str], None]
    allow_private: bool = False

    def followed(self, tenant: str) -> tuple[str, ...]:
        """What a tenant's messages have to tell on their way."""
        return self.endpoints.value.progress(tenant)


class Ping(msgspec.Struct, frozen=True):
    """`data` of a test."""

    endpoint: str


class PingEvent(msgspec.Struct, frozen=True):
    """What a test posts: of the form of every event."""

    type: str
    timestamp: datetime
    data: Ping


def add_routes(router: APIRouter, callbacks: Callbacks | None) -> None:
    """Serve the resource; every path is `not_found` where there are no `callbacks`."""
    tests = Shares(_TESTS, _TESTS_EACH)

    def ours() -> Callbacks:
        if callbacks is None:
            raise Problem("not_found")
        return callbacks

    async def list_callbacks(request: Request) -> Response:
        """Your endpoints with what waits for them and how they do; then the same for each host that
        messages have named in `status_callback` and that was told something in the last 30 days, a
        page at a time."""
        here, tenant = ours(), principal_of(request).tenant
        given, faults = _given(request, {"limit", "cursor"})
        limit = _limit_of(given, faults)
        if faults:
            raise validation_failed(faults)
        after = given.get("cursor")
        if after is not None and _HOST_ID.fullmatch(after) is None:
            raise Problem("invalid_cursor")
        listed = list(here.endpoints.value.of(tenant)) if after is None else []
        hosts = await here.events.hosts(tenant, after or "", limit + 1)
        listed += [Endpoint(name, tenant, address) for name, address in hosts[:limit]]
        cursor = hosts[limit - 1][0] if len(hosts) > limit else None
        return _answer(CallbackList([await _view(here, one) for one in listed], cursor))

    async def create_callback(request: Request) -> Response:
        """Add an endpoint. Its secret, with which you check signatures (Standard Webhooks), is in
        this answer and in no other."""
        here = ours()
        wanted = body.parse(await body.read(request, MAX_BODY), CallbackBody)
        _check_url(here, wanted.url)
        try:
            endpoint, secret = await asyncio.to_thread(
                here.store.create,
                principal_of(request).tenant,
                wanted.url,
                ENDS if wanted.events is None else frozenset(wanted.events),
                wanted.description,
                _actor(request),
            )
        except TooManyEndpoints:
            raise Problem("too_many_callbacks") from None
        await asyncio.to_thread(here.endpoints.refresh)
        return _answer(await _view(here, endpoint, secret), 201)

    async def get_callback(request: Request) -> Response:
        """An endpoint, what waits for it, and how it does."""
        here = ours()
        return _answer(await _view(here, await _found(here, request)))

    async def change_callback(request: Request) -> Response:
        """Change an endpoint, or disable and enable it. What waits is kept."""
        here = ours()
        wanted = body.parse(await body.read(request, MAX_BODY), CallbackChangeBody)
        if wanted.url is not None:
            _check_url(here, wanted.url)
        try:
            endpoint = await asyncio.to_thread(
                here.store.change,
                principal_of(request).tenant,
                request.path_params["endpoint"],
                _actor(request),
                url=wanted.url,
                events=None if wanted.events is None else frozenset(wanted.events),
                description=wanted.description,
                enabled=wanted.enabled,
            )
        except UnknownEndpoint:
            raise Problem("callback_not_found") from None
        await asyncio.to_thread(here.endpoints.refresh)
        if endpoint.enabled:
            here.wake(endpoint.id)
        return _answer(await _view(here, endpoint))

    async def remove_callback(request: Request) -> Response:
        """Take an endpoint away; what waits for it is dropped."""
        here, name = ours(), request.path_params["endpoint"]
        try:
            await asyncio.to_thread(
                here.store.remove, principal_of(request).tenant, name, _actor(request)
            )
        except UnknownEndpoint:
            raise Problem("callback_not_found") from None
        await asyncio.to_thread(here.endpoints.refresh)
        here.wake(name)
        return _answer(RemovedCallback(name, True))

    async def rotate_callback_secret(request: Request) -> Response:
        """Make a new secret, which is in this answer only. Until the grace is over both sign:
        `webhook-signature` then has a signature of each."""
        here = ours()
        raw = await body.read(request, MAX_BODY, required=False)
        wanted = body.parse(raw, RotationBody) if raw else RotationBody()
        name = request.path_params["endpoint"]
        try:
            secret = await asyncio.to_thread(
                here.store.rotate,
                principal_of(request).tenant,
                name,
                timedelta(seconds=wanted.grace),
                _actor(request),
            )
        except UnknownEndpoint:
            raise Problem("callback_not_found") from None
        await asyncio.to_thread(here.endpoints.refresh)
        return _answer(await _view(here, await _found(here, request), secret))

    async def test_callback(request: Request) -> Response:
        """Post one `endpoint.ping` now, signed like everything else, and say what came of it. It
        is not repeated, and changes nothing about the endpoint."""
        here = ours()
        endpoint = await _found(here, request, own=True)
        signing = here.endpoints.value.secrets(endpoint.id, time.time())
        if not signing:
            return _answer(CallbackTest(False, None, "the secret cannot be read: rotate it", 0.0))
        name = f"ping_{secrets.token_hex(12)}"
        event = PingEvent(PING, datetime.now(UTC), Ping(endpoint.id))
        async with tests.of(endpoint.tenant):
            began = time.monotonic()
            status, error = None, None
            try:
                status = await here.sender.send(
                    endpoint.url, signing, name, encode(event), tenant=endpoint.tenant
                )
            except CallbackRefused as refused:
                status, error = refused.status, str(refused)
            except CallbackForbidden as forbidden:
                error = str(forbidden)
            took = round(time.monotonic() - began, 3)
        return _answer(CallbackTest(error is None, status, error, took))

    async def list_callback_events(request: Request) -> Response:
        """What an endpoint was told, or will be: newest first, kept for 30 days."""
        here = ours()
        endpoint = await _found(here, request)
        asked = _query(request)
        rows = await here.events.list(
            endpoint.id,
            endpoint.tenant,
            state=asked.state,
            message=asked.message,
            before=asked.before,
            limit=asked.limit + 1,
        )
        page = rows[: asked.limit]
        cursor = _cursor(page[-1].created_at, page[-1].number) if len(rows) > len(page) else None
        return _answer(
            TellingPage([telling_view(row.message, row.telling) for row in page], cursor)
        )

    async def replay_callback_events(request: Request) -> Response:
        """Tell events again: one, or all since a time. They keep their ids, so a receiver that
        looks at `webhook-id` sees which it has had already."""
        here = ours()
        wanted = body.parse(await body.read(request, MAX_BODY), ReplayBody)
        endpoint = await _found(here, request)
        if wanted.event is None and wanted.since is None:
            detail = "Say which: `event`, or `since`."
            raise validation_failed([FieldError("required", detail, "/since")])
        replayed = await here.events.replay(
            endpoint.id,
            endpoint.tenant,
            event=wanted.event,
            since=None if wanted.since is None else wanted.since.timestamp(),
            until=None if wanted.until is None else wanted.until.timestamp(),
            state=wanted.state,
        )
        if replayed:
            here.wake(endpoint.id)
        return _answer(Replayed(replayed, replayed >= MAX_REPLAYED))

    def add(method: str, path: str, endpoint: Any, summary: str, **options: Any) -> None:
        operation.add(
            router,
            method,
            f"/v1/callbacks{path}",
            endpoint,
            scope=Scope.READ if method == "GET" else Scope.CALLBACKS,
            tag="Callbacks",
            summary=summary,
            status=options.pop("status", 200),
            **options,
        )

    add(
        "GET",
        "",
        list_callbacks,
        "List the endpoints",
        answer="CallbackList",
        parameters=_LIST_PARAMETERS,
        problems=["validation_failed", "invalid_cursor"],
    )
    add(
        "POST",
        "",
        create_callback,
        "Add an endpoint",
        status=201,
        answer="CallbackView",
        body="CallbackBody",
        problems=[*_JSON_PROBLEMS, "too_many_callbacks"],
    )
    add(
        "GET",
        "/{endpoint}",
        get_callback,
        "Look at an endpoint",
        answer="CallbackView",
        parameters=[_ID],
        problems=["callback_not_found"],
    )
    add(
        "PATCH",
        "/{endpoint}",
        change_callback,
        "Change, disable or enable an endpoint",
        answer="CallbackView",
        body="CallbackChangeBody",
        parameters=[_ID],
        problems=[*_JSON_PROBLEMS, "callback_not_found"],
    )
    add(
        "DELETE",
        "/{endpoint}",
        remove_callback,
        "Remove an endpoint",
        answer="RemovedCallback",
        parameters=[_ID],
        problems=["callback_not_found"],
    )
    add(
        "POST",
        "/{endpoint}/rotate",
        rotate_callback_secret,
        "Make a new secret",
        answer="CallbackView",
        body="RotationBody",
        body_required=False,
        parameters=[_ID],
        problems=[*_JSON_PROBLEMS[1:], "callback_not_found"],
    )
    add(
        "POST",
        "/{endpoint}/test",
        test_callback,
        "Try an endpoint out",
        answer="CallbackTest",
        parameters=[_ID],
        problems=["callback_not_found"],
    )
    add(
        "GET",
        "/{endpoint}/events",
        list_callback_events,
        "List what an endpoint was told, or will be",
        answer="TellingPage",
        parameters=_EVENT_PARAMETERS,
        problems=["callback_not_found", "validation_failed", "invalid_cursor"],
        names_people=True,
    )
    add(
        "POST",
        "/{endpoint}/replay",
        replay_callback_events,
        "Tell events again",
        answer="Replayed",
        body="ReplayBody",
        parameters=[_ID],
        problems=[*_JSON_PROBLEMS, "callback_not_found"],
    )


class _Asked(msgspec.Struct, frozen=True):
    state: str | None
    message: str | None
    before: tuple[float, int] | None
    limit: int


async def _found(here: Callbacks, request: Request, *, own: bool = False) -> Endpoint:
    """The tenant's endpoint; `own` leaves out the hosts of messages. Raises Problem."""
    tenant, name = principal_of(request).tenant, request.path_params["endpoint"]
    endpoint = here.endpoints.value.get(name)
    if endpoint is not None and endpoint.tenant == tenant:
        return endpoint
    if not own and _HOST_ID.fullmatch(name) is not None:
        address = await here.events.host(tenant, name)
        if address is not None:
            return Endpoint(name, tenant, address)
    raise Problem("callback_not_found")


async def _view(here: Callbacks, endpoint: Endpoint, secret: str | None = None) -> CallbackView:
    return callback_view(
        endpoint,
        await here.events.backlog(endpoint.id),
        await here.events.health(endpoint.id),
        here.endpoints.value.signing(endpoint.id),
        time.time(),
        secret,
    )


def _check_url(here: Callbacks, url: str) -> None:
    if not is_callable(url, private=here.allow_private):
        detail = "Not an absolute https URL with a public host."
        raise validation_failed([FieldError("invalid_callback_url", detail, "/url")])


def _query(request: Request) -> _Asked:
    """Raises Problem."""
    given, faults = _given(request, {"state", "message", "limit", "cursor"})
    state, message = given.get("state"), given.get("message")
    if state is not None and state not in STATES:
        detail = f"States: {', '.join(STATES)}."
        faults.append(FieldError("unknown_value", detail, parameter="state"))
    if message is not None and not is_message_id(message):
        faults.append(FieldError("unknown_value", "Not a message's id.", parameter="message"))
    limit = _limit_of(given, faults)
    if faults:
        raise validation_failed(faults)
    cursor = given.get("cursor")
    return _Asked(state, message, None if cursor is None else _position(cursor), limit)


def _given(request: Request, known: set[str]) -> tuple[dict[str, str], list[FieldError]]:
    """The parameters that an operation has, and what is wrong with the others."""
    faults: list[FieldError] = []
    given: dict[str, str] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        if name not in known:
            detail = f"Parameters: {', '.join(sorted(known))}."
            faults.append(FieldError("unknown_parameter", detail, parameter=name))
        elif len(values) > 1:
            faults.append(FieldError("repeated_parameter", "Given twice.", parameter=name))
        else:
            given[name] = values[0]
    return given, faults


def _limit_of(given: dict[str, str], faults: list[FieldError]) -> int:
    limit = given.get("limit", str(_DEFAULT_LIMIT))
    whole = limit.isascii() and limit.isdecimal() and len(limit) <= 4
    if whole and 1 <= int(limit) <= _MAX_LIMIT:
        return int(limit)
    detail = f"A whole number from 1 to {_MAX_LIMIT}."
    faults.append(FieldError("out_of_range", detail, parameter="limit"))
    return _DEFAULT_LIMIT


def _cursor(created_at: float, number: int) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((created_at, number))).decode().rstrip("=")


def _position(cursor: str) -> tuple[float, int]:
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        position = msgspec.json.decode(text, type=tuple[float, int])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise Problem("invalid_cursor") from None
    if abs(position[1]) >= 2**63 or _cursor(*position) != cursor:
        raise Problem("invalid_cursor")
    return position


def _actor(request: Request) -> str:
    return f"key:{principal_of(request).key_id}"


def _answer(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")
