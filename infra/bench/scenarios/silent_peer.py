"""[silent-peer] The carrier's socket stays open, and nothing comes out of it any more."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

import uvloop

from infra.bench.ledger import CONSERVATION
from infra.bench.relay import Relay
from infra.bench.scenario import Check, Run, Scenario, at_least, below, exactly
from infra.bench.site import TENANT, Peer, Site, site
from infra.local.ports import Ports

_RATE = 50.0
_EVERY = 10.0
"""Seconds between two silences; the first replacement must be over by then."""

REPLACED = below("longest time to a bind in its place", 5, "s")
SILENCES = at_least("silences", 1)
REFUSED = exactly("requests refused for good", 0)


def run(run: Run) -> Sequence[Check]:
    """A relay between the pool and the simulator falls silent; new connections through it work."""
    port = Ports.free().smsc
    with site(run, Peer(account={"hosts": [f"127.0.0.1:{port}"]})) as stage:
        return uvloop.run(_measure(stage, port))


async def _measure(site: Site, port: int) -> Sequence[Check]:
    async with Relay(site.smsc.port) as relay:
        await relay.listen(port)
        await site.warm_up()
        silences = asyncio.create_task(_silences(site, relay))
        count = int(_RATE * site.run.duration)
        sent = await site.send("silence", rate=_RATE, count=count, insist=True)
        times = await silences
        books = await site.settle({TENANT: sent})
        return (
            REPLACED.check(max(times, default=None)),
            SILENCES.check(len(times)),
            REFUSED.check(sum(sent.refused.values())),
            *books.checks(await site.seen()),
        )


async def _silences(site: Site, relay: Relay) -> list[float]:
    """Seconds from each silence to the next bind's answer."""
    chance = random.Random(site.run.seed)
    times: list[float] = []
    end = time.monotonic() + site.run.duration
    while True:
        # At any moment between two enquire_links.
        await asyncio.sleep(_EVERY * chance.uniform(0.7, 1.0) - (times[-1] if times else 0.0))
        if time.monotonic() > end:
            return times
        silent_at, next_one = time.monotonic(), relay.connections
        relay.silence()
        while not (answers := [at for n, at in relay.answered_at.items() if n >= next_one]):
            await asyncio.sleep(0.01)
            if time.monotonic() > silent_at + site.run.duration:
                return [*times, site.run.duration]
        times.append(min(answers) - silent_at)


SCENARIO = Scenario(
    "silent-peer",
    f"The peer falls silent about every {_EVERY:.0f} s, its sockets stay open",
    (REPLACED, SILENCES, REFUSED, *CONSERVATION),
    run,
    duration=60.0,
)
