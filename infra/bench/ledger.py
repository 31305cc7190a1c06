"""Conservation: what the client was promised, what the message log says, what the SMSC saw."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from domain.message import Level
from domain.ports import LoggedMessage, MessageQuery
from domain.timeline import Entry, Event, Status
from infra.bench.load import Sent
from infra.bench.scenario import Bar, Check, exactly

LOST = exactly("lost: accepted, neither ended nor in flight", 0)
IN_FLIGHT = exactly("still in flight after the drain", 0)
DISAGREEMENTS = exactly("messages on which log and SMSC disagree", 0)
UNFLAGGED = exactly("duplicates without a flag in the timeline", 0)
CONSERVATION: tuple[Bar, ...] = (LOST, IN_FLIGHT, DISAGREEMENTS, UNFLAGGED)

_PLACES = Places(bytes(32))
"""Nobody is forgotten through these logs: they are only read."""
_PAGE = 1000
_LOOK_EVERY = 0.25
_HAS_ARRIVED = (Event.SUBMITTED, Event.RECEIPT)
"""Nobody but who took it reports on it."""
_MAY_HAVE_ARRIVED = (*_HAS_ARRIVED, Event.OUTCOME_UNKNOWN)
_UNDER_WAY = (Status.PROCESSING, Status.SCHEDULED)
_INVOCATIONS = (
    "SELECT target_service_key FROM sys_invocation WHERE target_service_name = 'Message'"
    " AND target_handler_name = 'send' AND status != 'completed'"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The SMSCs' side: the texts that they took, and how often; and, where they tell, under which
    ids, each behind its carrier's name and a stroke."""

    taken: Mapping[str, int]
    ids: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def copies(self) -> dict[str, int]:
        """Texts that were taken more than once, and how often."""
        return {text: times for text, times in self.taken.items() if times > 1}

    @property
    def duplicates(self) -> int:
        """Submissions beyond the first of each text."""
        return sum(self.taken.values()) - len(self.taken)

    @property
    def carriers(self) -> set[str]:
        """Those whose ids are known."""
        return {each.partition("/")[0] for ids in self.ids.values() for each in ids}

    def without(self, texts: Collection[str]) -> Seen:
        """The same but for these, of which nobody knows whether they were to be taken."""
        return Seen(
            {text: times for text, times in self.taken.items() if text not in texts},
            {text: ids for text, ids in self.ids.items() if text not in texts},
        )


@dataclass(frozen=True, slots=True)
class Books:
    """Our side: of the messages that the API accepted, those that ended, by their text, and the
    texts of those that Restate holds."""

    accepted: int
    ended: Mapping[str, LoggedMessage]
    in_flight: Collection[str]

    def __add__(self, other: Books) -> Books:
        return Books(
            self.accepted + other.accepted,
            {**self.ended, **other.ended},
            {*self.in_flight, *other.in_flight},
        )

    @property
    def lost(self) -> int:
        """Messages that were promised and that nobody knows."""
        return self.accepted - len(self.ended) - len(self.in_flight)

    @property
    def correlated(self) -> int:
        """Messages whose receipt of delivery found them."""
        return sum(
            any(e.event is Event.RECEIPT and e.level is Level.DELIVERED for e in timeline(m))
            for m in self.ended.values()
        )

    def count(self, event: Event, among: Iterable[LoggedMessage] | None = None) -> int:
        """Timeline entries of one kind."""
        messages = self.ended.values() if among is None else among
        return sum(entry.event is event for m in messages for entry in timeline(m))

    def checks(self, seen: Seen) -> tuple[Check, ...]:
        """The bars of CONSERVATION, held against both sides."""
        return (
            LOST.check(self.lost),
            IN_FLIGHT.check(len(self.in_flight)),
            DISAGREEMENTS.check(self.disagreements(seen)),
            UNFLAGGED.check(self.unflagged(seen)),
        )

    def disagreements(self, seen: Seen) -> int:
        """How many texts `disagreeing` finds."""
        return len(self.disagreeing(seen))

    def disagreeing(self, seen: Seen, channel: str | None = None) -> set[str]:
        """Texts that a provider took less often than it is said to, or more often than there were
        attempts; that got a receipt which is another's; or that nobody was promised. `channel`
        looks at the attempts on one only, where `seen` is that one's other side."""
        carriers = seen.carriers
        wrong = set()
        for text, message in self.ended.items():
            copies = seen.taken.get(text, 0)
            sure = attempts(message, channel, _HAS_ARRIVED)
            if not sure <= copies <= attempts(message, channel):
                wrong.add(text)
            if text in seen.ids and not _reported_on(message, carriers) <= set(seen.ids[text]):
                wrong.add(text)
        return wrong | {
            text for text in seen.taken if text not in self.ended and text not in self.in_flight
        }

    def unflagged(self, seen: Seen) -> int:
        """How many texts `without_flag` finds."""
        return len(self.without_flag(seen))

    def without_flag(self, seen: Seen, channel: str | None = None) -> set[str]:
        """Texts taken more than once whose timeline does not say so, on one channel or on any. Of
        a message in flight the timeline is not written yet."""
        return {
            text
            for text in seen.copies
            if text in self.ended and not is_flagged(self.ended[text], channel)
        }


def timeline(message: LoggedMessage) -> Sequence[Entry]:
    """The entries of a message that has ended, none before."""
    return () if message.record is None else message.record.timeline


def attempts(
    message: LoggedMessage,
    channel: str | None = None,
    events: Collection[Event] = _MAY_HAVE_ARRIVED,
) -> int:
    """Attempts that a provider may have taken, on one channel or on any; or those of which the
    timeline has one of these `events`."""
    return len(
        {
            entry.attempt
            for entry in timeline(message)
            if entry.event in events and channel in (None, entry.channel)
        }
    )


def _reported_on(message: LoggedMessage, carriers: Collection[str]) -> set[str]:
    """What these carriers' receipts were about, as SMPP's correlator writes it down:
    carrier/id/state. Receipts that came after the end are another list."""
    about = (entry.receipt_id for entry in (*timeline(message), *message.late))
    ids = {each.rpartition("/")[0] for each in about if each is not None}
    return {each for each in ids if each.partition("/")[0] in carriers}


def is_flagged(message: LoggedMessage, channel: str | None = None) -> bool:
    """Whether the timeline says that the recipient may have got it twice, on one channel or on
    any."""
    return any(
        entry.possible_duplicate and channel in (None, entry.channel) for entry in timeline(message)
    )


async def drain(path: Path, tenants: Sequence[str], patience: float) -> None:
    """Wait until the log has no message of these tenants under way, or for so many seconds."""
    log = SqliteMessageLog(path, _PLACES)
    deadline = time.monotonic() + patience
    try:
        for tenant in tenants:
            query = MessageQuery(tenant, 1, statuses=_UNDER_WAY)
            while await log.list(query) and time.monotonic() < deadline:
                await asyncio.sleep(_LOOK_EVERY)
    finally:
        await log.close()


async def messages(path: Path, tenant: str, wanted: Collection[str]) -> list[LoggedMessage]:
    """A tenant's messages with these ids, newest first, as the log has them."""
    log = SqliteMessageLog(path, _PLACES)
    found: list[LoggedMessage] = []
    before = None
    try:
        while page := await log.list(MessageQuery(tenant, _PAGE, before=before)):
            found += [message for message in page if message.id in wanted]
            before = (page[-1].created_at, page[-1].id)
    finally:
        await log.close()
    return found


async def books(path: Path, admin_url: str, sent: Mapping[str, Sent]) -> Books:
    """Open the books on what each tenant sent."""
    ended: dict[str, LoggedMessage] = {}
    texts: dict[str, str] = {}
    for tenant, its in sent.items():
        texts |= its.texts
        for message in await messages(path, tenant, its.texts.keys()):
            if message.status.terminal and message.record is not None:
                ended[its.texts[message.id]] = message
    under_way = await asyncio.to_thread(_invocations, admin_url)
    in_flight = {texts[m] for m in under_way if m in texts and texts[m] not in ended}
    return Books(len(texts), ended, in_flight)


def _invocations(admin_url: str) -> list[str]:
    """Messages whose cascade Restate has not completed, from its own tables."""
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{admin_url}/query",
        data=json.dumps({"query": _INVOCATIONS}).encode(),
        headers={"content-type": "application/json", "accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return [row["target_service_key"] for row in json.loads(answer.read())["rows"]]
