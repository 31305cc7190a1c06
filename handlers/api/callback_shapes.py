"""What clients send about callback endpoints, and what they get."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from adapters.callbacks.endpoints import Secret
from adapters.callbacks.events import Backlog, Health
from domain.callback import (
    MAX_SECRET_GRACE,
    MAX_URL,
    SECRET_GRACE,
    TRIP,
    Endpoint,
    EventType,
    Telling,
    TellingState,
)
from handlers.api.answers import Instant
from handlers.api.schemas import Rfc3339

MAX_DESCRIPTION = 200

Events = Annotated[list[EventType], Field(min_length=1, max_length=len(EventType))]
_EVENTS = "The types of events that it is told; left out, the five ends of a message. " + " ".join(
    f"`{event.value}`: {event.meaning}" for event in EventType
)
_Url = Annotated[str, Field(min_length=1, max_length=MAX_URL)]
_Description = Annotated[str, Field(max_length=MAX_DESCRIPTION)]


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class CallbackBody(_Body):
    """A new endpoint."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://shop.example/hermes",
                    "events": ["message.delivered", "message.failed", "message.expired"],
                    "description": "order status",
                }
            ]
        }
    )

    url: _Url = Field(description="An absolute https URL with a public host.")
    events: Events | None = Field(None, description=_EVENTS)
    description: _Description = Field("", description="For you; not sent.")


class CallbackChangeBody(_Body):
    """Changes of an endpoint; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}]})

    url: _Url | None = Field(None, description="What waits goes to the new address.")
    events: Events | None = Field(None, description="All of them, not only the new ones.")
    description: _Description | None = None
    enabled: bool | None = Field(
        None,
        description="`false` stops posting, and events wait; `true` begins again with what waits, "
        "also after Hermes itself disabled the endpoint.",
    )


class RotationBody(_Body):
    """How long the old secret goes on signing beside the new one."""

    grace: Annotated[float, Field(ge=0, le=MAX_SECRET_GRACE.total_seconds())] = Field(
        SECRET_GRACE.total_seconds(), description="Seconds; a day unless it is said."
    )


class ReplayBody(_Body):
    """Which events to tell again: one by its id, or all since a time."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"since": "2026-05-01T00:00:00Z", "state": "given_up"}]}
    )

    event: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="The event's id, as in `webhook-id`."
    )
    since: Rfc3339 | None = Field(None, description="Events that happened at this time or later.")
    until: Rfc3339 | None = Field(None, description="And before this time.")
    state: Literal["delivered", "given_up"] | None = Field(
        None, description="Only those that were delivered, or only those that were not."
    )


class BacklogView(msgspec.Struct, frozen=True):
    """What waits to be told. `waiting` is counted up to 10,000; `more` says that there are more.
    `oldest` is when the oldest of them happened, `next_try_at` when one is tried next."""

    waiting: int
    more: bool
    oldest: Instant | None
    next_try_at: Instant | None


class HealthView(msgspec.Struct, frozen=True):
    """How the endpoint has done. `failures` are those in a row, since `failing_since`; after five,
    one event at a time is tried."""

    failures: int
    failing_since: Instant | None
    delivered_at: Instant | None
    failed_at: Instant | None
    error: str | None


class SecretView(msgspec.Struct, frozen=True):
    """A secret that signs, without its text. The newest does not expire."""

    created_at: Instant
    expires_at: Instant | None


class CallbackView(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint. One of kind `origin` stands for the `status_callback`s of messages on one host,
    which are retried together; it cannot be changed. `secret` is shown once, when it is new."""

    id: str
    kind: Literal["endpoint", "origin"]
    url: str
    state: Literal["well", "failing", "down", "disabled"]
    events: list[EventType]
    description: str
    created_at: Instant | None
    disabled_at: Instant | None
    disabled_because: str | None
    backlog: BacklogView
    health: HealthView
    secrets: list[SecretView]
    secret: str | None = None


class CallbackList(msgspec.Struct, frozen=True):
    """Your endpoints, oldest first, then a page of the hosts of messages' own `status_callback`s.
    `next_cursor` leads to the next page, which has hosts only; null on the last one."""

    data: list[CallbackView]
    next_cursor: str | None


class RemovedCallback(msgspec.Struct, frozen=True):
    """The endpoint is gone, and what waited for it is dropped."""

    id: str
    removed: bool


class CallbackTest(msgspec.Struct, frozen=True):
    """What came of a test. `status` is the HTTP status of an answer, `error` says what was wrong
    with it, or why there was none; `took` is in seconds."""

    delivered: bool
    status: int | None
    error: str | None
    took: float


class Replayed(msgspec.Struct, frozen=True):
    """How many events wait again. `more` says that there are others: repeat the request."""

    replayed: int
    more: bool


class TellingView(msgspec.Struct, frozen=True):
    """An event on its way to an endpoint. `settled_at` is when it was delivered or given up."""

    id: str
    type: str
    message: str
    state: TellingState
    tries: int
    created_at: Instant
    settled_at: Instant | None
    next_try_at: Instant | None
    error: str | None


class TellingPage(msgspec.Struct, frozen=True):
    """A page of events, newest first. `next_cursor` is null on the last page."""

    data: list[TellingView]
    next_cursor: str | None


def callback_view(
    endpoint: Endpoint,
    backlog: Backlog,
    health: Health,
    secrets: tuple[Secret, ...],
    now: float,
    secret: str | None = None,
) -> CallbackView:
    """An endpoint with what is known of it at `now`."""
    state: Literal["well", "failing", "down", "disabled"] = "well"
    if not endpoint.enabled:
        state = "disabled"
    elif health.failures:
        state = "down" if health.failures >= TRIP else "failing"
    own = endpoint.created_at is not None
    return CallbackView(
        id=endpoint.id,
        kind="endpoint" if own else "origin",
        url=endpoint.url,
        state=state,
        events=sorted(endpoint.events, key=list(EventType).index),
        description=endpoint.description,
        created_at=endpoint.created_at,
        disabled_at=endpoint.disabled_at,
        disabled_because=endpoint.disabled_because,
        backlog=BacklogView(
            backlog.waiting, backlog.more, _moment(backlog.oldest), _next_try(backlog, health)
        ),
        health=HealthView(
            health.failures,
            _moment(health.failing_since),
            _moment(health.delivered_at),
            _moment(health.failed_at),
            health.error,
        ),
        secrets=[
            SecretView(_at(one.created_at), _moment(one.expires_at))
            for one in secrets
            if one.expires_at is None or one.expires_at > now
        ],
        secret=secret,
    )


def telling_view(message: str, telling: Telling) -> TellingView:
    """An event as the list shows it."""
    settled = telling.state is not TellingState.WAITING
    return TellingView(
        id=telling.id,
        type=telling.type,
        message=message,
        state=telling.state,
        tries=telling.tries,
        created_at=telling.created_at,
        settled_at=telling.at if settled else None,
        next_try_at=telling.next_try_at,
        error=telling.error,
    )


def _next_try(backlog: Backlog, health: Health) -> datetime | None:
    if backlog.next_try is None:
        return None
    down = health.failures >= TRIP and health.probe_at is not None
    return _moment(health.probe_at if down else backlog.next_try)


def _moment(epoch: float | None) -> datetime | None:
    return None if epoch is None else _at(epoch)


def _at(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


EVENT_DOCUMENT: Final[dict[str, Any]] = {
    "event": {
        "post": {
            "tags": ["Callbacks"],
            "summary": "What an endpoint is told",
            "description": "Posted to your endpoints, and at a message's end to its "
            "`status_callback`. Any 2xx takes it. Anything else is tried again, later each time, "
            "for days; 410 disables the endpoint. Events of one message come in order; one may "
            "come twice, by the same `webhook-id`.",
            "operationId": "told_event",
            "security": [],
            "parameters": [
                {
                    "name": name,
                    "in": "header",
                    "required": True,
                    "description": text,
                    "schema": {"type": "string"},
                }
                for name, text in (
                    ("webhook-id", "The event's id, the same for every repetition."),
                    ("webhook-timestamp", "When it was posted: seconds since 1970."),
                    (
                        "webhook-signature",
                        "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; several, "
                        "with spaces between, while a secret is replaced (Standard Webhooks).",
                    ),
                )
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/CallbackEvent"}}
                },
            },
            "responses": {
                "2XX": {"description": "Taken."},
                "410": {"description": "No more events: the endpoint is disabled."},
                "default": {"description": "Not taken: tried again."},
            },
        }
    }
}
"""The `webhooks` of the OpenAPI document."""
