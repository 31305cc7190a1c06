"""Variables: what a value has to be, and how it reads in the recipient's language."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale
from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_currency, format_decimal, list_currencies

MAX_TEXT: Final = 2000
MAX_URL: Final = 2048
DEFAULT_TEXT: Final = 500


class VariableType(str, Enum):
    """What a variable's values are."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    MONEY = "money"
    URL = "url"
    CODE = "code"


class Variable(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A declared variable. Without a value, one that is not `required` has its `default`, or none
    at all: then its places are empty, and a part that depends on it does not stand."""

    type: VariableType = VariableType.TEXT
    required: bool = True
    default: Any = None
    max_length: Annotated[int, msgspec.Meta(ge=1, le=MAX_TEXT)] | None = None
    description: Annotated[str, msgspec.Meta(max_length=200)] = ""


class ValueProblem(Exception):
    """A value is not what its variable wants; `code` is one of CODES."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


CODES: Final[dict[str, str]] = {
    "variable_missing": "The template needs a value for this variable.",
    "unknown_variable": "The template has no variable of this name.",
    "variable_wrong_type": "The value is not of the variable's type.",
    "variable_too_long": "The value is longer than the variable allows.",
}
"""Every code of a fault in the values."""

LONGEST: Final = {
    VariableType.NUMBER: 40,
    VariableType.DATE: 64,
    VariableType.MONEY: 48,
    VariableType.URL: MAX_URL,
    VariableType.CODE: 64,
}
"""Characters that a value may give in any format; a text says so itself."""

_CODE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 -]{0,62}[A-Za-z0-9])?\Z")
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_YEARS: Final = range(1900, 9001)
"""In every time zone these have a day before and a day after them that can be written."""
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,6})?\Z", re.ASCII)
_MONEY: Final = re.compile(r"(-?\d{1,15}(?:\.\d{1,6})?) ([A-Z]{3})\Z", re.ASCII)
# What CLDR puts where a plain character does: the fancy one is not in the alphabet of SMS, and
# would make a text of one segment one of two.
_PLAIN: Final = str.maketrans({"\xa0": " ", "\u202f": " ", "\u2212": "-", "\u2009": " "})
_STYLES: Final = ("short", "medium", "long", "full")

FORMATS: Final[dict[VariableType, tuple[str, ...]]] = {
    VariableType.TEXT: (),
    VariableType.NUMBER: ("plain",),
    VariableType.DATE: (*_STYLES, "day", "time", "iso"),
    VariableType.MONEY: ("plain",),
    VariableType.URL: (),
    VariableType.CODE: (),
}
"""What may stand behind the bar."""


class Tongue(msgspec.Struct, frozen=True):
    """In which language, and by which clock, values are written."""

    language: str
    time_zone: str = "UTC"

    @property
    def locale(self) -> Locale:
        """What CLDR knows about the language."""
        return locale_of(self.language)


@lru_cache(maxsize=512)
def locale_of(language: str) -> Locale:
    """A language as in `da` or `pt-BR`. Raises ValueError for one that CLDR does not know."""
    try:
        return Locale.parse(language, sep="-")
    except Exception as error:  # babel raises several kinds for malformed names
        raise ValueError(f"{language} is no language that is known") from error


@lru_cache(maxsize=1)
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def checked(variable: Variable, value: Any) -> Any:
    """A JSON value as the variable's own: str, Decimal, date, datetime, or (Decimal, currency).
    Raises ValueProblem."""
    return _CHECKS[variable.type](variable, value)


def written(type_: VariableType, value: Any, format_: str | None, tongue: Tongue) -> str:
    """A checked value as the recipient reads it."""
    return _WRITERS[type_](value, format_, tongue).translate(_PLAIN)


def longest(variable: Variable) -> int:
    """Characters that the variable's value may have, however it is written."""
    return LONGEST.get(variable.type) or variable.max_length or DEFAULT_TEXT


def _wrong(detail: str) -> ValueProblem:
    return ValueProblem("variable_wrong_type", detail)


def _text(variable: Variable, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong("A text.")
    bound = longest(variable)
    if len(value) > bound:
        raise ValueProblem("variable_too_long", f"{len(value)} characters; at most {bound}.")
    if _CONTROL.search(value):
        raise _wrong("A text without control characters.")
    return value


def _number(variable: Variable, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _wrong("A number.")
    text = value if isinstance(value, str) else _digits(value)
    if not _NUMBER.match(text):
        raise _wrong("A number of at most 15 digits, and 6 behind the point.")
    return Decimal(text)


def _digits(value: int | float) -> str:
    """A number of JSON in digits; empty when they are too many to be written."""
    try:
        return format(Decimal(repr(value)), "f")
    except ValueError:
        # Python writes no whole number of more than 4,300 digits.
        return ""


def _date(variable: Variable, value: Any) -> date:
    if not isinstance(value, str):
        raise _wrong("A date as a text.")
    try:
        is_day = _DAY.match(value) is not None
        found = date.fromisoformat(value) if is_day else datetime.fromisoformat(value)
    except ValueError:
        found = None
    is_time = isinstance(found, datetime) and found.tzinfo is not None and "T" in value.upper()
    if found is None or not (is_day or is_time):
        raise _wrong("A day as 2026-01-31, or a time with its offset as 2026-01-31T09:00:00Z.")
    if found.year not in _YEARS:
        raise _wrong(f"A year from {_YEARS[0]} to {_YEARS[-1]}.")
    return found


def _money(variable: Variable, value: Any) -> tuple[Decimal, str]:
    if isinstance(value, dict) and set(value) == {"amount", "currency"}:
        amount, currency = value["amount"], value["currency"]
        if isinstance(amount, (int, float)) and not isinstance(amount, bool):
            amount = _digits(amount)
        both_texts = isinstance(amount, str) and isinstance(currency, str)
        value = f"{amount} {currency}" if both_texts else None
    found = _MONEY.match(value) if isinstance(value, str) else None
    if found is None or found[2] not in _currencies():
        raise _wrong(
            'An amount with its currency: "12.50 DKK", or {"amount": "12.50", "currency": "DKK"}.'
        )
    try:
        return Decimal(found[1]), found[2]
    except InvalidOperation as error:
        raise _wrong("An amount.") from error


def _url(variable: Variable, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong("A URL.")
    bound = variable.max_length or MAX_URL
    if len(value) > bound:
        raise ValueProblem("variable_too_long", f"{len(value)} characters; at most {bound}.")
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("https", "http") and bool(parts.hostname)
    except ValueError:
        good = False
    if (
        not good
        or not value.isascii()
        or not value.isprintable()
        or re.search(r"[\s\\\"<>]", value)
    ):
        raise _wrong("An absolute http or https URL, in ASCII.")
    return value


def _code(variable: Variable, value: Any) -> str:
    bound = variable.max_length or LONGEST[VariableType.CODE]
    if isinstance(value, str) and len(value) > bound:
        raise ValueProblem("variable_too_long", f"{len(value)} characters; at most {bound}.")
    if not isinstance(value, str) or not _CODE.match(value):
        raise _wrong("A code of letters, digits, spaces and hyphens, as a text.")
    return value


_CHECKS: Final[Mapping[VariableType, Callable[[Variable, Any], Any]]] = {
    VariableType.TEXT: _text,
    VariableType.NUMBER: _number,
    VariableType.DATE: _date,
    VariableType.MONEY: _money,
    VariableType.URL: _url,
    VariableType.CODE: _code,
}


def _as_it_is(value: Any, format_: str | None, tongue: Tongue) -> str:
    text: str = value
    return text


def _write_number(value: Any, format_: str | None, tongue: Tongue) -> str:
    if format_ == "plain":
        return str(value)
    return str(format_decimal(value, format=_decimal_pattern(value), locale=tongue.locale))


def _decimal_pattern(value: Decimal) -> str:
    """With as many decimals as the number came with: 4.50 stays 4.50."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return "#,##0" + ("." + "0" * -exponent if exponent < 0 else "")


def _write_date(value: Any, format_: str | None, tongue: Tongue) -> str:
    if format_ == "iso":
        return str(value.isoformat())
    locale = tongue.locale
    style: Any = format_ if format_ in _STYLES else "medium"
    if not isinstance(value, datetime):
        # A day has no clock.
        return "" if format_ == "time" else str(format_date(value, style, locale=locale))
    zone = ZoneInfo(tongue.time_zone)
    if format_ == "day":
        return str(format_date(value.astimezone(zone), style, locale=locale))
    if format_ == "time":
        return str(format_time(value, "short", tzinfo=zone, locale=locale))
    # Not the time's own long forms, which are for machines' logs: seconds, and the zone's name.
    day = format_date(value.astimezone(zone), style, locale=locale)
    clock = format_time(value, "short", tzinfo=zone, locale=locale)
    joined = str(get_datetime_format(style, locale=locale)).replace("'", "")
    return str(joined.replace("{0}", clock).replace("{1}", day))


def _write_money(value: Any, format_: str | None, tongue: Tongue) -> str:
    amount, currency = value
    if format_ == "plain":
        return f"{amount} {currency}"
    return str(format_currency(amount, currency, locale=tongue.locale))


_WRITERS: Final[Mapping[VariableType, Callable[[Any, str | None, Tongue], str]]] = {
    VariableType.TEXT: _as_it_is,
    VariableType.NUMBER: _write_number,
    VariableType.DATE: _write_date,
    VariableType.MONEY: _write_money,
    VariableType.URL: _as_it_is,
    VariableType.CODE: _as_it_is,
}
