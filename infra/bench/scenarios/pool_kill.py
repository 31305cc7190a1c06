"""[pool-kill] The pool dies between the responses and the receipts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import uvloop

from infra.bench.ledger import CONSERVATION
from infra.bench.scenario import Check, Run, Scenario, exactly
from infra.bench.site import TENANT, Peer, Site, site

MESSAGES = 1_000
_RATE = 200.0
_RECEIPTS_AFTER = 15.0
"""Seconds, long enough for all to be submitted first."""
_ANSWERED_WITHIN = 30.0

WAITING = exactly("responses had and receipts due when it died", MESSAGES)
CORRELATED = exactly("messages correlated afterwards", MESSAGES)
DUPLICATES = exactly("duplicates at the SMSC", 0)
REFUSED = exactly("requests refused for good", 0)


def run(run: Run) -> Sequence[Check]:
    """Submit all, kill, let the receipts come to the next process."""
    with site(run, Peer()) as stage:
        return uvloop.run(_measure(stage))


async def _measure(site: Site) -> Sequence[Check]:
    await site.warm_up()
    await site.smsc.set(receipt_delay=_RECEIPTS_AFTER)
    sent = await site.send("kill", rate=_RATE, count=MESSAGES, insist=True)
    waiting = await _all_answered(site)
    site.run.phase("killing the pool")
    site.stack.kill("pool")
    await asyncio.to_thread(site.stack.wait_ready, "pool", 15.0)
    books = await site.settle({TENANT: sent})
    seen = await site.seen()
    return (
        WAITING.check(waiting),
        CORRELATED.check(books.correlated),
        DUPLICATES.check(seen.duplicates),
        REFUSED.check(sum(sent.refused.values())),
        *books.checks(seen),
    )


async def _all_answered(site: Site) -> int:
    """Messages that the SMSC has answered and not reported on, once that is all of them."""
    deadline = time.monotonic() + _ANSWERED_WITHIN
    while True:
        stats = await site.smsc.stats()
        waiting = int(stats["accepted"] - stats["receipts_sent"])
        if waiting >= MESSAGES or time.monotonic() > deadline:
            # The last responses are on their way to the journal, 10 ms and a commit.
            await asyncio.sleep(0.5)
            return waiting
        await asyncio.sleep(0.05)


SCENARIO = Scenario(
    "pool-kill",
    f"kill -9 of the pool with {MESSAGES:,} messages between response and receipt",
    (WAITING, CORRELATED, DUPLICATES, REFUSED, *CONSERVATION),
    run,
)
