"""Status callbacks: what a tenant's own endpoints are told about its messages, and how patiently.

An event goes to every endpoint of the tenant that wants its type, and, when a message ends, to the
message's own `status_callback`. Events of one message reach one endpoint in the order in which
they happened.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

import msgspec

from domain.failures import FailureCode
from domain.message import Level, MessageOrder
from domain.mode import Mode
from domain.timeline import Entry, Event, Record, Status


class EventType(str, Enum):
    """Everything that can be told. Ends are told unless an endpoint says otherwise; the others
    are more traffic (several events a message) and have to be asked for."""

    SUBMITTED = "message.submitted"  # a provider took an attempt
    ATTEMPT_FAILED = "message.attempt_failed"  # an attempt failed, or its time was up
    SENT = "message.sent"
    DELIVERED = "message.delivered"
    FAILED = "message.failed"
    EXPIRED = "message.expired"
    CANCELED = "message.canceled"
    LATE_RECEIPT = "message.late_receipt"  # a receipt after the end, which it does not change

    @property
    def meaning(self) -> str:
        """When it is told, for people."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    EventType.SUBMITTED: "A provider took an attempt; more is to come.",
    EventType.ATTEMPT_FAILED: "An attempt failed or its step's time was up; the plan goes on.",
    EventType.SENT: "Ended: it reached what the plan wanted, which was less than `delivered`.",
    EventType.DELIVERED: "Ended: a receipt proves that it arrived.",
    EventType.FAILED: "Ended: no step of the plan succeeded.",
    EventType.EXPIRED: "Ended: its time to live was over.",
    EventType.CANCELED: "Ended: it was withdrawn.",
    EventType.LATE_RECEIPT: "A receipt came after the end; the status stays as it is.",
}

ENDS: Final = frozenset(
    EventType(f"message.{status.value}") for status in Status if status.terminal
)
"""What an endpoint is told that names no events."""

PROGRESS: Final = {
    Event.SUBMITTED: EventType.SUBMITTED,
    Event.FAILED: EventType.ATTEMPT_FAILED,
    Event.TIMEOUT: EventType.ATTEMPT_FAILED,
}
"""The lines of the timeline that are events before the end."""

PING: Final = "endpoint.ping"
"""The type of what is posted to try an endpoint out: about no message, and not kept."""

MAX_URL: Final = 2048
"""Characters."""
MAX_ENDPOINTS: Final = 20
"""Of one tenant: each event is stored and posted once for each."""

SECRET_GRACE: Final = timedelta(hours=24)
"""How long the secret of before goes on signing beside a new one, unless it is said."""
MAX_SECRET_GRACE: Final = timedelta(days=7)

# Retries.

CONCURRENCY: Final = 16
"""Posts to one endpoint at a time."""
TRIP: Final = 5
"""Failures in a row, of whatever events, after which an endpoint counts as down: from then on one
event at a time is tried, and the others wait untouched."""
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 3600.0
_LONGEST_PROBE_PAUSE: Final = 600.0
PATIENCE: Final = timedelta(days=3)
"""An endpoint that fails for longer is disabled; an event that an endpoint refuses for longer,
while it takes others, is given up."""
MIN_TRIES: Final = 12
"""Neither happens before so many tries: after a stop of Hermes, time alone says nothing."""
KEPT: Final = timedelta(days=30)
"""How long events can be looked at and replayed; one that was not delivered by then is dropped."""


def pause_after(tries: int, retry_after: float | None = None) -> float:
    """Seconds until an event is tried again after its `tries`th try; at least what the receiver
    asked for, at most an hour."""
    pause = _FIRST_PAUSE * 2.0 ** min(tries - 1, 20)
    return min(max(pause, retry_after or 0.0), _LONGEST_PAUSE)


def probe_pause_after(failures: int, retry_after: float | None = None) -> float:
    """Seconds until an endpoint that is down is tried again after so many failures in a row: at
    most ten minutes, or an hour if it asks for it."""
    pause = min(_FIRST_PAUSE * 2.0 ** min(max(failures - TRIP, 0), 20), _LONGEST_PROBE_PAUSE)
    return min(max(pause, retry_after or 0.0), _LONGEST_PAUSE)


class Endpoint(msgspec.Struct, frozen=True):
    """A tenant's endpoint. Not `enabled`, it is sent nothing; its events wait for it."""

    id: str
    tenant: str
    url: str
    events: frozenset[EventType] = ENDS
    description: str = ""
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    disabled_because: str | None = None

    @property
    def enabled(self) -> bool:
        """True when events are posted to it."""
        return self.disabled_at is None


ORIGIN_PREFIX: Final = "cbo_"
ENDPOINT_PREFIX: Final = "cbe_"


def is_callable(url: str, *, private: bool) -> bool:
    """Whether a URL has the form of one that is called: https to a public host, or, where `private`
    ones are, any http too. What a name resolves to is checked when it is called."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        return False
    host = parts.hostname
    if parts.scheme not in (("http", "https") if private else ("https",)) or not host:
        return False
    if parts.username is not None or parts.password is not None or "#" in url or "\\" in url:
        return False
    if private:
        return True
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        # The last label of a public name is never numeric; 127.1 and 0x7f000001 are addresses.
        last = host.rstrip(".").rpartition(".")
        return bool(last[0]) and last[2].lower() != "localhost" and not last[2][:1].isdigit()


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def origin_endpoint(tenant: str, url: str) -> str:
    """The id under which a tenant's `status_callback`s on one host are retried together: they are
    down together, too."""
    digest = hashlib.sha256(f"{tenant}\0{origin_of(url)}".encode()).hexdigest()
    return f"{ORIGIN_PREFIX}{digest[:24]}"


class MessageEnded(msgspec.Struct, frozen=True, omit_defaults=True):
    """`data` of an event. `status` is the message's at that moment; `attempt` and `provider` are
    there when the event is about an attempt. `test` says that a test key sent the message."""

    id: str
    status: Status
    channel: str | None = None
    level: Level | None = None
    failure: FailureCode | None = None
    metadata: dict[str, str] = {}
    attempt: int | None = None
    provider: str | None = None
    possible_duplicate: bool = False
    test: bool = False


class CallbackEvent(msgspec.Struct, frozen=True):
    """The body, as Standard Webhooks recommends it: type, timestamp, data."""

    type: str
    timestamp: datetime
    data: MessageEnded


class TellingState(str, Enum):
    """Where one event and one endpoint stand."""

    WAITING = "waiting"  # for its first or its next try
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"  # may be replayed


class Telling(msgspec.Struct, frozen=True):
    """One event on its way to one endpoint, as it is looked at. `at` is when it was delivered or
    given up; while it waits, when it happened."""

    id: str
    endpoint: str
    type: str
    state: TellingState
    tries: int
    at: datetime
    created_at: datetime
    next_try_at: datetime | None = None
    error: str | None = None


class StatusCallback(msgspec.Struct, frozen=True):
    """One callback to an address, as messages handed it over that began before there were
    endpoints. `id` is the same for every repetition."""

    id: str
    tenant: str
    url: str
    event: CallbackEvent


class Told(msgspec.Struct, frozen=True):
    """An event with its id, which stays the same for every repetition and every endpoint."""

    id: str
    event: CallbackEvent

    @property
    def type(self) -> EventType:
        """Its type, by which endpoints choose."""
        return EventType(self.event.type)


def end_of(message: str, order: MessageOrder, record: Record) -> Told:
    """What is told of a message that has ended."""
    assert record.ended_at is not None
    data = MessageEnded(
        id=message,
        status=record.status,
        channel=record.channel,
        level=record.level,
        failure=None if record.failure is None else record.failure.code,
        metadata=order.metadata,
        test=order.mode is Mode.TEST,
    )
    event = CallbackEvent(f"message.{record.status.value}", record.ended_at, data)
    return Told(f"{message}.ended", event)


def progress_of(message: str, order: MessageOrder, place: int, entry: Entry) -> Told:
    """What is told of a line of the timeline that is in PROGRESS; `place` is the line's number."""
    return Told(f"{message}.{place}", _about(message, order, Status.PROCESSING, entry))


def late_receipt_of(message: str, order: MessageOrder, status: Status, entry: Entry) -> Told:
    """What is told of a receipt after the end. Its id follows from the receipt's."""
    named = entry.receipt_id or f"{entry.attempt}/{entry.at.isoformat()}"
    digest = hashlib.sha256(named.encode()).hexdigest()[:16]
    event = _about(message, order, status, entry)
    return Told(
        f"{message}.late.{digest}",
        msgspec.structs.replace(event, type=EventType.LATE_RECEIPT.value),
    )


def _about(message: str, order: MessageOrder, status: Status, entry: Entry) -> CallbackEvent:
    kind = PROGRESS.get(entry.event, EventType.LATE_RECEIPT)
    failure = entry.failure.code if entry.failure is not None else None
    if entry.event is Event.TIMEOUT:
        failure = failure or FailureCode.TIMEOUT
    data = MessageEnded(
        id=message,
        status=status,
        channel=entry.channel,
        level=entry.level,
        failure=failure,
        metadata=order.metadata,
        attempt=entry.attempt,
        provider=entry.provider,
        possible_duplicate=entry.possible_duplicate,
        test=order.mode is Mode.TEST,
    )
    return CallbackEvent(kind.value, entry.at, data)


def progress_wanted(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """The types before the end that somebody wants, in a fixed order: what a message is told on
    its way (`MessageOrder.tell`)."""
    wanted = {event for endpoint in endpoints for event in endpoint.events}
    return tuple(kind.value for kind in dict.fromkeys(PROGRESS.values()) if kind in wanted)
