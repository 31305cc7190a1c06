"""Money: whole millionths of a currency's unit inside, decimal text outside, never a float."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

MICROS: Final = 1_000_000
"""Millionths in a unit: a price of 0.0075 EUR is 7,500."""
PLACES: Final = 6
LARGEST: Final = 10**9 * MICROS
"""The most that one amount may say, which is a thousandth of LARGEST_SUM."""
LARGEST_SUM: Final = 10**12 * MICROS
"""The most that payments may bring an account to. 64 bits hold nine times as much: the rest is for
what messages cost, and for sums over several accounts."""

# ISO 4217, active codes of 2024, without funds, metals and test codes.
# fmt: off
CURRENCIES: Final = frozenset({
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT",
    "BGN", "BHD", "BIF", "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD",
    "CDF", "CHF", "CLP", "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD",
    "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ",
    "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD",
    "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR",
    "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR",
    "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN",
    "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR",
    "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB",
    "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS",
    "VED", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
})
# fmt: on


def micros(amount: Decimal | str) -> int:
    """An amount in millionths, exactly.

    Raises ValueError for what is no finite number, has more than six decimals, or is larger than
    LARGEST.
    """
    try:
        value = Decimal(amount) if isinstance(amount, str) else amount
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    if not value.is_finite():
        raise ValueError("not a finite number")
    # Before it is scaled: 1E+999999 would be a number of a million digits.
    if value and value.adjusted() > 9:
        raise ValueError("larger than 1,000,000,000")
    if value != value.quantize(Decimal(1).scaleb(-PLACES)):
        raise ValueError(f"more than {PLACES} decimals")
    scaled = int(value.scaleb(PLACES))
    if abs(scaled) > LARGEST:
        raise ValueError("larger than 1,000,000,000")
    return scaled


def decimal(amount: int) -> Decimal:
    """Millionths as a decimal number."""
    return Decimal(amount).scaleb(-PLACES)


def text(amount: int) -> str:
    """Millionths as people and programs read them: at least two decimals, no zeros beyond them.

    `7500` is `0.0075`, `1_500_000` is `1.50`.
    """
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), MICROS)
    decimals = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def currency(code: str) -> str:
    """The code if ISO 4217 knows it. Raises ValueError."""
    if code not in CURRENCIES:
        raise ValueError("Not a currency of ISO 4217, such as EUR")
    return code
