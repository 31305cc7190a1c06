"""What providers do wrong that speak HTTP: errors, throttling, answers that come too late."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.bench.faults import Broken, Fault, Strike
from infra.bench.sandbox import Sandbox
from infra.bench.site import Site

PROVIDERS: Final = ("twilio", "sendgrid", "fcm")
"""Those that something is sent by here."""
_LASTS: Final = (2.0, 8.0)


@dataclass(frozen=True, slots=True)
class ProviderFault:
    """Options of one provider of the sandbox, and what they were."""

    name: str
    options: Mapping[str, Any]
    healthy: Mapping[str, Any]


PROVIDER_FAULTS: Final = (
    ProviderFault("every answer 500", {"fail_rate": 1.0}, {"fail_rate": 0.0}),
    ProviderFault("one of three answers 500", {"fail_rate": 0.33}, {"fail_rate": 0.0}),
    ProviderFault("429", {"rate": 1}, {"rate": 0}),
    # Taken, and answered long after the adapter's patience is over.
    ProviderFault("answers time out", {"latency_ms": 60_000}, {"latency_ms": 0}),
    ProviderFault("slow", {"latency_ms": 1_500}, {"latency_ms": 0}),
    ProviderFault("callbacks twice", {"duplicate": 0.5}, {"duplicate": 0.0}),
    ProviderFault("callbacks early", {"early": 0.5}, {"early": 0.0}),
)


def _strike(fault: ProviderFault) -> Strike:
    async def strike(site: Site, chance: random.Random, broken: Broken) -> bool:
        sandbox = Sandbox(site.stack.providers_url)
        name = chance.choice(PROVIDERS)
        with broken.alone(*(f"provider {name}: {option}" for option in fault.options)) as free:
            if not free:
                return False
            await sandbox.set(name, **fault.options)
            await asyncio.sleep(chance.uniform(*_LASTS))
            await sandbox.set(name, **fault.healthy)
        return True

    return strike


FAULTS: Final = tuple(Fault(f"provider: {fault.name}", _strike(fault)) for fault in PROVIDER_FAULTS)
