"""A webhook that its adapter cannot read: tried again and again, shown to the tenant, and in the
end given up.

An adapter that cannot read its provider's reports can be mended, and then nothing is lost that came
within a day. What waits is bounded on both sides: here by that day, at the door
(`handlers/webhooks`) by MOST_UNREAD, beyond which the provider keeps what it wants to post.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from restate import Context, RunOptions

from adapters.restate.serde import JsonSerde

logger = logging.getLogger(__name__)

MOST_UNREAD: Final = 1_000
"""Webhooks of one adapter that wait to be read again when the door takes no more."""
FIRST_PAUSE: Final = timedelta(seconds=1)
LONGEST_PAUSE: Final = timedelta(minutes=10)
MOST_TRIES: Final = 154
"""A day's: the pauses double from the first to the longest."""


class Look(Protocol):
    """What one try came to."""

    @property
    def failed(self) -> str | None:
        """The kind of the adapter's failure, None when it has read."""


class UnreadNotes(Protocol):
    """Shows the tenant what its adapters could not read."""

    async def failed(
        self,
        tenant: str,
        adapter: str,
        webhook: str,
        received_at: datetime,
        tries: int,
        kind: str,
        *,
        given_up: bool,
    ) -> None:
        """A webhook could not be read, for the `tries`th time; `kind` says why, in one word."""

    async def read(self, tenant: str, adapter: str, webhook: str) -> None:
        """It could be read at last."""


class Webhook(Protocol):
    """Whose webhook it is, and when it came."""

    @property
    def tenant(self) -> str:
        """Its tenant."""

    @property
    def adapter(self) -> str:
        """Its adapter."""

    @property
    def received_at(self) -> datetime:
        """When the provider posted it."""


Seen = TypeVar("Seen", bound=Look)


async def until_read(
    ctx: Context,
    webhook: Webhook,
    look: Callable[[], Awaitable[Seen]],
    serde: JsonSerde[Seen],
    notes: UnreadNotes,
) -> Seen | None:
    """What `look` found, the last time of however many it took; None when it is given up.

    Each try is journalled, and between two of them the invocation is suspended: it costs a line in
    Restate's journal and nothing else.
    """
    name = ctx.request().id

    async def once(tries: int) -> Seen:
        found = await look()
        place = (webhook.tenant, webhook.adapter, name)
        if found.failed is not None:
            over = tries == MOST_TRIES
            await notes.failed(*place, webhook.received_at, tries, found.failed, given_up=over)
        elif tries > 1:
            await notes.read(*place)
        return found

    for tries in range(1, MOST_TRIES + 1):
        found = await ctx.run_typed("read it", once, RunOptions(serde=serde), tries)
        if found.failed is None:
            return found
        if tries < MOST_TRIES:
            await ctx.sleep(pause_after(tries))
    logger.error(
        "a webhook of %s/%s is given up: its adapter cannot read it",
        webhook.tenant,
        webhook.adapter,
    )
    return None


def pause_after(tries: int) -> timedelta:
    """How long to wait after so many tries that failed."""
    return min(FIRST_PAUSE * 2 ** min(tries - 1, 20), LONGEST_PAUSE)
