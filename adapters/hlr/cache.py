"""The operators of numbers, as the path of a message sees them: in memory or not at all.

A number that is not in memory is put on a list, which is worked off beside the messages: first the
database is asked, which all processes share, for many numbers in one query, then the provider, for
each that the database does not have or has had for too long. So no message waits, the first to a
number goes without its operator, and a provider that is down costs nothing but that.

Rows are keyed by a keyed hash of the number: who has the database alone cannot tell whose they are,
and there is nothing of a person to be erased.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from adapters.store.database import Database
from adapters.store.group_commit import GroupCommit
from adapters.store.schema import open_store
from domain.ports import LookupUnavailable, NumberLookup

REMEMBERED: Final = 200_000
"""Numbers in memory, of some 200 octets each."""
WAITING: Final = 10_000
"""Numbers that may wait to be looked up; beyond, a message's number is not: the next one's may."""
KEPT: Final = 30 * 86_400.0
"""Seconds that an answer counts: people change networks every few years."""
KEPT_UNSERVED: Final = 86_400.0
"""Seconds that `nobody serves it` counts: it may be a telephone that was switched off for long."""
ASK_AGAIN: Final = 60.0
"""Seconds until a number is asked about again that nobody answered for."""
_TOGETHER: Final = 64
"""Numbers in one query: a fixed number, since every other would be another statement."""
_LINGER: Final = 0.02
_PRUNED_EVERY: Final = 60.0

_FIND: Final = (
    "SELECT digest, operator, expires_at FROM number_operators"
    f" WHERE digest IN ({', '.join('?' * _TOGETHER)}) AND expires_at > ?"
)
_PUT: Final = """
    INSERT INTO number_operators (digest, operator, expires_at) VALUES (?, ?, ?)
    ON CONFLICT (digest) DO UPDATE SET
        operator = excluded.operator, expires_at = excluded.expires_at
"""
_PRUNE: Final = """
    DELETE FROM number_operators WHERE digest IN
        (SELECT digest FROM number_operators WHERE expires_at <= ? LIMIT 1000)
"""
_logger: Final = logging.getLogger(__name__)


class OperatorCache:
    """Fulfils `domain.ports.OperatorLookup`. Made in a running event loop, and closed there.

    `concurrency` bounds the questions that the provider has to answer at a time. `clock` gives
    seconds of the epoch.
    """

    def __init__(
        self,
        where: Path | str,
        provider: NumberLookup,
        key: bytes,
        *,
        concurrency: int = 16,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = GroupCommit(open_store(where, "hermes"))
        self._provider = provider
        self._key = key
        self._clock = clock
        self._known: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._asking: set[str] = set()
        self._places = asyncio.Semaphore(concurrency)
        self._came = asyncio.Event()
        self._questions: set[asyncio.Task[None]] = set()
        self._working = asyncio.create_task(self._work(), name="hlr")
        self._pruned_at = 0.0
        self._down = False

    def operator_of(self, number: str) -> str | None:
        """See `domain.ports.OperatorLookup`. What is out of date is told while it is asked anew."""
        known = self._known.get(number)
        if known is not None and known[1] > self._clock():
            return known[0]
        if number not in self._asking and len(self._waiting) < WAITING:
            self._waiting[number] = None
            self._came.set()
        return None if known is None else known[0]

    @property
    def idle(self) -> bool:
        """Whether nothing is being looked up."""
        return not (self._waiting or self._asking)

    async def close(self) -> None:
        """Ask no more, write what is known, close the database."""
        tasks = [self._working, *self._questions]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._writer.close()

    async def _work(self) -> None:
        while True:
            await self._came.wait()
            await asyncio.sleep(_LINGER)
            numbers = [self._waiting.popitem(last=False)[0] for _ in range(self._some())]
            if not self._waiting:
                self._came.clear()
            self._asking.update(numbers)
            try:
                stored = await self._stored(numbers)
            except Exception as error:
                _logger.error("operators cannot be read from the database: %s", error)
                stored = {}
            for number in numbers:
                found = stored.get(self._digest(number))
                if found is not None:
                    self._remember(number, *found)
                    self._asking.discard(number)
                    continue
                # Bounded: a slow provider lets the list grow up to its bound, not the tasks.
                await self._places.acquire()
                question = asyncio.create_task(self._ask(number))
                self._questions.add(question)
                question.add_done_callback(self._questions.discard)

    def _some(self) -> int:
        return min(len(self._waiting), _TOGETHER)

    async def _ask(self, number: str) -> None:
        try:
            operator = await self._provider.look_up(number)
        except LookupUnavailable as error:
            if not self._down:
                _logger.warning("the number lookup does not answer: %s", error)
            self._down = True
            self._remember(number, self._last(number), self._clock() + ASK_AGAIN)
        except Exception:
            _logger.exception("the number lookup failed")
            self._remember(number, self._last(number), self._clock() + ASK_AGAIN)
        else:
            self._down = False
            kept = KEPT_UNSERVED if operator is None else KEPT
            expires_at = self._clock() + kept
            self._remember(number, operator, expires_at)
            self._writer.note(_PUT, (self._digest(number), operator, expires_at))
            self._prune()
        finally:
            self._asking.discard(number)
            self._places.release()

    def _last(self, number: str) -> str | None:
        known = self._known.get(number)
        return None if known is None else known[0]

    def _remember(self, number: str, operator: str | None, expires_at: float) -> None:
        self._known[number] = (operator, expires_at)
        self._known.move_to_end(number)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _stored(self, numbers: Sequence[str]) -> dict[bytes, tuple[str | None, float]]:
        digests = [self._digest(number) for number in numbers]
        # The last one again in the places that are left.
        digests += digests[-1:] * (_TOGETHER - len(digests))

        def query(database: Database) -> dict[bytes, tuple[str | None, float]]:
            rows = database.execute(_FIND, (*digests, self._clock()))
            return {bytes(digest): (operator, until) for digest, operator, until in rows}

        return await self._writer.read(query)

    def _digest(self, number: str) -> bytes:
        return hashlib.blake2b(
            number.encode(), key=self._key, digest_size=16, person=b"operator"
        ).digest()

    def _prune(self) -> None:
        now = self._clock()
        if now - self._pruned_at >= _PRUNED_EVERY:
            self._pruned_at = now
            self._writer.note(_PRUNE, (now,))
