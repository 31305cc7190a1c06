"""Which senders of an SMS a country's carriers let through.

An alphanumeric sender is a name of up to eleven characters. Some countries take any, some only
registered ones, some replace or drop every name. What is replaced cannot be answered and is not
recognised, and what is dropped never arrives, so both are refused beforehand, where the client can
still do something.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from domain.content_rules import Action


class Names(str, Enum):
    """What a country makes of alphanumeric senders."""

    ALLOWED = "allowed"
    REGISTERED = "registered"  # only those that are registered there
    NUMERIC_ONLY = "numeric_only"


_REGISTERED: Final = (
    "AE AF AM AZ BD BH BY CI CZ DZ EG ET GE GH ID IN IQ JO KE KH KW KZ LA LK LY MA MM MN NG NP OM"
    " PH PK QA RO RU RW SA SG SN TH TN TR TZ UA UG UZ VN YE ZM"
)
_NUMERIC_ONLY: Final = (
    "AR BE BR CA CL CN CO CR CU EC GT GU HN HU JP KR MX MY NI NZ PA PE PR SV US UY VE VI ZA"
)
COUNTRIES: Final[dict[str, Names]] = {
    **dict.fromkeys(_REGISTERED.split(), Names.REGISTERED),
    **dict.fromkeys(_NUMERIC_ONLY.split(), Names.NUMERIC_ONLY),
}
"""By ISO 3166-1 alpha-2; a country that is not in it takes any name.

A starting point, after GOV.UK Notify's table of international rates and common knowledge of 2025;
it was not checked against every regulator, and they change their rules. Ask the carrier: a tenant's
approved sender for a country goes before this table.
"""


class SenderStatus(str, Enum):
    """Where a tenant's sender stands."""

    PENDING = "pending"  # asked for, not to be used where a registration is needed
    APPROVED = "approved"
    REJECTED = "rejected"  # never to be used


def is_name(sender: str) -> bool:
    """Whether it is alphanumeric, as against a number or short code."""
    return not sender.lstrip("+").isdigit()


def names_in(country: str | None) -> Names:
    """What a country makes of names; unknown countries take any."""
    return Names.ALLOWED if country is None else COUNTRIES.get(country, Names.ALLOWED)


class Sender(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sender that a tenant asked for.

    `countries` (ISO 3166-1 alpha-2) are those that it is registered or meant for; without any, it
    is for every country that needs no registration. `reserved` keeps it from all other tenants.
    """

    tenant: str
    sender: str
    status: SenderStatus = SenderStatus.PENDING
    countries: tuple[str, ...] = ()
    reserved: bool = False
    note: str = ""


class SenderFinding(NamedTuple):
    """What is wrong with a sender."""

    code: str
    action: Action


CODES: Final[dict[str, str]] = {
    "sender_not_allowed": "The sender is not one that you may use.",
    "sender_not_numeric": (
        "Carriers in the recipient's country take numbers only: they replace or drop a sender with "
        "letters. Name a number as the step's sender."
    ),
    "sender_not_registered": (
        "The recipient's country takes only registered names as senders, and this one is not "
        "registered there for you."
    ),
    "sender_not_for_country": "The sender is approved for other countries than the recipient's.",
    "sender_not_approved": "The sender is not one of your approved ones.",
}
"""Every code of a finding."""


class Senders:
    """All tenants' senders, as the hot path needs them."""

    def __init__(self, senders: Iterable[Sender] = ()) -> None:
        self._own: dict[tuple[str, str], Sender] = {}
        self._reserved: dict[str, set[str]] = {}
        for sender in senders:
            self._own[sender.tenant, fold(sender.sender)] = sender
            if sender.reserved and sender.status is SenderStatus.APPROVED:
                self._reserved.setdefault(fold(sender.sender), set()).add(sender.tenant)

    def of(self, tenant: str) -> list[Sender]:
        """A tenant's senders, by name."""
        own = [sender for (owner, _), sender in self._own.items() if owner == tenant]
        return sorted(own, key=lambda sender: fold(sender.sender))

    def check(
        self, tenant: str, sender: str, country: str | None, policy: Action
    ) -> SenderFinding | None:
        """What is wrong with a tenant's SMS from this sender to this country, None when nothing
        is. `policy` is the tenant's for senders that are not approved."""
        folded = fold(sender)
        own = self._own.get((tenant, folded))
        if own is not None and own.status is SenderStatus.REJECTED:
            return SenderFinding("sender_not_allowed", Action.REFUSE)
        holders = self._reserved.get(folded)
        if holders is not None and tenant not in holders:
            return SenderFinding("sender_not_allowed", Action.REFUSE)
        approved = own is not None and own.status is SenderStatus.APPROVED
        here = approved and own is not None and country in own.countries
        if not here:
            if is_name(sender) and (names := names_in(country)) is not Names.ALLOWED:
                code = (
                    "sender_not_numeric"
                    if names is Names.NUMERIC_ONLY
                    else ("sender_not_registered")
                )
                return SenderFinding(code, Action.REFUSE)
            if approved and own is not None and own.countries:
                return SenderFinding("sender_not_for_country", Action.REFUSE)
            if not approved and policy is not Action.ALLOW:
                return SenderFinding("sender_not_approved", policy)
        return None


def fold(sender: str) -> str:
    """One spelling for senders that a recipient takes for the same: a carrier may drop the +, and
    phones show names in whatever case."""
    return sender.lstrip("+").casefold()
