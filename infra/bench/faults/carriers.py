"""What carriers do wrong: they are silent, down, slow, busy, or odd with their receipts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.bench.faults import Broken, Fault, Strike
from infra.bench.site import Site
from infra.bench.smsc import Smsc

RESPONSE_DELAY: Final = 0.3
"""Seconds that a healthy carrier takes, as one that is far away: something is always in flight."""
RECEIPT_DELAY: Final = 0.2


@dataclass(frozen=True, slots=True)
class CarrierFault:
    """Options of one simulator, and what they were, put back after a while. Seconds. `cuts` is for
    what only new connections would meet."""

    name: str
    options: Mapping[str, Any]
    healthy: Mapping[str, Any]
    least: float = 2.0
    most: float = 8.0
    cuts: bool = False


CARRIER_FAULTS: Final = (
    CarrierFault("silent", {"mute": True}, {"mute": False}),
    CarrierFault("down", {"accept_binds": False}, {"accept_binds": True}),
    CarrierFault(
        "binds refused", {"bind_status": "ESME_RBINDFAIL"}, {"bind_status": None}, cuts=True
    ),
    CarrierFault("throttling", {"rate": 10}, {"rate": 0}),
    CarrierFault(
        "queue full",
        {"rate": 10, "throttle_status": "ESME_RMSGQFUL"},
        {"rate": 0, "throttle_status": "ESME_RTHROTTLED"},
    ),
    CarrierFault(
        "system errors",
        {"status_every": {"n": 3, "status": "ESME_RSYSERR"}},
        {"status_every": None},
    ),
    CarrierFault("slow", {"response_delay": 1.5}, {"response_delay": RESPONSE_DELAY}),
    CarrierFault("early receipts", {"early_receipts": 0.5}, {"early_receipts": 0.0}),
    CarrierFault("receipts twice", {"duplicate_receipts": 0.5}, {"duplicate_receipts": 0.0}),
    CarrierFault("receipts shuffled", {"shuffle_receipts": 3.0}, {"shuffle_receipts": 0.0}),
    CarrierFault("receipts late", {"receipt_delay": 6.0}, {"receipt_delay": RECEIPT_DELAY}),
    CarrierFault("receipts on any bind", {"receipts_to": "any"}, {"receipts_to": "same"}),
)


async def suffer(smsc: Smsc, fault: CarrierFault, chance: random.Random, broken: Broken) -> bool:
    """Let one carrier have one of these for a while; False when it has another one that changes
    the same."""
    with broken.alone(*(f"carrier {smsc.name}: {option}" for option in fault.options)) as free:
        if not free:
            return False
        await smsc.set(**fault.options)
        if fault.cuts:
            await smsc.kill_links()
        await asyncio.sleep(chance.uniform(fault.least, fault.most))
        await smsc.set(**fault.healthy)
    return True


async def _cut(site: Site, chance: random.Random, broken: Broken) -> bool:
    return await _one(site, chance).kill_links() > 0


def _one(site: Site, chance: random.Random) -> Smsc:
    return site.smscs[chance.choice(sorted(site.smscs))]


def _strike(fault: CarrierFault) -> Strike:
    async def strike(site: Site, chance: random.Random, broken: Broken) -> bool:
        return await suffer(_one(site, chance), fault, chance, broken)

    return strike


FAULTS: Final = (
    *(Fault(f"carrier: {fault.name}", _strike(fault)) for fault in CARRIER_FAULTS),
    Fault("carrier: links cut", _cut, weight=3),
)
