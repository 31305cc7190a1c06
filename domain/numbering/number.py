"""Country, kind and time zones of an E.164 number, by libphonenumber's metadata (`phonenumbers`).

What the number's range says, not what became of it: numbers move between operators, and in some
countries between landline and mobile. Each country's ranges are regular expressions, which take 10
to 30 µs, so what was found out is remembered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from domain.numbering.kind import NumberKind

REMEMBERED: Final = 65_536
"""Numbers whose facts are kept: some 15 MB when full."""
_JUST_SEEN: Final = 1024

_KINDS: Final = {
    PhoneNumberType.MOBILE: NumberKind.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberKind.FIXED_OR_MOBILE,
    PhoneNumberType.FIXED_LINE: NumberKind.FIXED,
}


class Parsed(NamedTuple):
    """A number in its parts, and libphonenumber's type of it."""

    number: phonenumbers.PhoneNumber
    type: int


class NumberFacts(NamedTuple):
    """`country` is ISO 3166-1 alpha-2, None for numbers that belong to no country (satellites)
    and for those that are none."""

    country: str | None
    kind: NumberKind


NOTHING: Final = NumberFacts(None, NumberKind.OTHER)
_NO_COUNTRY: Final = "001"
_NO_ZONE: Final = "Etc/Unknown"


@lru_cache(maxsize=_JUST_SEEN)
def parsed(number: str) -> Parsed:
    """The number in its parts, whether or not its range exists; remembered for as long as one
    message needs it. Raises NumberParseException."""
    found = phonenumbers.parse(number, None)
    return Parsed(found, phonenumbers.number_type(found))


@lru_cache(maxsize=REMEMBERED)
def facts(number: str) -> NumberFacts:
    """What is known about a number in E.164."""
    try:
        found = parsed(number)
    except NumberParseException:
        return NOTHING
    country = phonenumbers.region_code_for_number(found.number)
    kind = _KINDS.get(found.type, NumberKind.OTHER)
    return NumberFacts(None if country == _NO_COUNTRY else country, kind)


@lru_cache(maxsize=REMEMBERED)
def zones(number: str) -> tuple[str, ...]:
    """The IANA time zones in which the holder of a number in E.164 may live; () when nothing is
    known. For a mobile all zones of its country, where the prefix is a network's and no place's."""
    # Its tables take 0.2 s to load: not at the import, which every command pays for.
    from phonenumbers.timezone import time_zones_for_number

    try:
        found = parsed(number)
    except NumberParseException:
        return ()
    known = time_zones_for_number(found.number)
    return _shared(tuple(zone for zone in known if zone != _NO_ZONE))


@lru_cache(maxsize=4096)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """One tuple for all numbers of the same zones."""
    return names
