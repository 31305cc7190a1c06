"""What a number's range says."""

from __future__ import annotations

import pytest

from domain.enrichment import LOCALES
from domain.numbering.kind import NumberKind
from domain.numbering.number import NOTHING, facts, zones

MOBILE, EITHER, OTHER = NumberKind.MOBILE, NumberKind.FIXED_OR_MOBILE, NumberKind.OTHER


@pytest.mark.parametrize(
    ("number", "country", "kind", "clocks"),
    [
        ("+4520123456", "DK", EITHER, {"Europe/Copenhagen"}),
        ("+4915112345678", "DE", MOBILE, {"Europe/Berlin"}),
        ("+14155550123", "US", EITHER, {"America/Los_Angeles"}),
        ("+12125550123", "US", EITHER, {"America/New_York"}),
        ("+16135550123", "CA", EITHER, {"America/Toronto"}),
        ("+18765550123", "JM", MOBILE, {"America/Jamaica"}),
        ("+61412345678", "AU", MOBILE, {"Australia/Perth", "Australia/Sydney"}),
        ("+79161234567", "RU", MOBILE, {"Europe/Moscow", "Asia/Kamchatka"}),
        ("+442079460000", "GB", NumberKind.FIXED, {"Europe/London"}),
        # Numbers of no country: satellites.
        ("+881612345678", None, MOBILE, set()),
    ],
)
def test_country_kind_and_clock(number, country, kind, clocks):
    found = facts(number)
    assert (found.country, found.kind) == (country, kind)
    assert clocks <= set(zones(number))
    assert bool(clocks) == bool(zones(number))


@pytest.mark.parametrize("number", ["", "+", "+1", "4520123456", "+999123456", "Acme", "+45 \0"])
def test_what_is_no_number_tells_nothing(number):
    found = facts(number)
    assert (found.country, found.kind) == (NOTHING.country, NOTHING.kind)


def test_countries_of_several_languages_have_no_locale():
    assert LOCALES["DK"] == "da-DK"
    assert not {"BE", "CH", "CA", "LU"} & set(LOCALES)
