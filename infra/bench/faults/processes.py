"""kill -9 and SIGSTOP. What was killed is started again, as an operator's supervisor would."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Final

from infra.bench.faults import Broken, Fault, Strike
from infra.bench.site import EVERYTHING, Site

_FROZEN: Final = (1.0, 6.0)
"""Seconds: on both sides of what enquire_link, health checks and clients wait for."""
_RELAY_FROZEN: Final = (1.0, 9.0)
"""On both sides of the relay's timeout."""


def kill(*names: str) -> Strike:
    """Those of these processes that run die."""

    async def strike(site: Site, chance: random.Random, broken: Broken) -> bool:
        up = [name for name in names if site.stack.pid(name) is not None]
        for name in up:
            site.stack.kill(name)
        return bool(up)

    return strike


def freeze(name: str, seconds: tuple[float, float]) -> Strike:
    """A process stands still for so long, at least and at most."""

    async def strike(site: Site, chance: random.Random, broken: Broken) -> bool:
        with broken.alone(f"{name} runs") as free:
            if not free or site.stack.pid(name) is None:
                return False
            site.stack.kill(name, signal.SIGSTOP)
            try:
                await asyncio.sleep(chance.uniform(*seconds))
            finally:
                site.stack.kill(name, signal.SIGCONT)
        return True

    return strike


FAULTS: Final = (
    *(Fault(f"{name}: kill -9", kill(name), weight=3) for name in EVERYTHING),
    *(Fault(f"{name}: SIGSTOP", freeze(name, _FROZEN), weight=2) for name in EVERYTHING),
    Fault("all of ours: kill -9", kill(*EVERYTHING)),
    # Never killed: what it has been given is half of the books.
    Fault("mail relay: SIGSTOP", freeze("mail", _RELAY_FROZEN), weight=2),
)
