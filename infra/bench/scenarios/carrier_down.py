"""[carrier-down] Of two carriers the preferred one goes down, and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import uvloop

from domain.ports import LoggedMessage
from infra.bench.ledger import CONSERVATION, Books
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly, percentile
from infra.bench.site import TENANT, Peer, Site, site
from infra.bench.smsc import Smsc

_RATE = 100.0
_BACK_WITHIN = 15.0
"""Seconds for a carrier that was marked down to be dialed again, and to be given traffic."""

BEFORE = at_least("messages by the first carrier before", 1)
MOVED = at_most("accept → submit by the second carrier while the first is down, p99", 1.0, "s")
MOVED_ALL = at_least("of these, submitted by the second carrier", 100, "%")
BACK = at_most("from healing to traffic on the first carrier", _BACK_WITHIN, "s")
REFUSED = exactly("requests refused for good", 0)


@dataclass(frozen=True, slots=True)
class Outage:
    """When the first carrier went down and when it was healed, seconds since the epoch."""

    began: float
    ended: float


def run(run: Run) -> Sequence[Check]:
    """The first carrier is the preferred one by its place in the configuration."""
    with site(run, Peer("first"), Peer("second")) as stage:
        return uvloop.run(_measure(stage))


async def _measure(site: Site) -> Sequence[Check]:
    first, second = site.smscs["first"], site.smscs["second"]
    await site.warm_up()
    breaking = asyncio.create_task(_break(first, site.run.duration))
    count = int(_RATE * site.run.duration)
    sent = await site.send("down", rate=_RATE, count=count, insist=True)
    outage = await breaking
    books = await site.settle({TENANT: sent})
    by_first, by_second = await _submitted_at(first), await _submitted_at(second)
    waits, elsewhere = _waits(books, by_second, outage)
    returned = [at - outage.ended for at in by_first.values() if at > outage.ended]
    return (
        BEFORE.check(sum(at < outage.began for at in by_first.values())),
        MOVED.check(percentile(waits, 99)),
        MOVED_ALL.check(100 * len(waits) / max(len(waits) + elsewhere, 1)),
        BACK.check(min(returned, default=None)),
        REFUSED.check(sum(sent.refused.values())),
        *books.checks(await site.seen()),
    )


async def _break(carrier: Smsc, seconds: float) -> Outage:
    """Healthy for a quarter of the time, down for the next, healthy again for the rest."""
    await asyncio.sleep(seconds / 4)
    began = time.time()
    await carrier.set(accept_binds=False)
    await asyncio.sleep(seconds / 4)
    await carrier.set(accept_binds=True)
    return Outage(began, time.time())


async def _submitted_at(smsc: Smsc) -> dict[str, float]:
    """When the first submission of each text was taken."""
    first: dict[str, float] = {}
    for submit in await smsc.submits():
        if submit["message_id"]:
            first.setdefault(submit["text"], submit["at"])
    return first


def _waits(books: Books, by_second: Mapping[str, float], outage: Outage) -> tuple[list[float], int]:
    """Of the messages accepted during the outage: the seconds that each waited for the second
    carrier, and the number that it never got."""
    waits, elsewhere = [], 0
    for text, message in books.ended.items():
        accepted = _accepted_at(message)
        # Not the last second: what waits at the moment of healing may go either way.
        if not outage.began < accepted < outage.ended - 1.0:
            continue
        if text in by_second:
            waits.append(by_second[text] - accepted)
        else:
            elsewhere += 1
    return waits, elsewhere


def _accepted_at(message: LoggedMessage) -> float:
    return message.order.accepted_at.timestamp()


SCENARIO = Scenario(
    "carrier-down",
    "The first of two carriers cuts its binds, refuses new ones for a while, and comes back",
    (BEFORE, MOVED, MOVED_ALL, BACK, REFUSED, *CONSERVATION),
    run,
    duration=60.0,
)
