"""Amounts are exact, and what is no amount is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from domain.billing import money


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        ("0", 0),
        ("0.0075", 7_500),
        ("0.000001", 1),
        ("1", 1_000_000),
        ("-3.50", -3_500_000),
        ("1E+2", 100_000_000),
        ("1000000000", 10**15),
        (Decimal("0.1"), 100_000),
    ],
)
def test_what_is_written_is_kept_exactly(written, micros):
    assert money.micros(written) == micros
    assert money.decimal(micros) == Decimal(written)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "not a decimal"),
        ("1,5", "not a decimal"),
        ("€1", "not a decimal"),
        ("NaN", "finite"),
        ("Infinity", "finite"),
        ("0.0000001", "decimals"),
        ("1000000000.000001", "larger"),
        ("1E+999999", "larger"),
        ("-1E+10", "larger"),
    ],
)
def test_what_is_no_amount_is_refused(written, why):
    with pytest.raises(ValueError, match=why):
        money.micros(written)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00"),
        (7_500, "0.0075"),
        (1_500_000, "1.50"),
        (-2_000_000, "-2.00"),
        (-1, "-0.000001"),
        (1_234_567_890_000, "1234567.89"),
    ],
)
def test_how_an_amount_is_shown(micros, text):
    assert money.text(micros) == text
    assert money.micros(text) == micros


@pytest.mark.parametrize("code", ["eur", "EURO", "", "XXX", "DEM"])
def test_a_currency_that_nobody_pays_in_is_refused(code):
    with pytest.raises(ValueError, match="ISO 4217"):
        money.currency(code)


def test_a_thousand_of_the_largest_amounts_are_the_largest_sum_and_nine_of_those_fit_in_64_bits():
    assert 1000 * money.LARGEST == money.LARGEST_SUM
    assert 9 * money.LARGEST_SUM < 2**63
