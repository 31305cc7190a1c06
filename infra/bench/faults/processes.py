"""kill -9 and SIGSTOP. What was killed is started again, as an operator's supervisor would."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Final

from infra.bench.faults import Fault, Strike
from infra.bench.site import EVERYTHING, Site

_FROZEN: Final = (1.0, 6.0)
"""Seconds: on both sides of what enquire_link, health checks and clients wait for."""
_RELAY_FROZEN: Final = (1.0, 9.0)
"""On both sides of the relay's timeout."""


def _kill(*names: str) -> Strike:
    async def strike(site: Site, chance: random.Random) -> None:
        for name in names:
            site.stack.kill(name)

    return strike


def _freeze(name: str, seconds: tuple[float, float]) -> Strike:
    async def strike(site: Site, chance: random.Random) -> None:
        site.stack.kill(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(chance.uniform(*seconds))
        finally:
            site.stack.kill(name, signal.SIGCONT)

    return strike


FAULTS: Final = (
    *(Fault(f"{name}: kill -9", _kill(name), weight=3) for name in EVERYTHING),
    *(Fault(f"{name}: SIGSTOP", _freeze(name, _FROZEN), weight=2) for name in EVERYTHING),
    Fault("all of ours: kill -9", _kill(*EVERYTHING)),
    # Never killed: what it has been given is half of the books.
    Fault("mail relay: SIGSTOP", _freeze("mail", _RELAY_FROZEN), weight=2),
)
