"""Country and kind of an E.164 number, by libphonenumber's metadata (`phonenumbers`).

What the number's range says, not what became of it: numbers move between operators, and in some
countries between landline and mobile. Warm, a look-up is a hash table's; cold, it costs 20 to
60 µs, since each country's ranges are a regular expression.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from domain.numbering.kind import NumberKind

REMEMBERED: Final = 65_536
"""Numbers whose facts are kept: some 20 MB when full."""


_KINDS: Final = {
    PhoneNumberType.MOBILE: NumberKind.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberKind.FIXED_OR_MOBILE,
    PhoneNumberType.FIXED_LINE: NumberKind.FIXED,
}


class NumberFacts(NamedTuple):
    """`country` is ISO 3166-1 alpha-2, None for numbers that belong to no country (satellites)
    and for those that are none. `zones` are IANA time zones in which the number's holder may
    live, () when nothing is known."""

    country: str | None
    kind: NumberKind
    zones: tuple[str, ...]


NOTHING: Final = NumberFacts(None, NumberKind.OTHER, ())
_NO_COUNTRY: Final = "001"
_NO_ZONE: Final = "Etc/Unknown"


@lru_cache(maxsize=REMEMBERED)
def facts(number: str) -> NumberFacts:
    """What is known about a number in E.164."""
    try:
        parsed = phonenumbers.parse(number, None)
    except NumberParseException:
        return NOTHING
    country = phonenumbers.region_code_for_number(parsed)
    kind = _KINDS.get(phonenumbers.number_type(parsed), NumberKind.OTHER)
    return NumberFacts(None if country == _NO_COUNTRY else country, kind, _zones(parsed))


@lru_cache(maxsize=4096)
def _shared(zones: tuple[str, ...]) -> tuple[str, ...]:
    """One tuple for all numbers of the same zones."""
    return zones


def _zones(parsed: phonenumbers.PhoneNumber) -> tuple[str, ...]:
    # Its tables take 0.2 s to load: not at the import, which every command pays for.
    from phonenumbers.timezone import time_zones_for_number

    # All zones of the country for a mobile, whose prefix is a network's and no place's.
    found = time_zones_for_number(parsed)
    return _shared(tuple(zone for zone in found if zone != _NO_ZONE))
