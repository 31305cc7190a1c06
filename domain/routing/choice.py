"""What the router answers: an order of candidates, and the reason for each one's place.

The types travel with a message's attempt and stand in its timeline; they only gain fields with
defaults, at the end.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Why(str, Enum):
    """Why a candidate has its place. The first ones are said of the one that was chosen, the
    others of those behind it; either is what tells the two apart that stand next to each other."""

    ONLY = "only"  # there is no other
    NAMED = "named"  # the client asked for it
    PINNED = "pinned"  # by the tenant's rules
    UP = "up"  # those that would go before it are down
    ROOM = "room"  # those that would go before it have none
    UNTRIED = "untried"  # those that would go before it have failed this message
    TENANT_ORDER = "tenant_order"
    OWN = "own"  # the tenant's own before everybody's
    SOUND = "sound"  # those that would go before it work badly
    PRIORITY = "priority"
    CHEAPEST = "cheapest"
    CLOSEST = "closest"  # the longest prefix
    STEADY = "steady"  # it was chosen before, and no other is clearly better
    BETTER = "better"  # more is delivered, or sooner
    SHARE = "share"  # its share of divided traffic
    FIRST = "first"  # all else equal, in the routes' order

    NOT_PINNED = "not_pinned"
    DOWN = "down"
    NO_ROOM = "no_room"
    FAILED_BEFORE = "failed_before"  # it has failed this message
    SHARED = "shared"
    POOR = "poor"  # much less is delivered than by others
    LOWER_PRIORITY = "lower_priority"
    DEARER = "dearer"
    WIDER = "wider"  # a shorter prefix
    WORSE = "worse"
    NOT_ITS_TURN = "not_its_turn"
    LATER = "later"


class Considered(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One candidate. `rate` is the share that it delivered of late to the country, `latency` the
    seconds until then, both None while nothing is known; `price` is for one segment."""

    route: str
    why: Why
    price: str | None = None
    rate: float | None = None
    latency: float | None = None


class RouteChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which route was taken and why, and what became of the other candidates, best first.
    `others` counts those that are not listed."""

    route: str
    why: Why
    strategy: str
    candidates: tuple[Considered, ...] = ()
    others: int = 0
    currency: str | None = None


LISTED = 5
"""Candidates in a timeline."""
