"""How much one tenant's webhooks may take: of this process, and of Restate and the guests behind
it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from adapters.limits.buckets import Buckets
from adapters.wasm.installed import NOTHING_UNREAD, Unread
from domain.limits import Cap
from handlers.api.problems import Problem
from handlers.unread import MOST_UNREAD

POSTS: Final = Cap(count=10_000, seconds=5.0)
"""Of a tenant in one process: 2,000 a second in the long run, which are three for each of more than
600 messages a second."""
_PIECE: Final = 65_536
OCTETS: Final = Cap(count=512, seconds=2.0)
"""Of a tenant in one process, in pieces of 64 KiB, at least one for a webhook that is larger than a
piece: 16 MiB a second, and twice that at once."""
_LOOK_AGAIN: Final = 60
"""Seconds after which a provider may ask whether its tenant's adapter has been mended."""


class WebhookLimits:
    """Takes the measure of webhooks whose signature is good. Others cost nobody anything but the
    check, and would otherwise use up what is the provider's.

    `unread` is what adapters could not read, by tenant and adapter. Both providers and people who
    are told to wait send it again.
    """

    def __init__(
        self,
        unread: Callable[[], Mapping[tuple[str, str], Unread]] = dict,
        *,
        posts: Cap = POSTS,
        octets: Cap = OCTETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unread = unread
        self._posts, self._octets = posts, octets
        self._clock = clock
        self._taken: Buckets[str] = Buckets()
        self._read: Buckets[str] = Buckets()

    def take(self, tenant: str, adapter: str, size: int) -> None:
        """Let a webhook of so many octets in. Raises Problem `too_many_webhooks`."""
        waiting = self._unread().get((tenant, adapter), NOTHING_UNREAD).waiting
        if waiting >= MOST_UNREAD:
            raise _refused(
                f"{waiting:,} webhooks wait that the adapter could not read.", _LOOK_AGAIN
            )
        now = self._clock()
        wait = self._taken.take(tenant, self._posts, now)
        if wait:
            raise _refused("They come faster than a tenant's are taken.", wait)
        for taken in range(size // _PIECE):
            wait = self._read.take(tenant, self._octets, now)
            if wait:
                for _ in range(taken):
                    self._read.give_back(tenant, self._octets)
                self._taken.give_back(tenant, self._posts)
                raise _refused("They hold more than a tenant's may.", wait)


def _refused(detail: str, wait: float) -> Problem:
    headers = {"Retry-After": str(max(1, math.ceil(wait)))}
    return Problem("too_many_webhooks", detail, headers=headers)
