"""A route: a provider as it may be used, and for which messages."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final

import msgspec

from domain.message import Category
from domain.providers import OWN
from domain.routing.destinations import NUMBERED

DEFAULT_PRIORITY: Final = 50
DEFAULT_WEIGHT: Final = 100
MOST_PREFIXES: Final = 2_000
"""Values of one kind that a route may list."""
_NAME: Final = r"^[a-z0-9][a-z0-9_.-]{0,47}$"

RouteName = Annotated[
    str,
    msgspec.Meta(
        pattern=_NAME,
        description="1 to 48 of a-z, 0-9, `_`, `.` and `-`, beginning with a letter or digit.",
        examples=["telia-dk"],
    ),
]
Prefix = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[1-9][0-9]{0,14}$",
        description="Up to 15 digits, without the + before them.",
        examples=["45"],
    ),
]
Country = Annotated[
    str,
    msgspec.Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1, two capitals.", examples=["DK"]),
]
Operator = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{5,6}$", description="MCC and MNC, five or six digits.", examples=["23801"]
    ),
]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Kind(str, Enum):
    """What a route leads to."""

    CARRIER = "carrier"  # one of the bind pool's
    ADAPTER = "adapter"  # the adapter of this name, for each tenant that has it
    OWN = "own"  # the channel's own service, as the mail relay


class Route(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A provider of a channel, and the messages that it may carry.

    What is listed limits it, and nothing listed limits nothing; `prefixes` and `countries` (ISO
    3166, two letters) are one list of destinations. `operators` are MCC and MNC, `number_types`
    those of the number's enrichment; a message of which they are not known does not take a route
    that lists them. Of several routes the one with the lowest `priority` goes first; `weight` is
    its share where traffic is divided.
    """

    name: RouteName
    channel: str
    kind: Kind = Kind.CARRIER
    provider: Annotated[str, msgspec.Meta(max_length=64)] = OWN
    prefixes: tuple[Prefix, ...] = ()
    countries: tuple[Country, ...] = ()
    operators: tuple[Operator, ...] = ()
    number_types: tuple[Word, ...] = ()
    categories: tuple[Category, ...] = ()
    senders: tuple[Word, ...] = ()
    tenants: tuple[Word, ...] = ()
    priority: Annotated[int, msgspec.Meta(ge=0, le=1000)] = DEFAULT_PRIORITY
    weight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = DEFAULT_WEIGHT
    enabled: bool = True
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


class RouteFault(Exception):
    """A route that makes no sense: `field` is the key, `wrong` says what of it."""

    def __init__(self, field: str, wrong: str) -> None:
        super().__init__(f"{field}: {wrong}")
        self.field = field
        self.wrong = wrong


def check(route: Route) -> None:
    """What the types cannot say. Raises RouteFault."""
    # libphonenumber behind them takes its time to load, and the bind pool has no need of it.
    from domain.channels import CHANNELS

    rules = CHANNELS.get(route.channel)
    if rules is None:
        raise RouteFault("channel", f"write one of {', '.join(CHANNELS)}")
    if route.kind is Kind.OWN:
        if rules.own is None:
            raise RouteFault("kind", f"Hermes has no service of its own for {route.channel}")
        if route.channel == "sms":
            raise RouteFault("kind", "SMS goes by carriers: write carrier, and its name")
        if route.provider != OWN:
            raise RouteFault("provider", "the channel's own service has no name")
    elif not route.provider:
        raise RouteFault("provider", f"name the {route.kind.value}")
    if route.kind is Kind.CARRIER and route.channel != "sms":
        raise RouteFault("kind", "a carrier carries SMS only")
    if route.channel not in NUMBERED:
        for field in ("prefixes", "countries", "operators", "number_types"):
            if getattr(route, field):
                raise RouteFault(field, f"an address of {route.channel} is no number")
    for field in _LISTS:
        if len(getattr(route, field)) > MOST_PREFIXES:
            raise RouteFault(field, f"at most {MOST_PREFIXES}")


_LISTS: Final = (
    "prefixes",
    "countries",
    "operators",
    "number_types",
    "categories",
    "senders",
    "tenants",
)
