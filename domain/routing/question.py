"""What the router is asked, and what it is told of the providers."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

import msgspec

from domain.billing.money import PLACES, text
from domain.message import Category
from domain.routing.routes import Route


class Question(msgspec.Struct, gc=False):
    """One message that wants a route on one channel.

    `digits` are those of a number, without the plus; empty where the address is none. What is not
    known of the number is None. `named` is the provider or route that the client asks for. `draw`
    is a number from 0 to 2**32 - 1 that the message keeps, for dividing traffic. `failed` are the
    providers that have failed this message for a reason of their own.
    """

    tenant: str
    channel: str
    digits: str = ""
    country: str | None = None
    operator: str | None = None
    number_type: str | None = None
    category: Category = Category.TRANSACTIONAL
    sender: str | None = None
    named: str | None = None
    draw: int = 0
    failed: tuple[str, ...] = ()


class Candidate(msgspec.Struct, frozen=True):
    """A route that a message may take.

    `matched` is how closely its destinations name the number's: the length of the prefix, 1 for a
    country, 0 for all. `own` says that the route names the tenant. `place` is its place among the
    routes, which decides when nothing else does. `way` is what its quality is counted under.
    """

    route: Route
    matched: int
    own: bool
    place: int
    way: str


class Condition(NamedTuple):
    """How a provider is right now. `why` says why it is not usable, `wait` how many seconds its
    queue is long, where that is known."""

    usable: bool
    why: str | None = None
    wait: float | None = None


WELL = Condition(True)
"""Of a provider of which nobody says anything else."""


class Conditions(Protocol):
    """What is known of the providers' capacity and health at this moment."""

    def of(self, route: Route, question: Question) -> Condition | None:
        """How the route's provider is; None when there is none of this name, for this tenant."""


class Price(NamedTuple):
    """What a segment costs."""

    amount: Decimal
    currency: str

    @property
    def text(self) -> str:
        """The amount as people and programs read it."""
        return text(int(self.amount.scaleb(PLACES)))


class Prices(Protocol):
    """What a tenant pays."""

    def of(self, route: Route, question: Question, at: datetime) -> Price | None:
        """For one segment by this route to this destination; None when there is no price.

        All answers to one question are in one currency."""

    def zone(self, question: Question) -> Hashable:
        """What tells two questions apart: those of one zone have the same prices until prices
        change."""


class NoRoute(Exception):
    """No route leads to the address of a step, counted from 0; or not the one that the client
    named."""

    def __init__(self, step: int, named: str | None) -> None:
        super().__init__(f"step {step}")
        self.step = step
        self.named = named


class NoPrices:
    """Where nothing has a price."""

    def zone(self, question: Question) -> Hashable:
        """See `Prices`."""
        return None

    def of(self, route: Route, question: Question, at: datetime) -> Price | None:
        """See `Prices`."""
        return None
