"""Redacts messages whose time is over, a few at a time, in one process of all.

Whoever has the duty walks each tenant's messages by age, by an index that holds only those not
redacted yet. A batch is a transaction of some milliseconds. Between two of them the sweeper rests
twice as long as it computed: it takes at most a third of one core. A file is held by whoever writes
to it; there the rest is as long as the batch took, too, so that others have half of the time. Of a
server's answers nobody has to rest.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from adapters.retention.erasure import Erasures
from adapters.retention.forgetter import Forgetter, forgetter
from adapters.retention.redaction import BATCH
from adapters.store.database import Database, is_postgres
from domain.mode import Mode
from domain.retention import LONGEST_LIFE, Retention

EVERY: Final = 30.0
"""Seconds between two rounds."""
DUTY: Final = "retention"
_HELD: Final = 120.0
"""Seconds for which a process that does not renew it keeps the duty."""
_REST: Final = 2.0
"""Seconds of rest for each that was computed."""
_LEAST_REST: Final = 0.005
_ERASURES: Final = 20

_TAKE: Final = (
    "INSERT INTO duties (name, owner, until) VALUES (?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until"
    " WHERE duties.owner = excluded.owner OR duties.until < ?"
)
_LEAVE: Final = "DELETE FROM duties WHERE name = ? AND owner = ?"
_NEXT_TENANT: Final = (
    "SELECT tenant FROM messages WHERE redacted_at IS NULL AND tenant > ? ORDER BY tenant LIMIT 1"
)
_OLD: Final = (
    "SELECT id, created_at, ended_at FROM messages"
    " WHERE redacted_at IS NULL AND tenant = ? AND mode = ? AND created_at < ?"
    " AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?"
)
logger = logging.getLogger(__name__)


class Sweeper:
    """The retention of all tenants in one database; `journal` is the bind pools'.

    `retention` says a tenant's; `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        where: Path | str,
        journal: Path | str | None,
        retention: Callable[[str], Retention],
        erasures: Erasures,
        *,
        clock: Callable[[], float] = time.time,
        every: float = EVERY,
    ) -> None:
        self._where = where
        self._journal = journal
        self._retention = retention
        self._erasures = erasures
        self._clock = clock
        self._every = every
        self._shares_file = not is_postgres(where)
        self._name = secrets.token_hex(8)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._until = 0.0
        self.redacted = 0

    def start(self) -> None:
        """Sweep on a thread of its own until `close`."""
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the batch that is under way."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def round(self) -> int:
        """Redact everything that is due, if this process has the duty. Gives how many. It
        blocks."""
        with self._forgetter() as to_forget:
            return self._round(to_forget)

    def _round(self, to_forget: Forgetter) -> int:
        database = to_forget.messages
        if not self._on_duty(database):
            return 0
        count = 0
        rest = _LEAST_REST
        while self._erasures.follow_up(to_forget, most=_ERASURES) and self._goes_on(database, rest):
            pass
        for batch in self._due(database):
            began, computed = time.monotonic(), time.thread_time()
            count += to_forget.redact(batch)
            took, computed = time.monotonic() - began, time.thread_time() - computed
            held = took if self._shares_file else 0.0
            if not self._goes_on(database, max(held, _REST * computed, _LEAST_REST)):
                break
        self.redacted += count
        return count

    def _forgetter(self) -> AbstractContextManager[Forgetter]:
        return forgetter(self._where, self._journal, self._erasures.places)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._forgetter() as to_forget:
                    while not self._closing.wait(self._every):
                        self._round(to_forget)
                    to_forget.messages.execute(_LEAVE, (DUTY, self._name))
            except Exception:
                # The database may be away; what is due stays due.
                logger.exception("retention: a round failed")
                self._closing.wait(self._every)

    def _on_duty(self, database: Database) -> bool:
        now = self._clock()
        if now < self._until - _HELD / 2:
            return True
        row = (DUTY, self._name, now + _HELD, now)
        if database.execute(_TAKE, row).rowcount != 1:
            return False
        self._until = now + _HELD
        return True

    def _goes_on(self, database: Database, rest: float) -> bool:
        return not self._closing.wait(rest) and self._on_duty(database)

    def _due(self, database: Database) -> Iterator[list[str]]:
        """The messages whose time is over, in batches."""
        tenant = ""
        while True:
            row = database.execute(_NEXT_TENANT, (tenant,)).fetchone()
            if row is None:
                return
            tenant = row[0]
            retention = self._retention(tenant)
            for mode in Mode:
                before = self._clock() - retention.time(mode).total_seconds()
                yield from self._of(database, tenant, mode, before)

    def _of(
        self, database: Database, tenant: str, mode: Mode, before: float
    ) -> Iterator[list[str]]:
        created_at, last = 0.0, ""
        lost = before - LONGEST_LIFE.total_seconds()
        while True:
            rows = database.execute(
                _OLD, (tenant, mode.value, before, created_at, last, BATCH)
            ).fetchall()
            if not rows:
                return
            last, created_at, _ = rows[-1]
            due = [
                id_
                for id_, created, ended in rows
                if (created < lost if ended is None else ended < before)
            ]
            if due:
                yield due
