"""[throttle] A carrier that takes 200 a second under a flood of 1,000 a second."""

from __future__ import annotations

from collections.abc import Sequence

import uvloop

from infra.bench.flood import CARRIER_RATE, FLOOD_RATE, QUEUE_WAIT, Flooded, flood, narrow_site
from infra.bench.ledger import CONSERVATION
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly

OFFERED = at_least("flood", 0.9 * FLOOD_RATE, "requests/s")
GOODPUT = at_least("goodput of the carrier's rate", 95, "%")
REJECTS = at_most("rejects of submits", 2, "%")
REFUSED = at_least("answers 429", 1)
RETRY_AFTER = at_least("Retry-After of a 429", 1, "s")
OTHERWISE = exactly("requests refused otherwise", 0)
MEMORY = at_most("memory at the end over that after a third", 1.1, "times")


def run(run: Run) -> Sequence[Check]:
    """One tenant floods by the API."""
    with narrow_site(run) as stage:
        flooded = uvloop.run(flood(stage, otps=False))
    refused = dict(flooded.flood.refused)
    many = refused.pop("429", 0)
    after = flooded.retry_after
    stats = flooded.stats
    return (
        OFFERED.check(flooded.flood.answered / (flooded.ended - flooded.began)),
        GOODPUT.check(_goodput(flooded)),
        REJECTS.check(100 * stats["throttled"] / max(stats["submits"], 1)),
        REFUSED.check(many),
        RETRY_AFTER.check(int(after) if after is not None else None),
        OTHERWISE.check(sum(refused.values())),
        MEMORY.check(flooded.growth),
        *flooded.books.checks(flooded.seen),
    )


def _goodput(flooded: Flooded) -> float:
    """Percent of what the carrier would have taken in the whole seconds of the flood."""
    first, last = int(flooded.began) + 1, int(flooded.ended)
    taken = sum(s["accepted"] for s in flooded.stats["per_second"] if first <= s["t"] < last)
    return 100 * taken / (CARRIER_RATE * max(last - first, 1))


SCENARIO = Scenario(
    "throttle",
    f"A carrier that takes {CARRIER_RATE:.0f}/s under {FLOOD_RATE:,.0f}/s of bulk; queues may hold "
    f"{QUEUE_WAIT:.0f} s",
    (OFFERED, GOODPUT, REJECTS, REFUSED, RETRY_AFTER, OTHERWISE, MEMORY, *CONSERVATION),
    run,
    duration=60.0,
)
