"""A full disk, for one process: the kernel refuses whatever it writes to a file.

RLIMIT_FSIZE is set to nothing from outside, while the process runs, and put back: every write()
to any of its files fails (EFBIG), those to its databases as well as those to its log. Python
ignores the signal that comes with it. Linux only: elsewhere no process may set another's limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import sys
from typing import Final

from infra.bench.faults import Broken, Fault, Strike
from infra.bench.site import Site

_LASTS: Final = (0.5, 4.0)


def _limit(pid: int, *, full: bool) -> None:
    assert sys.platform == "linux"
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0 if full else most, most))


def _fill(name: str) -> Strike:
    async def strike(site: Site, chance: random.Random, broken: Broken) -> bool:
        pid = site.stack.pid(name)
        with broken.alone(f"disk of {pid}") as free:
            if pid is None or not free:
                return False
            try:
                _limit(pid, full=True)
            except ProcessLookupError:
                return False
            await asyncio.sleep(chance.uniform(*_LASTS))
            # Its successor, if it was killed meanwhile, began with a disk that has room.
            with contextlib.suppress(ProcessLookupError):
                _limit(pid, full=False)
        return True

    return strike


_POSSIBLE: Final = sys.platform == "linux"
FAULTS: Final = (
    Fault("pool: disk full", _fill("pool"), weight=4, possible=_POSSIBLE),
    Fault("endpoint: disk full", _fill("endpoint"), possible=_POSSIBLE),
    Fault("api: disk full", _fill("api"), possible=_POSSIBLE),
)
