"""A message on its way through the layers."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from domain.message import Content, MessageOrder
from domain.ports import Principal
from domain.tenancy import Tenant
from domain.verdict import Verdict
from handlers.api.schemas import MessageBody


@dataclass(slots=True)
class Draft:
    """What the layers look at, and change.

    `id` is what the message will have. `raw` is its JSON as the client sent it and `body` the same
    parsed; `index` its place in a batch. `now` (aware UTC) is the same for all layers. `rendered`
    is what a template made, if there is one, and `claim` what `dedup` has noted. `order` is there
    after the layer `schema`; a layer that changes the message puts another in its place.
    """

    id: str
    principal: Principal
    tenant: Tenant
    raw: bytes
    body: MessageBody
    now: datetime
    trace_id: str | None = None
    fingerprint: str | None = None
    index: int | None = None
    rendered: Content | None = None
    made: MessageOrder | None = None
    claim: bytes | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def locale(self) -> str | None:
        """The recipient's language, as far as the client or the tenant says."""
        said = self.body.recipient
        if said is not None and said.locale is not None:
            return said.locale
        return self.tenant.defaults.locale

    @property
    def order(self) -> MessageOrder:
        """The message as it is so far. Only from the layer `schema` on."""
        assert self.made is not None
        return self.made

    @order.setter
    def order(self, order: MessageOrder) -> None:
        self.made = order


class Layer(Protocol):
    """One layer."""

    @property
    def name(self) -> str:
        """As it stands in verdicts and in the timeline."""

    def check(self, draft: Draft) -> Verdict | Awaitable[Verdict]:
        """Let a message through, changed or not. To be awaited only where something has to be
        asked that is not in memory. Raises Problem to refuse it."""
