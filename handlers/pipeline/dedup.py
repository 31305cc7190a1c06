"""The eighth layer: the same content to the same addresses, where somebody asks for that.

A repeated request is recognised before the layers, by its idempotency key. This is for what comes
without one: the same text from two places, or the same button pressed twice.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from domain.message import MessageOrder
from domain.verdict import Verdict
from handlers.api.problems import Problem
from handlers.pipeline.draft import Draft

_PASS: Final = Verdict("dedup")
_UNIQUE: Final = Verdict("dedup", detail="not seen before")
_UNCONFIRMED: Final = 10.0
"""Seconds after which a claim whose message nobody knows is one of a process that ended before it
could hand the message over."""
_encode = msgspec.json.Encoder(order="sorted").encode


class Earlier(Protocol):
    """The message that had the content first."""

    @property
    def message(self) -> str:
        """Its id."""

    @property
    def seen_at(self) -> float:
        """When it came, in seconds of the epoch."""


class Claims(Protocol):
    """Which content went where lately."""

    async def claim(
        self, tenant: str, digest: bytes, message: str, *, now: float, window: float
    ) -> Earlier | None:
        """Note the content as the message's, unless another had it within the window."""

    async def take_over(
        self,
        tenant: str,
        digest: bytes,
        message: str,
        *,
        instead_of: str,
        now: float,
        window: float,
    ) -> bool:
        """Put the message in the place of one that never came to be."""

    def release(self, tenant: str, digest: bytes, message: str) -> None:
        """Take a claim back."""


class Dedup:
    """Refuses content that was sent before, within the window of the request or the tenant.

    `key` makes the hashes: whoever reads the table without it learns nothing. `known` says whether
    a message came to be.
    """

    name: Final = "dedup"

    def __init__(self, claims: Claims, key: bytes, known: Callable[[str], Awaitable[bool]]) -> None:
        self._claims = claims
        self._key = key
        self._known = known

    def check(self, draft: Draft) -> Verdict | Awaitable[Verdict]:
        """Raises Problem `duplicate_content` with the first message's id, or `request_in_progress`
        while nobody knows yet whether the first one came to be."""
        asked = draft.body.dedup
        window = draft.tenant.defaults.dedup_window if asked is None else asked.window
        return _PASS if window is None else self._claim(draft, window)

    def give_back(self, draft: Draft) -> None:
        """The content may come again."""
        if draft.claim is not None:
            self._claims.release(draft.tenant.id, draft.claim, draft.id)

    async def _claim(self, draft: Draft, window: int) -> Verdict:
        digest = self.digest(draft.order)
        tenant, now = draft.tenant.id, draft.now.timestamp()
        earlier = await self._claims.claim(tenant, digest, draft.id, now=now, window=window)
        if earlier is not None and earlier.message == draft.id:
            # A repeated request, under its idempotency key.
            return _UNIQUE
        if earlier is not None:
            if await self._known(earlier.message):
                raise Problem("duplicate_content", message=earlier.message)
            left = earlier.seen_at + _UNCONFIRMED - now
            if left > 0:
                # On its way, or refused after all: whether this is a duplicate shows later.
                raise Problem("request_in_progress", headers={"Retry-After": str(math.ceil(left))})
            instead = earlier.message
            if not await self._claims.take_over(
                tenant, digest, draft.id, instead_of=instead, now=now, window=window
            ):
                raise Problem("request_in_progress", headers={"Retry-After": "1"})
        draft.claim = digest
        return _UNIQUE

    def digest(self, order: MessageOrder) -> bytes:
        """What stands for the content, its addresses and its mode in the table."""
        said = _encode((order.mode, order.to, order.content, order.template))
        return hmac.digest(self._key, said, hashlib.sha256)
