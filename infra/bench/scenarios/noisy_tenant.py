"""[noisy-tenant] One tenant sends ten times what it may; the others must not notice.

Short rounds with and without the noise take turns, and medians are compared: a disk that stands
still for a moment decides the p99 of its round, and whatever else the machine does falls on both
alike. Without the noise the tenant sends as much as it may, so the difference is what its refusals
cost; the others begin once it has used up the burst that a second's silence allows anybody. A
latency counts from when the request was due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from http import HTTPStatus
from statistics import median
from typing import Final

import uvloop

from adapters.store.tenants import change_tenant
from infra.bench.ledger import CONSERVATION
from infra.bench.load import Sent
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly, percentile
from infra.bench.site import QUIET_TENANT, TENANT, Peer, Site, site

LIMIT: Final = 20.0
"""Messages a second that the noisy tenant may send."""
NOISE: Final = 10
QUIET_RATE: Final = 60.0
_ROUNDS: Final = 14
_AHEAD: Final = 0.5
"""Seconds that the noisy tenant begins before the others: what it has saved up is gone by then."""
_SEEN_AFTER: Final = 1.5
"""Seconds after which every process knows the limit."""

RATIO: Final = at_most("others' p99, with the noise : without", 1.10)
QUIET: Final = exactly("others' messages that were refused", 0)
LOUD: Final = at_least("noisy tenant's refusals that are 429", 1.0)
SHARE: Final = at_most("noisy tenant's accepted : allowed", 1.02)
ENOUGH: Final = at_least("noisy tenant's accepted : allowed, at least", 0.80)
BEFORE: Final = at_most("others' p99 without, median of the rounds", 1_000, "ms")
AFTER: Final = at_most("others' p99 with the noise, median of the rounds", 1_000, "ms")


def run(run: Run) -> Sequence[Check]:
    """On a stack of its own, by the API."""
    with site(run, Peer()) as stage:
        return uvloop.run(_measure(stage))


async def _measure(stage: Site) -> Sequence[Check]:
    await stage.warm_up()
    limit = {"limits": {"tenant": {"count": int(LIMIT), "seconds": 1.0}}}
    await asyncio.to_thread(change_tenant, stage.log, TENANT, limit, actor="bench")
    await asyncio.sleep(_SEEN_AFTER)
    seconds = stage.run.duration / (2 * _ROUNDS) - _AHEAD
    quiet: dict[bool, list[float]] = {False: [], True: []}
    others, noisy, orderly = Sent(), Sent(), Sent()
    allowed = 0.0
    for number in range(2 * _ROUNDS):
        # By turns, and each pair the other way round: what drifts falls on both alike.
        loud = number % 4 in (1, 2)
        stage.run.progress("with the noise" if loud else "without", number, 2 * _ROUNDS)
        rate = LIMIT * NOISE if loud else LIMIT * 0.9
        began = time.monotonic()
        noise = asyncio.create_task(
            stage.send(
                f"noisy {number}", rate=rate, count=int(rate * (_AHEAD + seconds)), quiet=True
            )
        )
        await asyncio.sleep(_AHEAD)
        heard = await stage.send(
            f"quiet {number}",
            rate=QUIET_RATE,
            count=int(QUIET_RATE * seconds),
            tenant=QUIET_TENANT,
            quiet=True,
        )
        said = await noise
        others += heard
        if loud:
            noisy += said
            # A bucket that is full when the round begins, and what comes into it meanwhile.
            allowed += LIMIT + LIMIT * (time.monotonic() - began)
        else:
            orderly += said
        quiet[loud].append(percentile(heard.accept_ms, 99) or 0.0)
    books = await stage.settle({TENANT: orderly + noisy, QUIET_TENANT: others})
    refused = sum(noisy.refused.values())
    by_limit = noisy.refused.get(str(HTTPStatus.TOO_MANY_REQUESTS.value), 0)
    return (
        RATIO.check(median(quiet[True]) / median(quiet[False])),
        QUIET.check(sum(others.refused.values())),
        LOUD.check(by_limit / refused if refused else None),
        SHARE.check(len(noisy.due) / allowed),
        ENOUGH.check(len(noisy.due) / allowed),
        BEFORE.check(median(quiet[False])),
        AFTER.check(median(quiet[True])),
        *books.checks(await stage.seen()),
    )


SCENARIO = Scenario(
    "noisy-tenant",
    f"a tenant that sends {NOISE} times the {LIMIT:.0f}/s that it may, and another at "
    f"{QUIET_RATE:.0f}/s",
    (RATIO, QUIET, LOUD, SHARE, ENOUGH, BEFORE, AFTER, *CONSERVATION),
    run,
    duration=140.0,
)
