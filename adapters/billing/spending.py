"""What one process may spend of tenants' accounts: from memory, and never more than there is.

A message must not wait for the database, nor for another message of its tenant. So a process takes
a lease of an account, an amount that nobody else can spend, and sets aside from that in memory
what its attempts may cost. What they did cost is entered in the ledger a moment later, many at a
time, and in the same transaction leaves the lease. At any moment

    balance + credit - all leases ≥ 0

and the lease's row covers what is left of it, what is set aside, and what is not yet entered. A
process that is killed leaves its leases behind; they are void once it has not been seen for DEAD
seconds, and a process that could not show itself for FRESH seconds spends nothing of its own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from adapters.billing import accounts
from adapters.billing.ledger import Ledger
from adapters.store.database import Database
from adapters.store.schema import open_store
from adapters.store.sections import touch
from domain.billing.settlement import Movement
from domain.billing.terms import Terms, allowance

LINGER: Final = 0.2
"""Seconds for which movements are collected. Nobody waits for them, and what is lost with the
process is entered at the message's end."""
RENEW: Final = 2.0
"""Seconds between two signs of life. What nobody spent between two of them goes back, for other
processes to spend."""
FRESH: Final = 10.0
DEAD: Final = 30.0
"""Between the two lies what the clocks of two machines may differ by, and a transaction's time."""
AHEAD: Final = 16
"""Messages' worth of money that a lease is asked for at least."""
AHEAD_AGAIN: Final = 0.25
"""Seconds between two times that more is asked for before it is needed."""
REFUSED_FOR: Final = 0.5
"""Seconds for which an account that had not got an amount is not asked for as much again: a tenant
without money must not keep the database busy."""
LOOK: Final = 15.0
"""Seconds between two looks of a process that spends nothing: a refund may have brought an empty
account money again."""
_PAUSE: Final = 0.5
_MOST_PENDING: Final = 200_000
_logger: Final = logging.getLogger(__name__)

_SET: Final = (
    "INSERT INTO leases (owner, tenant, amount, seen) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (owner, tenant) DO UPDATE SET amount = excluded.amount, seen = excluded.seen"
)
_DROP: Final = "DELETE FROM leases WHERE owner = ? AND tenant = ?"
_SEEN: Final = "UPDATE leases SET seen = ? WHERE owner = ?"
_VOID: Final = "DELETE FROM leases WHERE seen < ?"
# Takes the account's row, so that two processes do not lease the same money.
_GRANT: Final = "UPDATE accounts SET granted = granted + 1 WHERE tenant = ?"


class Answer(Enum):
    """What came of asking an account for money."""

    SET_ASIDE = "set aside"
    LATER = "later"  # it is set aside for others, or the database cannot be reached: ask again
    NEVER = "never"  # it is not there


class KnownTerms(Protocol):
    """Every account's terms, in memory: a Section."""

    @property
    def value(self) -> Mapping[str, Terms]:
        """By tenant."""


@dataclass(slots=True)
class _Purse:
    """What this process holds of one account. `left` may be spent, `out` is set aside for attempts
    that are under way, `unsent` is spent and not yet in the ledger; `row` is what the database
    says of it all. `asked` is what the last message needed: the next is taken to need as much."""

    left: int = 0
    out: int = 0
    unsent: int = 0
    row: int = 0
    pace: int = 0
    spent: int = 0
    asked: int = 0
    used_at: float = 0.0
    asking: bool = False
    ahead_at: float = float("-inf")
    refused: int = 0
    refused_until: float = float("-inf")
    refusal: Answer = Answer.NEVER
    waiting: list[tuple[int, asyncio.Future[Answer]]] = field(default_factory=list)


class _Ask(NamedTuple):
    """What those who wait need together, what would be good to have, and what each needs."""

    needed: int
    wanted: int
    each: tuple[int, ...]


class _Granted(NamedTuple):
    """What is leased for an ask, and what the account has in all, whoever holds it; None when that
    cannot be known now."""

    amount: int
    has: int | None


class _Round(NamedTuple):
    """What one transaction does: movements, the amounts that our leases come down to, what is
    asked for, and whether we show that we live. `next` is what the next message needs of tenants
    whose leases are less."""

    movements: list[Movement]
    amounts: dict[str, int]
    next: dict[str, int]
    asks: dict[str, _Ask]
    renew: bool


class Spending:
    """The purses of one process. Made on a running event loop, and used on it.

    `clock` gives monotonic seconds. An account that has not got what a message needs is marked as
    short of that amount, by which the API refuses messages that need as much; so is one that has
    not got what the last message needed, before another is accepted and fails.
    """

    def __init__(
        self,
        where: Path | str,
        terms: KnownTerms,
        *,
        linger: float = LINGER,
        renew: float = RENEW,
        clock: Callable[[], float] = time.monotonic,
        ledger: Ledger | None = None,
    ) -> None:
        self._where = where
        self._terms = terms
        self._linger = linger
        self._renew = renew
        self._clock = clock
        self.owner = secrets.token_hex(8)
        self._ledger = ledger or Ledger()
        self._purses: dict[str, _Purse] = {}
        self._pending: list[Movement] = []
        self._behind_since: float | None = None
        self._fresh_until = float("-inf")
        self._renewed_at = float("-inf")
        self._looked_at = clock()
        self._database: Database | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spending")
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._entered: list[asyncio.Future[None]] = []
        self._working = True
        self._closing = False
        self._task = self._loop.create_task(self._run())

    def take(self, tenant: str, amount: int) -> int | None:
        """Set an amount aside, from memory. Returns what `give_back` and `enter` are to be told,
        0 for a tenant without a limit; None when it takes an `ask`."""
        terms = self._terms.value.get(tenant)
        if terms is None or terms.credit is None:
            return 0
        purse = self._purses.get(tenant)
        if purse is None or purse.left < amount:
            return None
        now = self._clock()
        if now > self._fresh_until:
            return None
        purse.left -= amount
        purse.out += amount
        purse.spent += amount
        purse.asked = amount
        purse.used_at = now
        low = purse.left < max(purse.pace // 2, amount * AHEAD // 4)
        if low and not purse.asking and now >= purse.ahead_at + AHEAD_AGAIN:
            purse.asking, purse.ahead_at = True, now
            self._wake.set()
        return amount

    async def ask(self, tenant: str, amount: int) -> Answer:
        """Set an amount aside that is not in memory: ask the account for it."""
        if self._closing:
            return Answer.LATER
        purse = self._purses.setdefault(tenant, _Purse())
        now = self._clock()
        if amount >= purse.refused and now < purse.refused_until:
            return purse.refusal
        purse.asking = True
        purse.asked = amount
        purse.used_at = now
        answer: asyncio.Future[Answer] = self._loop.create_future()
        purse.waiting.append((amount, answer))
        self._wake.set()
        return await answer

    def give_back(self, tenant: str, held: int) -> None:
        """Nothing was spent of what was set aside."""
        if held:
            purse = self._purses[tenant]
            purse.out -= held
            purse.left += held

    def enter(self, held: int, movement: Movement) -> None:
        """Have a cost entered in the ledger, for which `held` was set aside. It is written within
        `linger` seconds; if the process is killed before, the message's end enters it."""
        if held:
            purse = self._purses[movement.tenant]
            purse.out -= held
            # What it cost beyond that, the ledger takes straight from the account.
            purse.left = max(purse.left + held + movement.amount, 0)
            purse.unsent -= movement.amount
        self._pending.append(movement)
        if self._behind_since is None:
            self._behind_since = self._clock()
        if self._timer is None:
            self._timer = self._loop.call_later(self._linger, self._wake.set)

    @property
    def queue(self) -> int:
        """Movements that wait to be entered in the ledger."""
        return len(self._pending)

    @property
    def lag(self) -> float:
        """Seconds for which the oldest of them has waited; those that are just being entered
        count."""
        since = self._behind_since
        return 0.0 if since is None else self._clock() - since

    async def flush(self) -> None:
        """Return once everything that was entered is in the ledger."""
        if self._pending:
            written = self._loop.create_future()
            self._entered.append(written)
            self._wake.set()
            await written

    async def close(self) -> None:
        """Enter what is to be entered, return every lease, and close the database. May be
        repeated."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        await self._task
        for purse in self._purses.values():
            for _, answer in purse.waiting:
                answer.set_result(Answer.LATER)
        self._answer_entered()
        await self._loop.run_in_executor(self._thread, self._end)
        self._thread.shutdown()

    # The rounds

    async def _run(self) -> None:
        while not self._closing:
            if not self._wake.is_set():
                await self._nap()
            await self._round()
        for purse in self._purses.values():
            purse.left = purse.out = 0
        await self._round()

    async def _nap(self) -> None:
        """Wait until there is something to do; as long as there are leases, not beyond the next
        sign of life."""
        due = self._looked_at + LOOK
        if self._purses:
            due = min(due, self._renewed_at + self._renew)
        timer = self._loop.call_later(max(due - self._clock(), 0.0), self._wake.set)
        await self._wake.wait()
        timer.cancel()

    async def _round(self) -> None:
        self._wake.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        renew = now >= self._looked_at + LOOK or (
            bool(self._purses) and now >= self._renewed_at + self._renew
        )
        if renew or self._closing:
            self._take_stock(now)
        job, spent, waiting = self._next_round(now, renew)
        if not (job.movements or job.amounts or job.asks or renew):
            self._answer_entered()
            return
        entered, self._entered = self._entered, []
        try:
            granted = await self._loop.run_in_executor(self._thread, self._carry_out, job)
        except Exception as error:
            self._failed(error, job, spent, waiting)
            self._entered += entered
            if not self._closing:
                await asyncio.sleep(_PAUSE)
                self._wake.set()
            return
        self._working = True
        self._behind_since = None if not self._pending else now
        self._fresh_until = now + FRESH
        if renew:
            self._renewed_at = self._looked_at = now
        for tenant, amount in job.amounts.items():
            self._purses[tenant].row = amount
        self._hand_out(granted, waiting)
        for written in entered:
            if not written.done():
                written.set_result(None)

    def _take_stock(self, now: float) -> None:
        """Let go of what is not used, and see how fast the rest is."""
        stale = now > self._fresh_until
        for tenant, purse in list(self._purses.items()):
            purse.pace, purse.spent = max(purse.spent, purse.pace // 2), 0
            if stale or now - purse.used_at > self._renew:
                # What was ours may be others' by now, or should be.
                purse.left = 0
            refused = now < purse.refused_until
            in_use = purse.left or purse.out or purse.unsent or purse.row or purse.asking
            if not in_use and not refused:
                del self._purses[tenant]

    def _next_round(
        self, now: float, renew: bool
    ) -> tuple[_Round, dict[str, int], dict[str, list[tuple[int, asyncio.Future[Answer]]]]]:
        movements, self._pending = self._pending, []
        if now > self._fresh_until:
            for purse in self._purses.values():
                purse.left = 0
        amounts: dict[str, int] = {}
        following: dict[str, int] = {}
        asks: dict[str, _Ask] = {}
        spent: dict[str, int] = {}
        waiting: dict[str, list[tuple[int, asyncio.Future[Answer]]]] = {}
        for tenant, purse in self._purses.items():
            if purse.unsent:
                spent[tenant], purse.unsent = purse.unsent, 0
            amount = purse.left + purse.out
            if purse.asking:
                waiting[tenant], purse.waiting = purse.waiting, []
                each = tuple(amount for amount, _ in waiting[tenant])
                needed, most = sum(each), max(each, default=0)
                asks[tenant] = _Ask(
                    needed=max(needed - purse.left, 0),
                    wanted=max(needed, most * AHEAD, purse.pace),
                    each=each,
                )
            if amount != purse.row or tenant in asks:
                amounts[tenant] = amount
                if amount < purse.asked:
                    following[tenant] = purse.asked
        return _Round(movements, amounts, following, asks, renew), spent, waiting

    def _hand_out(
        self,
        granted: Mapping[str, _Granted],
        waiting: Mapping[str, list[tuple[int, asyncio.Future[Answer]]]],
    ) -> None:
        for tenant, (amount, has) in granted.items():
            purse = self._purses[tenant]
            purse.left += amount
            purse.row += amount
            purse.asking = bool(purse.waiting)
            if purse.asking:
                self._wake.set()
            enough = True
            for needed, answer in waiting[tenant]:
                if answer.done():
                    continue
                if purse.left < needed:
                    # It may be set aside for attempts under way, here or elsewhere, which hold
                    # what the dearest route costs and give most of that back.
                    refusal = Answer.LATER if has is None or has >= needed else Answer.NEVER
                    answer.set_result(refusal)
                    enough = False
                    self._remember_refusal(purse, needed, refusal)
                    continue
                purse.left -= needed
                purse.out += needed
                purse.spent += needed
                answer.set_result(Answer.SET_ASIDE)
            if not enough and purse.left > 0:
                # Too little for one here may be enough for one elsewhere, or for what two
                # processes have left over together.
                purse.left = 0
                self._wake.set()

    def _remember_refusal(self, purse: _Purse, amount: int, refusal: Answer) -> None:
        now = self._clock()
        if now >= purse.refused_until or refusal is not purse.refusal:
            purse.refused = amount
        purse.refused = min(purse.refused, amount)
        purse.refused_until = now + REFUSED_FOR
        purse.refusal = refusal

    def _failed(
        self,
        error: Exception,
        job: _Round,
        spent: Mapping[str, int],
        waiting: Mapping[str, list[tuple[int, asyncio.Future[Answer]]]],
    ) -> None:
        """Nothing of it is known to be written: all of it will be said again."""
        if self._working:
            _logger.error("accounts cannot be reached: %s", error)
        self._working = False
        self._pending = (job.movements + self._pending)[-_MOST_PENDING:]
        for tenant, amount in spent.items():
            self._purses[tenant].unsent += amount
        for tenant, asked in waiting.items():
            purse = self._purses[tenant]
            purse.asking = bool(purse.waiting)
            for _, answer in asked:
                if not answer.done():
                    answer.set_result(Answer.LATER)
        for tenant in job.amounts:
            # Whatever it says, it is to be said anew.
            self._purses[tenant].row = -1

    def _answer_entered(self) -> None:
        entered, self._entered = self._entered, []
        for written in entered:
            if not written.done():
                written.set_result(None)

    # On the thread that has the database

    def _carry_out(self, job: _Round) -> dict[str, _Granted]:
        if self._database is None:
            self._database = open_store(self._where, "hermes")
        database, seen = self._database, time.time()
        granted: dict[str, _Granted] = {}
        short: dict[str, int] = {}
        with database.transaction():
            self._ledger.enter(database, job.movements)
            for tenant in sorted(job.amounts):
                self._set(database, tenant, job.amounts[tenant], seen)
            if job.renew:
                database.execute(_SEEN, (seen, self.owner))
                database.execute(_VOID, (seen - DEAD,))
            for tenant in sorted(job.asks):
                ours, ask = job.amounts[tenant], job.asks[tenant]
                amount, has = granted[tenant] = self._grant(database, tenant, ask)
                if amount:
                    self._set(database, tenant, ours + amount, seen)
                lacking = [needed for needed in ask.each if has is not None and has < needed]
                if lacking:
                    short[tenant] = min(lacking)
            for tenant, needed in job.next.items():
                if tenant not in short and accounts.funds(database, tenant)[0] < needed:
                    short[tenant] = needed
        short = {tenant: n for tenant, n in short.items() if not self._known_short(tenant, n)}
        # Apart from that, since it takes the section first, as an operator's change does.
        again = accounts.recovered(database) if job.renew else []
        if short or again:
            with database.transaction():
                touch(database, accounts.SECTION)
                for tenant in sorted(short):
                    accounts.mark_short(database, tenant, short[tenant])
                for tenant in again:
                    accounts.look_again(database, tenant)
        return granted

    def _known_short(self, tenant: str, amount: int) -> bool:
        terms = self._terms.value.get(tenant)
        return terms is not None and terms.lacks(amount)

    def _grant(self, database: Database, tenant: str, ask: _Ask) -> _Granted:
        if not database.execute(_GRANT, (tenant,)).rowcount:
            return _Granted(0, None)
        has, leased = accounts.funds(database, tenant)
        amount = allowance(has - leased, ask.needed, ask.wanted)
        if not amount and ask.needed:
            # Not for all who wait; for some of them, perhaps.
            amount = max(has - leased, 0)
        return _Granted(amount, has)

    def _set(self, database: Database, tenant: str, amount: int, seen: float) -> None:
        if amount > 0:
            database.execute(_SET, (self.owner, tenant, amount, seen))
        else:
            database.execute(_DROP, (self.owner, tenant))

    def _end(self) -> None:
        if self._database is not None:
            self._database.close()
