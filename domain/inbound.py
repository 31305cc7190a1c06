"""Messages from people to us: whose they are, and what their tenant is told.

A number belongs to a tenant, or several share it by keyword. The event has the shape of
`domain/callback.py`.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from domain.ids import PREFIX as MESSAGE_PREFIX
from domain.ids import fresh_id

PREFIX: Final = "mo_"
RECEIVED: Final = "message.received"
GAP: Final = "…"
"""Stands in a text where parts are missing."""

# 3GPP TS 23.038, 6.2.1: the default alphabet has no Greek capital that looks like a Latin one, so
# phones send the Latin letter in its place.
_LOOKALIKES: Final = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX")  # noqa: RUF001


class InboundMessage(msgspec.Struct, frozen=True):
    """One message from a person, put together.

    `source` and `destination` are E.164 where the carrier sent whole numbers, else as it wrote
    them: short codes, names. `data` is the base64 of content that is no text, and `text` is empty
    then. `parts` is the number of parts that there should be; when not `complete`, `missing`
    counts those that did not come, from 1, and GAP stands for them in `text`. `received_at` and
    `last_at` are when the first and the last part came.
    """

    id: str
    carrier: str
    source: str
    destination: str
    text: str
    data: str | None
    parts: int
    missing: tuple[int, ...]
    received_at: datetime
    last_at: datetime

    @property
    def complete(self) -> bool:
        """Whether every part came."""
        return not self.missing

    @property
    def beginning(self) -> str:
        """The text as far as a keyword may be looked for in it: empty when the first part is
        missing, since the middle of a text must not be taken for a command."""
        return "" if 1 in self.missing else self.text


def inbound_id(received_at: datetime, part_ids: Iterable[str]) -> str:
    """The id of the message that consists of these stored parts: the same one every time, and
    sorting by `received_at` (aware)."""
    digest = hashlib.sha256("\0".join(sorted(part_ids)).encode()).digest()
    return PREFIX + fresh_id(received_at, digest).removeprefix(MESSAGE_PREFIX)


class InboundRoute(msgspec.Struct, frozen=True):
    """What comes to `number` and begins with `keyword` is `tenant`'s, and is posted to `url`.

    `number` with or without its +. `keyword` is one word or several; None takes what no keyword of
    the number fits.
    """

    number: str
    keyword: str | None
    tenant: str
    url: str


class Routes:
    """Finds the tenant of a message.

    Raises ValueError for a keyword without a word and for one that a number has twice.
    """

    def __init__(self, routes: Iterable[InboundRoute] = ()) -> None:
        self._by_number: dict[str, list[tuple[list[str], InboundRoute]]] = {}
        for route in routes:
            keyword = [] if route.keyword is None else words(route.keyword)
            if route.keyword is not None and not keyword:
                raise ValueError(f"a keyword of {route.number} has no word in it")
            of_number = self._by_number.setdefault(route.number.lstrip("+"), [])
            if any(keyword == other for other, _ in of_number):
                name = "no keyword" if route.keyword is None else f"keyword {route.keyword}"
                raise ValueError(f"{route.number} has two routes for {name}")
            of_number.append((keyword, route))
        self._sharing = {
            number: tuple(_first_of_each_tenant(route for _, route in of_number))
            for number, of_number in self._by_number.items()
        }
        for of_number in self._by_number.values():
            of_number.sort(key=lambda entry: len(entry[0]), reverse=True)

    def find(self, destination: str, text: str) -> InboundRoute | None:
        """The number's route whose keyword is the longest that `text` begins with.

        Words are compared whole, whatever their case and the punctuation around them: `stop!` is
        STOP, `stopped` is not.
        """
        of_number = self._by_number.get(destination.lstrip("+"))
        if of_number is None:
            return None
        begins = words(text, len(of_number[0][0]))
        for keyword, route in of_number:
            if begins[: len(keyword)] == keyword:
                return route
        return None

    def with_keyword(self, destination: str) -> Iterator[tuple[str, InboundRoute]]:
        """The number's keywords, those of the most words first, and their routes."""
        for _, route in self._by_number.get(destination.lstrip("+"), ()):
            if route.keyword is not None:
                yield route.keyword, route

    def sharing(self, destination: str) -> tuple[InboundRoute, ...]:
        """Whose the number is: the first route of each tenant that has one there, in order."""
        return self._sharing.get(destination.lstrip("+"), ())


def _first_of_each_tenant(routes: Iterable[InboundRoute]) -> Iterable[InboundRoute]:
    first: dict[str, InboundRoute] = {}
    for route in routes:
        first.setdefault(route.tenant, route)
    return first.values()


def words(text: str, limit: int | None = None) -> list[str]:
    """The first words of a text, each in the one spelling of all that are the same to a person."""
    return [_fold(word) for word in text.split(None, -1 if limit is None else limit)[:limit]]


def _fold(word: str) -> str:
    """One spelling for all that a person would take for the same word."""
    normal = unicodedata.normalize("NFKC", word)
    start, end = 0, len(normal)
    while start < end and _is_decoration(normal[start]):
        start += 1
    while start < end and _is_decoration(normal[end - 1]):
        end -= 1
    bare = normal[start:end] or normal
    return unicodedata.normalize("NFKC", bare.upper().translate(_LOOKALIKES).casefold())


def _is_decoration(character: str) -> bool:
    return unicodedata.category(character)[0] in "PSZC"


class Received(msgspec.Struct, frozen=True, omit_defaults=True):
    """`data` of the event."""

    id: str
    channel: str
    source: str = msgspec.field(name="from")
    destination: str = msgspec.field(name="to")
    text: str
    parts: int
    complete: bool
    received_at: datetime
    carrier: str
    keyword: str | None = None
    data: str | None = None
    missing: Sequence[int] = ()
    opt_out: str | None = None


class InboundEvent(msgspec.Struct, frozen=True):
    """The body, as Standard Webhooks recommends it: type, timestamp, data."""

    type: str
    timestamp: datetime
    data: Received


class InboundDelivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event to deliver. `id` is the same for every repetition.

    `also` are the other tenants that a person ends with it who writes STOP to a number that they
    share. They are not told who it was: the person may never have heard of them. Nobody is told
    where `url` is empty: then the number has no tenant of its own.
    """

    id: str
    tenant: str
    url: str
    event: InboundEvent
    also: tuple[str, ...] = ()


def delivery_of(
    message: InboundMessage, route: InboundRoute, also: tuple[str, ...] = ()
) -> InboundDelivery:
    """What the route's tenant is told of a message."""
    received = Received(
        id=message.id,
        channel="sms",
        source=message.source,
        destination=message.destination,
        text=message.text,
        parts=message.parts,
        complete=message.complete,
        received_at=message.received_at,
        carrier=message.carrier,
        keyword=route.keyword,
        data=message.data,
        missing=message.missing,
    )
    return InboundDelivery(
        id=f"{message.id}.received",
        tenant=route.tenant,
        url=route.url,
        event=InboundEvent(RECEIVED, message.last_at, received),
        also=also,
    )


def with_opt_out(delivery: InboundDelivery, command: str) -> InboundDelivery:
    """The same, telling the tenant that Hermes has obeyed a command in it."""
    event = delivery.event
    data = msgspec.structs.replace(event.data, opt_out=command)
    return msgspec.structs.replace(delivery, event=msgspec.structs.replace(event, data=data))
