"""[link-kill] The link is cut with a full window, again and again; under both policies."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import uvloop

from domain.message import DeliveryPolicy
from domain.ports import LoggedMessage
from domain.timeline import Event
from infra.bench.ledger import CONSERVATION, Seen
from infra.bench.load import one_time_password
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, below, exactly, percentile
from infra.bench.site import TENANT, Peer, Site, site

WINDOW = 50
_EVERY = 5.0
_RESPONSE_DELAY = 0.5
_RATE = 1.1 * WINDOW / _RESPONSE_DELAY
"""A little more than the window carries, so that it is full at each cut."""
_RECEIPT_DELAY = 4.0
"""Seconds, longer than a receipt is waited for before an unknown outcome is acted upon."""

REBIND = below("rebind, p99", 1.0, "s")
CUTS = at_least("cuts", 1)
CUT_OFF = at_least("responses lost in a cut, on average", 0.9 * WINDOW)
PEAK = at_most("peak in flight, as the SMSC saw it", WINDOW)
DUPLICATES = at_most("duplicates under at_least_once", "outcomes unknown")
AT_MOST_ONCE = exactly("duplicates under at_most_once", 0)
REFUSED = exactly("requests refused for good", 0)


def run(run: Run) -> Sequence[Check]:
    """Both policies by turns, so that each cut meets both."""
    account = {"window": WINDOW, "response_timeout": 10.0}
    with site(run, Peer(account=account)) as stage:
        return uvloop.run(_measure(stage))


async def _measure(site: Site) -> Sequence[Check]:
    await site.warm_up()
    await site.smsc.set(response_delay=_RESPONSE_DELAY, receipt_delay=_RECEIPT_DELAY)
    cutting = asyncio.create_task(_cut(site))
    count = int(_RATE * site.run.duration)
    sent = await site.send("link", rate=_RATE, count=count, order=_order, insist=True)
    cuts = await cutting
    await site.smsc.set(response_delay=0.0)
    books = await site.settle({TENANT: sent}, 120.0)
    seen, stats = await site.seen(), await site.smsc.stats()
    by_policy = {
        policy: [m for m in books.ended.values() if m.order.policy is policy]
        for policy in DeliveryPolicy
    }
    repeated = by_policy[DeliveryPolicy.AT_LEAST_ONCE]
    once = by_policy[DeliveryPolicy.AT_MOST_ONCE]
    unknown = books.count(Event.OUTCOME_UNKNOWN, repeated)
    return (
        REBIND.check(percentile(_rebinds(stats["links"]), 99)),
        CUTS.check(cuts),
        CUT_OFF.check(stats["responses_lost"] / max(cuts, 1)),
        PEAK.check(stats["peak_in_flight"]),
        DUPLICATES.check(_copies(repeated, books.ended, seen), unknown),
        AT_MOST_ONCE.check(_copies(once, books.ended, seen)),
        REFUSED.check(sum(sent.refused.values())),
        *books.checks(seen),
    )


def _order(number: int, text: str) -> dict[str, Any]:
    policy = tuple(DeliveryPolicy)[number % 2]
    return {**one_time_password(number, text), "delivery_policy": policy.value}


async def _cut(site: Site) -> int:
    """Cut the link every few seconds; how often."""
    cuts, began = 0, time.monotonic()
    for number in range(1, int(site.run.duration / _EVERY) + 1):
        await asyncio.sleep(began + number * _EVERY - time.monotonic())
        cuts += bool(await site.smsc.kill_links())
    return cuts


def _rebinds(links: Sequence[dict[str, Any]]) -> list[float]:
    """Seconds from each bind's end to the next one's beginning."""
    return [
        after["bound_at"] - before["closed_at"]
        for before, after in itertools.pairwise(links)
        if before["closed_at"] is not None
    ]


def _copies(among: Iterable[LoggedMessage], ended: Mapping[str, LoggedMessage], seen: Seen) -> int:
    """Submissions beyond the first, of these messages."""
    ids = {message.id for message in among}
    return sum(
        times - 1 for text, times in seen.copies.items() if text in ended and ended[text].id in ids
    )


SCENARIO = Scenario(
    "link-kill",
    f"The link is cut every {_EVERY:.0f} s with {WINDOW} in flight, under both delivery policies",
    (REBIND, CUTS, CUT_OFF, PEAK, DUPLICATES, AT_MOST_ONCE, REFUSED, *CONSERVATION),
    run,
    duration=60.0,
)
