"""The events that endpoints are told: stored when they happen, settled when they are told.

An event is written in the commit of what it tells of, so none is lost and none invented. The rows
are the backlog, which is what a tenant sees, replays and lets wait; Restate keeps the time of the
next try (`handlers/callbacks.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from adapters.store.database import Database
from adapters.store.group_commit import GroupCommit
from adapters.store.schema import open_store
from domain.callback import KEPT, ORIGIN_PREFIX, TRIP, Telling, TellingState, origin_endpoint

INSERT: Final = (
    "INSERT INTO callback_events"
    " (endpoint, id, tenant, message, type, url, body, created_at, due_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (endpoint, id) DO NOTHING"
)
_ROW: Final = "number, id, tenant, message, type, url, body, created_at, tries"
# Not while an earlier event of the same message comes later: they are told in order.
_ITS_TURN: Final = """NOT EXISTS (
        SELECT 1 FROM callback_events AS earlier
        WHERE earlier.message = event.message AND earlier.endpoint = event.endpoint
        AND earlier.number < event.number AND earlier.due_at > event.due_at
    )"""
_IN_ORDER: Final = f"{_ITS_TURN} ORDER BY due_at, number LIMIT"
_DUE: Final = f"""
    SELECT {_ROW} FROM callback_events AS event
    WHERE endpoint = ? AND due_at <= ? AND {_IN_ORDER} ?
"""
_NEXT: Final = f"""
    SELECT due_at FROM callback_events AS event
    WHERE endpoint = ? AND due_at IS NOT NULL AND {_IN_ORDER} 1
"""
# One of any message, whatever its own time: the endpoint's time has come.
_FIRST: Final = f"""
    SELECT {_ROW} FROM callback_events AS event
    WHERE endpoint = ? AND due_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM callback_events AS earlier
        WHERE earlier.message = event.message AND earlier.endpoint = event.endpoint
        AND earlier.number < event.number AND earlier.due_at IS NOT NULL
    )
    ORDER BY due_at, number LIMIT 1
"""
_DELIVERED: Final = (
    "UPDATE callback_events SET due_at = NULL, delivered = 1, settled_at = ?, tries = ?,"
    " error = NULL WHERE number = ?"
)
_POSTPONE: Final = "UPDATE callback_events SET due_at = ?, tries = ?, error = ? WHERE number = ?"
_HOLD: Final = "UPDATE callback_events SET due_at = ? WHERE number = ?"
_GIVE_UP: Final = (
    "UPDATE callback_events SET due_at = NULL, delivered = 0, settled_at = ?, tries = ?,"
    " error = ? WHERE number = ?"
)
_DROP: Final = (
    "UPDATE callback_events SET due_at = NULL, delivered = 0, settled_at = ?, error = ?"
    " WHERE number IN (SELECT number FROM callback_events"
    " WHERE endpoint = ? AND due_at IS NOT NULL AND created_at < ? LIMIT 1000)"
)
# In the order of their time, and from where the portion before ended: what has been told again
# meanwhile is not met again.
_SETTLED: Final = (
    "endpoint = ? AND tenant = ? AND due_at IS NULL AND {which} AND (created_at, number) > (?, ?)"
)
_PORTION: Final = (
    f"SELECT created_at, number FROM callback_events WHERE {_SETTLED}"
    " ORDER BY created_at, number LIMIT ?"
)
_REPLAY: Final = (
    "UPDATE callback_events SET due_at = ?, delivered = 0, settled_at = NULL, tries = 0"
    f" WHERE {_SETTLED} AND (created_at, number) <= (?, ?)"
)
_REPLAYED_AT_ONCE: Final = 1000
MAX_REPLAYED: Final = 100_000
"""Events that one request plays again."""
COUNTED: Final = 10_000
"""Events of an endpoint's backlog that are counted; beyond, it is "more"."""
COUNTED_OFTEN: Final = 1_000
"""The same where all backlogs are looked at again and again."""

_HEALTH: Final = (
    "SELECT failures, failing_since, probe_at, delivered_at, failed_at, error"
    " FROM callback_health WHERE endpoint = ?"
)
_NOTE_HEALTH: Final = """
    INSERT INTO callback_health
        (endpoint, tenant, address, failures, failing_since, probe_at, delivered_at, failed_at,
         error)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (endpoint) DO UPDATE SET
        failures = excluded.failures, failing_since = excluded.failing_since,
        probe_at = excluded.probe_at, delivered_at = excluded.delivered_at,
        failed_at = excluded.failed_at, error = excluded.error
"""
_BACKLOG: Final = (
    "SELECT count(*), min(created_at), min(due_at) FROM (SELECT created_at, due_at"
    " FROM callback_events WHERE endpoint = ? AND due_at IS NOT NULL ORDER BY due_at, number"
    " LIMIT ?) AS waiting"
)
_WAITS: Final = (
    "SELECT min(tenant), count(*), min(created_at) FROM (SELECT tenant, created_at"
    " FROM callback_events WHERE endpoint = ? AND due_at IS NOT NULL ORDER BY due_at, number"
    " LIMIT ?) AS waiting"
)
_WAITING_OF: Final = (
    "SELECT * FROM callback_events WHERE endpoint = ? AND due_at IS NOT NULL"
    " ORDER BY due_at, number LIMIT ?"
)
# From one endpoint with a backlog to the next, by the index: never over all of their events.
_WAITING: Final = f"""
    WITH RECURSIVE waiting(place, endpoint) AS (
        SELECT 1, min(endpoint) FROM callback_events WHERE due_at IS NOT NULL AND endpoint > ?
        UNION ALL
        SELECT waiting.place + 1, (
            SELECT min(e.endpoint) FROM callback_events AS e
            WHERE e.due_at IS NOT NULL AND e.endpoint > waiting.endpoint
        )
        FROM waiting WHERE waiting.endpoint IS NOT NULL AND waiting.place < ?
    )
    SELECT waiting.endpoint, CASE
        WHEN coalesce(health.failures, 0) >= {TRIP} THEN health.probe_at < ?
        ELSE EXISTS (
            SELECT 1 FROM callback_events AS event
            WHERE event.endpoint = waiting.endpoint AND event.due_at < ? AND {_ITS_TURN}
        ) END
    FROM waiting LEFT JOIN callback_health AS health ON health.endpoint = waiting.endpoint
    WHERE waiting.endpoint IS NOT NULL ORDER BY waiting.place
"""
_PRUNE: Final = (
    "DELETE FROM callback_events WHERE number IN ("
    "SELECT number FROM callback_events ORDER BY number LIMIT ?) AND created_at < ?"
)
_PRUNED_AT_ONCE: Final = 1000
_HOST: Final = f"substr(endpoint, 1, {len(ORIGIN_PREFIX)}) = '{ORIGIN_PREFIX}'"
_HOSTS: Final = (
    "SELECT endpoint, address FROM callback_health"
    f" WHERE tenant = ? AND endpoint > ? AND {_HOST} ORDER BY endpoint LIMIT ?"
)
_ADDRESS: Final = (
    f"SELECT address FROM callback_health WHERE endpoint = ? AND tenant = ? AND {_HOST}"
)
_END_OF_PAGE: Final = (
    "SELECT max(endpoint) FROM (SELECT endpoint FROM callback_health WHERE endpoint > ?"
    " ORDER BY endpoint LIMIT ?) AS page"
)
_PRUNE_HOSTS: Final = f"""
    DELETE FROM callback_health WHERE endpoint > ? AND endpoint <= ? AND {_HOST}
    AND coalesce(delivered_at, 0) < ? AND coalesce(failed_at, 0) < ? AND NOT EXISTS (
        SELECT 1 FROM callback_events AS event WHERE event.endpoint = callback_health.endpoint
    )
"""


@dataclass(frozen=True, slots=True)
class Due:
    """An event to be told now. `url` is there when it goes to a message's own address."""

    number: int
    id: str
    tenant: str
    message: str
    type: str
    url: str | None
    body: bytes
    created_at: float
    tries: int


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint has done lately; times are epoch seconds. `failures` are those in a row."""

    failures: int = 0
    failing_since: float | None = None
    probe_at: float | None = None
    delivered_at: float | None = None
    failed_at: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for an endpoint: at most COUNTED are counted, `more` says that there are more."""

    waiting: int
    more: bool
    oldest: float | None
    next_try: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one endpoint of `tenant`: of the events that are told next, at most
    COUNTED_OFTEN, the number and the time of the `oldest`."""

    tenant: str
    count: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Kept:
    """An event as it is looked at: waiting while `due_at` is there."""

    number: int
    id: str
    message: str
    type: str
    created_at: float
    due_at: float | None
    tries: int
    delivered: bool
    settled_at: float | None
    error: str | None
    endpoint: str

    @property
    def telling(self) -> Telling:
        """The same for people."""
        state = TellingState.DELIVERED if self.delivered else TellingState.GIVEN_UP
        if self.due_at is not None:
            state = TellingState.WAITING
        created_at = datetime.fromtimestamp(self.created_at, UTC)
        settled_at = self.settled_at
        return Telling(
            id=self.id,
            endpoint=self.endpoint,
            type=self.type,
            state=state,
            tries=self.tries,
            at=created_at if settled_at is None else datetime.fromtimestamp(settled_at, UTC),
            created_at=created_at,
            # Before its first try it is not retried.
            next_try_at=(
                datetime.fromtimestamp(self.due_at, UTC) if self.due_at and self.tries else None
            ),
            error=self.error,
        )


_KEPT_ROW: Final = (
    "number, id, message, type, created_at, due_at, tries, delivered, settled_at, error, endpoint"
)
STATES: Final = {
    "waiting": "due_at IS NOT NULL",
    "delivered": "due_at IS NULL AND delivered = 1",
    "given_up": "due_at IS NULL AND delivered = 0",
}
"""Where an event stands."""


def kept(row: Sequence[Any]) -> Kept:
    """A row of `_KEPT_ROW`."""
    number, id_, message, type_, created_at, due_at, tries, delivered, settled, error, at = row
    return Kept(
        number,
        id_,
        message,
        type_,
        created_at,
        due_at,
        tries,
        bool(delivered),
        settled,
        error,
        at,
    )


def _due(row: Sequence[Any]) -> Due:
    number, id_, tenant, message, type_, url, body, created_at, tries = row
    return Due(number, id_, tenant, message, type_, url, bytes(body), created_at, tries)


def of_message(database: Database, message: str) -> list[Telling]:
    """What endpoints were told about a message, or will be, in order."""
    rows = database.execute(
        f"SELECT {_KEPT_ROW} FROM callback_events WHERE message = ? ORDER BY number", (message,)
    )
    return [kept(row).telling for row in rows]


def row_for(
    endpoint: str | None,
    *,
    event: str,
    tenant: str,
    message: str,
    type_: str,
    url: str | None,
    body: bytes,
    now: float,
) -> tuple[str, Sequence[Any]]:
    """The statement that stores an event; without an `endpoint` it goes to `url`."""
    if endpoint is None:
        assert url is not None
        endpoint = origin_endpoint(tenant, url)
    return INSERT, (endpoint, event, tenant, message, type_, url, body, now, now)


class EventStore:
    """The events in the database. Made on a running event loop. `linger` is how long a note may
    wait for company, in seconds: where hundreds are told a second nobody waits for one."""

    def __init__(self, where: Path | str, *, linger: float = 0.01) -> None:
        self._writer = GroupCommit(open_store(where, "hermes"), linger=linger)

    async def close(self) -> None:
        """Write what is queued and close the database."""
        await self._writer.close()

    async def add(self, statement: tuple[str, Sequence[Any]]) -> None:
        """Store one event; durable on return, once for each endpoint and id."""
        await self._writer.write(*statement)

    # For whoever tells them.

    async def due(self, endpoint: str, now: float, limit: int) -> list[Due]:
        """Events whose time has come, the longest due first."""
        rows = await self._writer.read(lambda c: c.execute(_DUE, (endpoint, now, limit)).fetchall())
        return [_due(row) for row in rows]

    async def first(self, endpoint: str) -> Due | None:
        """The event to try an endpoint with that was down; None when nothing waits."""
        row = await self._writer.read(lambda c: c.execute(_FIRST, (endpoint,)).fetchone())
        return None if row is None else _due(row)

    async def next_due(self, endpoint: str) -> float | None:
        """When the next event is due, None when nothing waits."""
        row = await self._writer.read(lambda c: c.execute(_NEXT, (endpoint,)).fetchone())
        return None if row is None else float(row[0])

    def delivered(self, event: Due, at: float) -> asyncio.Future[int]:
        """The receiver took it."""
        return self._writer.write(_DELIVERED, (at, event.tries + 1, event.number))

    def postpone(self, event: Due, due_at: float, error: str) -> asyncio.Future[int]:
        """It is tried again later."""
        return self._writer.write(_POSTPONE, (due_at, event.tries + 1, error, event.number))

    def hold(self, event: Due, due_at: float) -> asyncio.Future[int]:
        """It was not tried, and is later."""
        return self._writer.write(_HOLD, (due_at, event.number))

    def give_up(self, event: Due, at: float, error: str) -> asyncio.Future[int]:
        """It is not tried any more, but may be replayed."""
        return self._writer.write(_GIVE_UP, (at, event.tries + 1, error, event.number))

    async def drop(self, endpoint: str, error: str, before: float | None = None) -> None:
        """Give up everything that waits for an endpoint, or what is older than a time."""
        now = time.time()
        bound = now + 1 if before is None else before
        while await self._writer.write(_DROP, (now, error, endpoint, bound)):
            pass

    async def health(self, endpoint: str) -> Health:
        """How the endpoint has done."""
        row = await self._writer.read(lambda c: c.execute(_HEALTH, (endpoint,)).fetchone())
        return Health() if row is None else Health(*row)

    async def note_health(self, endpoint: str, tenant: str, address: str, health: Health) -> None:
        """Write down how the endpoint does."""
        row = (
            health.failures,
            health.failing_since,
            health.probe_at,
            health.delivered_at,
            health.failed_at,
            health.error,
        )
        await self._writer.write(_NOTE_HEALTH, (endpoint, tenant, address, *row))

    async def waiting(
        self, late: float = 0.0, after: str = "", most: int = 1000
    ) -> list[tuple[str, bool]]:
        """The endpoints for which something waits, due or not: up to `most`, in the order of their
        ids, from the one `after` this id on. Of each, whether an event should have been told, or an
        endpoint that is down been tried, more than `late` seconds ago."""
        bound = time.time() - late
        values = (after, most, bound, bound)
        rows = await self._writer.read(lambda c: c.execute(_WAITING, values).fetchall())
        return [(endpoint, bool(overdue)) for endpoint, overdue in rows]

    async def waits(self, endpoint: str) -> Waiting | None:
        """What waits for an endpoint; None for nothing. One look by the index, bounded."""
        tenant, count, oldest = await self._writer.read(
            lambda c: c.execute(_WAITS, (endpoint, COUNTED_OFTEN)).fetchone()
        )
        return Waiting(tenant, count, oldest) if count else None

    async def prune(self) -> None:
        """Drop what is older than KEPT, in small portions: events, and the hosts of messages' own
        addresses that have none any more. There is no end of hosts that messages may name."""
        cutoff = time.time() - KEPT.total_seconds()
        while await self._writer.write(_PRUNE, (_PRUNED_AT_ONCE, cutoff)) == _PRUNED_AT_ONCE:
            pass
        after = ""
        while last := await self._end_of_page(after):
            await self._writer.write(_PRUNE_HOSTS, (after, last, cutoff, cutoff))
            after = last

    async def _end_of_page(self, after: str) -> str | None:
        values = (after, _PRUNED_AT_ONCE)
        row = await self._writer.read(lambda c: c.execute(_END_OF_PAGE, values).fetchone())
        return None if row[0] is None else str(row[0])

    # For whoever looks at them.

    async def backlog(self, endpoint: str) -> Backlog:
        """What waits for an endpoint."""
        count, oldest, next_try = await self._writer.read(
            lambda c: c.execute(_BACKLOG, (endpoint, COUNTED + 1)).fetchone()
        )
        return Backlog(min(count, COUNTED), count > COUNTED, oldest, next_try)

    async def hosts(self, tenant: str, after: str, limit: int) -> list[tuple[str, str]]:
        """Ids and addresses of hosts that a tenant's messages have named and that were told
        something in the last 30 days, in the order of the ids, from the one `after` this on."""
        values = (tenant, after, limit)
        return await self._writer.read(lambda c: c.execute(_HOSTS, values).fetchall())

    async def host(self, tenant: str, endpoint: str) -> str | None:
        """The address of one of them; None when there is none of this id."""
        values = (endpoint, tenant)
        row = await self._writer.read(lambda c: c.execute(_ADDRESS, values).fetchone())
        return None if row is None else str(row[0])

    async def list(
        self,
        endpoint: str,
        tenant: str,
        *,
        state: str | None,
        message: str | None,
        before: tuple[float, int] | None,
        limit: int,
    ) -> list[Kept]:
        """Events of an endpoint, the newest first; of those that wait, COUNTED that are due first.
        `before` is where the page before ended: time and number."""
        where: list[str] = ["endpoint = ?", "tenant = ?"]
        values: list[Any] = [endpoint, tenant]
        source = "callback_events"
        if state == "waiting":
            # By the index of what is due: in that of the time, they may be a few among millions.
            source = f"({_WAITING_OF}) AS callback_events"
            values = [endpoint, COUNTED, *values]
        elif state is not None:
            where.append(STATES[state])
        if message is not None:
            where.append("message = ?")
            values.append(message)
        if before is not None:
            where.append("(created_at, number) < (?, ?)")
            values += before
        sql = (
            f"SELECT {_KEPT_ROW} FROM {source} WHERE {' AND '.join(where)}"
            " ORDER BY created_at DESC, number DESC LIMIT ?"
        )
        rows = await self._writer.read(lambda c: c.execute(sql, [*values, limit]).fetchall())
        return [kept(row) for row in rows]

    async def replay(
        self,
        endpoint: str,
        tenant: str,
        *,
        event: str | None = None,
        since: float | None = None,
        until: float | None = None,
        state: str | None = None,
    ) -> int:
        """Let events that are settled wait again; how many, at most MAX_REPLAYED."""
        which: list[str] = []
        values: list[Any] = []
        if event is not None:
            which.append("id = ?")
            values.append(event)
        if since is not None:
            which.append("created_at >= ?")
            values.append(since)
        if until is not None:
            which.append("created_at < ?")
            values.append(until)
        if state is not None:
            which.append(STATES[state])
        wanted = " AND ".join(which) or "number > 0"
        find, replay = _PORTION.format(which=wanted), _REPLAY.format(which=wanted)
        now, place, replayed = time.time(), (0.0, 0), 0
        while replayed < MAX_REPLAYED:
            asked = (endpoint, tenant, *values, *place)
            portion = await self._portion(find, (*asked, _REPLAYED_AT_ONCE))
            if not portion:
                break
            place = portion[-1]
            replayed += await self._writer.write(replay, (now, *asked, *place))
        return replayed

    async def _portion(self, sql: str, values: Sequence[Any]) -> Sequence[tuple[float, int]]:
        rows: Sequence[tuple[float, int]] = await self._writer.read(
            lambda c: c.execute(sql, values).fetchall()
        )
        return rows
