"""[early-receipts] A third of the receipts overtake the response of their own submission."""

from __future__ import annotations

from collections.abc import Sequence

import uvloop

from infra.bench.ledger import CONSERVATION
from infra.bench.scenario import Check, Run, Scenario, at_least, exactly
from infra.bench.site import TENANT, Peer, Site, site

MESSAGES = 10_000
_RATE = 250.0
_EARLY = 0.33

CORRELATED = exactly("messages correlated with their receipts", MESSAGES)
OVERTAKING = at_least("receipts that overtook the response", MESSAGES * _EARLY * 0.9)
REFUSED = exactly("requests refused for good", 0)


def run(run: Run) -> Sequence[Check]:
    """All messages through everything."""
    with site(run, Peer()) as stage:
        return uvloop.run(_measure(stage))


async def _measure(site: Site) -> Sequence[Check]:
    await site.warm_up()
    await site.smsc.set(early_receipts=_EARLY)
    sent = await site.send("early", rate=_RATE, count=MESSAGES, insist=True)
    books = await site.settle({TENANT: sent})
    stats = await site.smsc.stats()
    return (
        CORRELATED.check(books.correlated),
        OVERTAKING.check(stats["receipts_early"]),
        REFUSED.check(sum(sent.refused.values())),
        *books.checks(await site.seen()),
    )


SCENARIO = Scenario(
    "early-receipts",
    f"{MESSAGES:,} messages, {_EARLY:.0%} of the receipts come before the response",
    (CORRELATED, OVERTAKING, REFUSED, *CONSERVATION),
    run,
)
