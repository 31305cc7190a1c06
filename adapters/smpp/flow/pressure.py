"""What the API knows of the queues before the carriers: the bind pools' own count, and what is on
its way to them.

The pools are asked a few times a second. Between two answers, and while Restate is behind, this
process counts what it has accepted and the pools have not seen yet: a flood would otherwise be
noticed only after it had been let in.

Restate works first come, first served. When it falls behind, no more is let in than gets through,
whatever its channel: what is urgent first, and each tenant in turn, so that a one-time password
finds a short queue there.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from adapters.restate.http import HttpClient
from adapters.smpp.flow.backlog import PRIORITY
from adapters.smpp.flow.gate import Gate
from domain.message import Category

logger = logging.getLogger(__name__)

INTERVAL = 0.25
"""Seconds between two questions."""
_TIMEOUT = 2.0
_BEHIND = 1.0
"""Seconds of lag from which on Restate counts as behind."""
_SILENT = 3.0
"""Seconds without a word from a pool after which it is taken to be gone."""
_WELL = 0.25
"""Seconds of lag that say that nothing is held up anywhere."""
_SMOOTHED_OVER = 1.0
_SHARE_THAT_TELLS = 0.1
"""Of all messages: with fewer that go to the pools, those say nothing of the others."""
_KEPT = 0.98
"""Of what is on its way, from one question to the next: a half of it for nine seconds."""
_FEW = 100
"""Messages that say nothing of how far Restate is behind, if so many wait for it."""
_PATH = "/admin/v1/queues"
_WANTED = frozenset({"suspended", "drained", "draining"})
_NAMED = 5
"""Carriers whose trouble is told to a client."""


class QueueReport(msgspec.Struct, frozen=True):
    """One tenant's queue of one category; see `adapters.smpp.flow.backlog.Queue`."""

    tenant: str
    category: Category
    waiting: int
    per_second: float | None = None


class CarrierReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a carrier is: `trouble` says why it is given nothing, `wait` how many seconds its queue
    is long."""

    name: str
    prefixes: tuple[str, ...] = ()
    trouble: str | None = None
    wait: float = 0.0


class PoolReport(msgspec.Struct, frozen=True):
    """What one bind pool says. `boot` changes with its process; `arrived` counts by tenant
    the messages whose first request has come since then; `lag_s` is how many seconds those took
    from the message's beginning, of late."""

    boot: str
    lag_s: float
    arrived: dict[str, int]
    queues: list[QueueReport]
    carriers: list[CarrierReport] = []


_decode = msgspec.json.Decoder(PoolReport).decode


class PoolPressure:
    """Follows the bind pools at `urls`. Made on a running event loop.

    A message that would wait more than `longest` seconds for a carrier is not admitted.
    """

    def __init__(self, urls: Sequence[str], key: str, *, longest: float) -> None:
        self._longest = longest
        self._header = f"authorization: Bearer {key}\r\n"
        self._clients = {url: HttpClient(url, connections=1, timeout=_TIMEOUT) for url in urls}
        self._reports: dict[str, PoolReport] = {}
        self._carriers: dict[str, CarrierReport] = {}
        self._seen: dict[str, tuple[str, dict[str, int]]] = {}
        self._heard_at: dict[str, float] = {}
        self._on_the_way: Counter[str] = Counter()
        self._handing_over = 0
        self._waiting: Counter[tuple[str, int]] = Counter()
        self._pace: dict[str, float] = {}
        self._lag = 0.0
        self._arrivals = _Rate()
        self._let_in = _Rate()
        self._let_in_to_pools = _Rate()
        self._handed_over = _Rate()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._summed_up_at = loop.time()
        self._gate = Gate(loop)
        self._following = loop.create_task(self._follow())

    async def close(self) -> None:
        """Stop asking."""
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        for client in self._clients.values():
            await client.close()

    def carriers(self) -> dict[str, CarrierReport]:
        """Every carrier as the pool that it is best at says; the same object between two
        questions. Empty while no pool has answered."""
        return self._carriers

    def excess(self, tenant: str, queue: str | None, category: Category) -> float:
        """See `domain.ports.Pressure`."""
        priority = PRIORITY[category]
        if queue == "sms":
            too_long = self._wait(tenant, priority) - self._longest
            if too_long > 0:
                return too_long
        return self._gate.full(tenant, priority)

    async def admit(self, tenant: str, queue: str | None, category: Category) -> float:
        """See `domain.ports.Pressure`."""
        too_long = self.excess(tenant, queue, category)
        too_long = too_long or await self._gate.enter(tenant, PRIORITY[category])
        if not too_long:
            self._handing_over += 1
            self._let_in.count += 1
            if queue == "sms":
                self._let_in_to_pools.count += 1
                self._on_the_way[tenant] += 1
        return too_long

    def _wait(self, tenant: str, priority: int) -> float:
        """Seconds until a message accepted now would be submitted; infinite when nothing is."""
        waiting = self._waiting[tenant, priority]
        pace = self._pace.get(tenant)
        if not waiting or pace is None:
            return self._lag if self._lag > _BEHIND else 0.0
        return (waiting + self._on_the_way[tenant]) / pace if pace else math.inf

    def standstill(self, channel: str) -> str | None:
        """See `domain.ports.Pressure`."""
        if channel != "sms" or not self._carriers:
            return None
        carriers = list(self._carriers.values())
        if not all(carrier.trouble for carrier in carriers):
            return None
        return ", ".join(f"{each.name} is {_in_a_word(each)}" for each in carriers[:_NAMED])

    def handed_over(self, tenant: str, queue: str | None, *, there: bool) -> None:
        """See `domain.ports.Pressure`."""
        self._handing_over -= 1
        self._handed_over.count += 1
        if queue == "sms" and not there:
            self._on_the_way[tenant] = max(self._on_the_way[tenant] - 1, 0)

    async def _follow(self) -> None:
        while True:
            await asyncio.gather(*(self._ask(url) for url in self._clients))
            self._sum_up()
            await asyncio.sleep(INTERVAL)

    async def _ask(self, url: str) -> None:
        try:
            answer = await self._clients[url].request("GET", _PATH, headers=self._header)
            if answer.status != HTTPStatus.OK:
                raise OSError(f"HTTP {answer.status}")
            report = _decode(answer.body)
        except (OSError, TimeoutError, msgspec.MsgspecError) as error:
            # What it last said holds: a pool that is gone takes nothing, and the count of what is
            # on the way goes on growing.
            logger.debug("no report from %s: %s", url, error)
            return
        boot, before = self._seen.get(url, (report.boot, report.arrived))
        if boot != report.boot:
            before = {}
        for tenant, count in report.arrived.items():
            arrived = count - before.get(tenant, 0)
            if arrived > 0:
                self._arrivals.count += arrived
                self._on_the_way[tenant] = max(self._on_the_way[tenant] - arrived, 0)
        self._heard_at[url] = self._loop.time()
        self._seen[url] = (report.boot, report.arrived)
        self._reports[url] = report

    def _sum_up(self) -> None:
        reports = list(self._reports.values())
        # What a pool said before it went would hold up all others for as long as it is gone.
        heard = [self._reports[url] for url in self._heard_lately()]
        self._lag = max((report.lag_s for report in heard), default=0.0)
        self._waiting = Counter()
        self._pace = {}
        self._carriers = _best_of_each(reports)
        for report in reports:
            for queue in report.queues:
                for priority in PRIORITY.values():
                    if PRIORITY[queue.category] <= priority:
                        self._waiting[queue.tenant, priority] += queue.waiting
            paces = {q.tenant: q.per_second for q in report.queues if q.per_second is not None}
            for tenant, pace in paces.items():
                self._pace[tenant] = self._pace.get(tenant, 0.0) + pace
        for tenant, count in self._on_the_way.items():
            # What never comes, since it was canceled or counted by another, is forgotten in time.
            self._on_the_way[tenant] = int(count * _KEPT)
        if not any(self._waiting.values()) and self._lag < _WELL:
            # Nothing is held up anywhere: what was counted and did not come was canceled, or went
            # to a pool that no longer says so.
            self._on_the_way.clear()
        self._set_pace()

    def _heard_lately(self) -> list[str]:
        oldest = self._loop.time() - _SILENT
        return [url for url, at in self._heard_at.items() if at > oldest]

    def _set_pace(self) -> None:
        now = self._loop.time()
        elapsed, self._summed_up_at = max(now - self._summed_up_at, 0.01), now
        arriving = self._arrivals.after(elapsed)
        handed_over = self._handed_over.after(elapsed)
        let_in, to_pools = self._let_in.after(elapsed), self._let_in_to_pools.after(elapsed)
        behind, through = _seconds(self._handing_over, handed_over), handed_over
        if self._heard_lately():
            # Where no pool says anything, others than theirs have nothing to suffer.
            behind = max(behind, self._lag)
            if to_pools >= _SHARE_THAT_TELLS * let_in:
                # The pools count what comes to them. The others fare as these do: Restate makes no
                # difference between them.
                behind = max(behind, _seconds(self._on_the_way.total(), arriving))
                through = arriving * max(let_in / max(to_pools, 1.0), 1.0)
        self._gate.adapt(behind, through, now)


class _Rate:
    """How many a second there were of late."""

    def __init__(self) -> None:
        self.count = 0
        self._rate = 0.0

    def after(self, elapsed: float) -> float:
        """Take in what was counted in the seconds since the last call."""
        counted, self.count = self.count / elapsed, 0
        self._rate += (counted - self._rate) * min(elapsed / _SMOOTHED_OVER, 1.0)
        return self._rate


def _seconds(waiting: int, a_second: float) -> float:
    """How far behind it is for so many to wait."""
    return waiting / max(a_second, 1.0) if waiting > _FEW else 0.0


def _in_a_word(carrier: CarrierReport) -> str:
    """What a client is told of a carrier's trouble: what an operator wants of it, but nothing of
    what it says itself, nor where it is."""
    said = (carrier.trouble or "").removeprefix(f"{carrier.name}: ")
    return said if said in _WANTED else "down"


def _best_of_each(reports: Sequence[PoolReport]) -> dict[str, CarrierReport]:
    found: dict[str, CarrierReport] = {}
    for report in reports:
        for carrier in report.carriers:
            known = found.get(carrier.name)
            if known is None or _goodness(carrier) < _goodness(known):
                found[carrier.name] = carrier
    return found


def _goodness(carrier: CarrierReport) -> tuple[bool, float]:
    return carrier.trouble is not None, carrier.wait
