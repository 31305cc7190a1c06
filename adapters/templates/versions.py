"""Versions ready to be rendered: those used lately are in memory, the others are made when asked
for.

To make one takes up to half a second of a processor (half a megabyte of HTML is read character by
character), so it is never done where messages wait that need another: not on the event loop, and
not where sections are read.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from domain.templates.definition import Compiled, Definition, compiled

MOST: Final = 64 * 2**20
"""Octets of memory that the versions of all tenants may take in one process, about."""
SHARE: Final = MOST // 4
"""Of these, one tenant's: whoever uses more pushes out its own, not the others'."""
REST: Final = 3.0
"""How long a tenant's next one waits, by the time that the last one took: so no tenant has more
than a quarter of the thread that makes them all."""

_BASE: Final = 2048
_PLACE: Final = 400
_decode = msgspec.json.Decoder(Definition).decode


class Key(NamedTuple):
    """A version. `made_at` is when the template was created: one that was removed and created
    again has none of the versions of before."""

    tenant: str
    name: str
    made_at: float
    version: int


class _Made(NamedTuple):
    version: Compiled
    weight: int


class _Turn:
    """A tenant's versions are made one at a time; the next not before `free_at`."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.free_at = 0.0


class Versions:
    """Of one process, for its event loop. `read` gives a version's definition as it is stored,
    None when there is none; it may block."""

    def __init__(
        self, read: Callable[[Key], bytes | None], *, most: int = MOST, share: int = SHARE
    ) -> None:
        self._read = read
        self._most = most
        self._share = share
        self._ready: OrderedDict[Key, _Made] = OrderedDict()
        self._weights: Counter[str] = Counter()
        self._turns: dict[str, _Turn] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="templates")

    @property
    def weight(self) -> int:
        """Octets of memory that they take, about."""
        return self._weights.total()

    def ready(self, key: Key) -> Compiled | None:
        """A version that is in memory."""
        found = self._ready.get(key)
        if found is None:
            return None
        self._ready.move_to_end(key)
        return found.version

    async def get(self, key: Key) -> Compiled | None:
        """A version, read and made ready if it has to be; None when there is none. Raises what
        `read` raises, and Faulty when what was good once is so no longer."""
        turn = self._turns.setdefault(key.tenant, _Turn())
        async with turn.lock:
            # Whoever was before may have made this one.
            if (found := self.ready(key)) is not None:
                return found
            loop = asyncio.get_running_loop()
            if (rest := turn.free_at - loop.time()) > 0:
                await asyncio.sleep(rest)
            made, took = await loop.run_in_executor(self._thread, self._make, key)
            turn.free_at = loop.time() + REST * took
            if made is None:
                return None
            self._keep(key, made)
            return made.version

    def _make(self, key: Key) -> tuple[_Made | None, float]:
        began = time.thread_time()
        source = self._read(key)
        made = None if source is None else _Made(compiled(_decode(source)), _weight(source))
        return made, time.thread_time() - began

    def _keep(self, key: Key, made: _Made) -> None:
        self._ready[key] = made
        self._weights[key.tenant] += made.weight
        while self._weights[key.tenant] > self._share:
            self._drop(next(one for one in self._ready if one.tenant == key.tenant))
        while self.weight > self._most:
            self._drop(next(iter(self._ready)))

    def _drop(self, key: Key) -> None:
        left = self._weights[key.tenant] - self._ready.pop(key).weight
        if left:
            self._weights[key.tenant] = left
        else:
            del self._weights[key.tenant]


def _weight(source: bytes) -> int:
    """What a version takes in memory: its texts twice, as they were written and in pieces, with up
    to four octets a character, and its places."""
    texts = len(source) * (2 if source.isascii() else 8)
    return _BASE + texts + _PLACE * source.count(b"{{")
