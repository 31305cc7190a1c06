"""[mixed-faults] An hour's faults in five minutes: carriers, links and our own processes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from domain.message import Category, DeliveryPolicy
from infra.bench.faults import Broken, processes
from infra.bench.faults.carriers import CARRIER_FAULTS, RESPONSE_DELAY, suffer
from infra.bench.ledger import CONSERVATION
from infra.bench.load import BLOCK, by_day, one_time_password, recipient
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly
from infra.bench.site import TENANT, Peer, Site, site

_RATE = 40.0
_WINDOW = 20
_BINDS = 2
_PREFIXES = {"first": ["45"], "second": ["45", *(f"45201{block}" for block in range(0, 10, 2))]}
"""Each is preferred for half of the numbers, and takes the others when it must."""
_STEP_TIMEOUT = 120.0
_DRAIN = 180.0
_PAUSE = (3.0, 7.0)
"""Seconds between two faults: about as many as an hour has minutes."""
_FROZEN = (1.0, 4.0)
_UNDELIVERABLE = "+4520109903"
"""The simulator's receipt says UNDELIV."""


KILLED = ("pool", "pool", "endpoint", "api", "restate")
"""The pool is what this is about, so it dies more often."""

FAULTS = at_least("faults that struck", 1)
PEAK = at_most("peak in flight on a bind, as the SMSCs saw it", _WINDOW)
REFUSED = exactly("requests refused for good", 0)


def run(run: Run) -> Sequence[Check]:
    """Two carriers with two binds each; what happens when is the seed's."""
    peers = [
        Peer(
            name,
            flags=("--response-delay", str(RESPONSE_DELAY)),
            account={
                "window": _WINDOW,
                "binds": _BINDS,
                "response_timeout": 5.0,
                "prefixes": prefixes,
            },
        )
        for name, prefixes in _PREFIXES.items()
    ]
    with site(run, *peers) as stage:
        return uvloop.run(_measure(stage))


async def _measure(site: Site) -> Sequence[Check]:
    await site.warm_up()
    breaking = asyncio.create_task(_break(site))
    count = int(_RATE * site.run.duration)
    sent = await site.send("mixed", rate=_RATE, count=count, order=_order, insist=True)
    faults = await breaking
    books = await site.settle({TENANT: sent}, _DRAIN)
    peaks = [(await smsc.stats())["peak_in_flight"] for smsc in site.smscs.values()]
    return (
        FAULTS.check(faults),
        PEAK.check(max(peaks)),
        REFUSED.check(sum(sent.refused.values())),
        *books.checks(await site.seen()),
    )


def _order(number: int, text: str) -> dict[str, Any]:
    """Every category under both policies, and some that cannot be delivered."""
    # Each in another block of numbers than the one before.
    to = _UNDELIVERABLE if number % 20 == 19 else recipient(number * (BLOCK + 1))
    return {
        **one_time_password(number, text),
        "to": {"sms": to},
        "plan": [{"channel": "sms", "timeout": _STEP_TIMEOUT}],
        "category": tuple(Category)[number % 3].value,
        "recipient": {"time_zone": by_day()},
        "delivery_policy": tuple(DeliveryPolicy)[number // 3 % 2].value,
    }


async def _break(site: Site) -> int:
    """Fault upon fault for the run's duration, then all is mended; how many struck."""
    chance, broken = random.Random(site.run.seed), Broken()
    end = time.monotonic() + site.run.duration
    struck: list[asyncio.Task[bool]] = []
    async with asyncio.TaskGroup() as tasks:
        while time.monotonic() + _PAUSE[1] < end:
            await asyncio.sleep(chance.uniform(*_PAUSE))
            struck.append(tasks.create_task(_one(site, chance, broken)))
    return sum(task.result() for task in struck)


async def _one(site: Site, chance: random.Random, broken: Broken) -> bool:
    smsc = chance.choice(list(site.smscs.values()))
    kind = chance.choices(("carrier", "cut", "kill", "freeze"), (12, 4, 4, 1))[0]
    if kind == "carrier":
        return await suffer(smsc, chance.choice(CARRIER_FAULTS), chance, broken)
    if kind == "cut":
        return await smsc.kill_links() > 0
    if kind == "kill":
        return await processes.kill(chance.choice(KILLED))(site, chance, broken)
    return await processes.freeze("pool", _FROZEN)(site, chance, broken)


SCENARIO = Scenario(
    "mixed-faults",
    f"Two carriers, {len(CARRIER_FAULTS)} faults of theirs, links cut, processes killed and frozen",
    (FAULTS, PEAK, REFUSED, *CONSERVATION),
    run,
    duration=300.0,
)
