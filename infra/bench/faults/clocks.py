"""Steps of the clock, as after a machine's sleep or by a careless hand.

A step is a line in a file that our Python processes follow (`infra/bench/stepped_clock.py`); they
share it, as they share a machine. restate-server keeps the true time: it is then a machine of its
own. So do the simulators, whose counts are the books' other side.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from infra.bench.faults import Broken, Fault
from infra.bench.site import Site

STEPPED: Final = ("endpoint", "pool", "api")
STEPS: Final = (-50.0, -20.0, -5.0, -1.0, 1.0, 5.0, 20.0, 50.0)
"""Seconds. Within the minute by which a client's clock may differ: beyond it, a message that the
client schedules is refused, and rightly."""
_LASTS: Final = (2.0, 8.0)
_FILE: Final = "clock"


POSSIBLE: Final = importlib.util.find_spec("time_machine") is not None


def commands(directory: Path) -> Mapping[str, Sequence[str]]:
    """Our processes with a clock that can be stepped; none where time-machine is missing."""
    if not POSSIBLE:
        return {}
    file = directory / _FILE
    _set(file, 0.0)
    stepped = [sys.executable, "-m", "infra.bench.stepped_clock", str(file)]
    return {name: [*stepped, f"infra.processes.{name}"] for name in STEPPED}


def _set(file: Path, seconds: float) -> None:
    # Replaced, not written: it may be read at any moment.
    draft = file.with_suffix(".new")
    draft.write_text(f"{seconds:+g}\n")
    draft.replace(file)


async def _step(site: Site, chance: random.Random, broken: Broken) -> bool:
    file = site.run.directory / _FILE
    with broken.alone("clock") as free:
        if not free:
            return False
        _set(file, chance.choice(STEPS))
        await asyncio.sleep(chance.uniform(*_LASTS))
        _set(file, 0.0)
    return True


FAULTS: Final = (Fault("clock: stepped and stepped back", _step, weight=4, possible=POSSIBLE),)
