"""The kinds of values an option can have: how each is read, and how it is shown.

A kind reads what JSON gives (a PATCH) and what a command line gives (text); both say the same of a
bad value: what would be right.
"""

import json
import math
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from adapters.smpp.protocol.constants import CommandStatus, status_name

_MAX_STATUS: Final = 0xFFFFFFFF


class StatusEvery(Struct, frozen=True):
    """Every `n`th submission is answered with `status`."""

    n: int
    status: int


class IdFormat(Struct, frozen=True):
    """How message ids are written: in submit_sm_resp, and in the receipt.

    A notation is `hex`, `decimal`, `text` (not a number in any base), or, in the receipt, `padded`:
    decimal with zeros in front up to `width` digits.
    """

    response: str = "hex"
    receipt: str = "hex"
    width: int = 20


class Kind(Struct, frozen=True):
    """One kind of value. `read` raises ValueError or TypeError when it is none of this kind."""

    right: str
    """What a value of this kind looks like, to complete "expected …"."""
    read: Callable[[Any], Any]
    show: Callable[[Any], Any] = lambda value: value
    """The value as JSON shows it."""
    metavar: str = "VALUE"

    def read_text(self, text: str) -> Any:
        """A value given on a command line: JSON, or bare text."""
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        return self.read(value)


def number(least: float = 0.0, most: float = math.inf, metavar: str = "N") -> Kind:
    """A number from `least` to `most`."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError
        if not (least <= value <= most and math.isfinite(value)):
            raise ValueError
        return float(value)

    bounds = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
    return Kind(f"a number, {bounds}", read, metavar=metavar)


def whole(least: int, most: int) -> Kind:
    """A whole number from `least` to `most`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError
        if not least <= value <= most:
            raise ValueError
        return value

    return Kind(f"a whole number, {least} to {most}", read, metavar="N")


def choice(*names: str) -> Kind:
    """One of `names`."""

    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return Kind(f"one of {', '.join(names)}", read, metavar="NAME")


def _read_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _read_status(value: Any) -> int:
    """An error by name (ESME_RSYSERR) or by number (1032, "0x408")."""
    if isinstance(value, str):
        named = CommandStatus.__members__.get(value)
        value = int(value, 0) if named is None else int(named)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if not 0 < value <= _MAX_STATUS:
        raise ValueError
    return value


def _read_status_or_none(value: Any) -> int | None:
    return None if value is None else _read_status(value)


def _show_status(value: int | None) -> str | None:
    return None if value is None else status_name(value)


def _read_status_every(value: Any) -> StatusEvery | None:
    if value is None:
        return None
    if isinstance(value, str):
        n, _, status = value.partition(":")
        value = {"n": int(n), "status": status}
    if value.keys() != {"n", "status"}:
        raise ValueError
    return StatusEvery(_EVERY.read(value["n"]), _read_status(value["status"]))


def _show_status_every(value: StatusEvery | None) -> dict[str, Any] | None:
    return None if value is None else {"n": value.n, "status": status_name(value.status)}


def _read_id_format(value: Any) -> IdFormat:
    if isinstance(value, str):
        response, receipt, *width = value.split(":")
        value = {
            "response": response,
            "receipt": receipt,
            **({"width": int(*width)} if width else {}),
        }
    if not value.keys() <= {"response", "receipt", "width"}:
        raise ValueError
    default = IdFormat()
    return IdFormat(
        _IN_RESPONSE.read(value.get("response", default.response)),
        _IN_RECEIPT.read(value.get("receipt", default.receipt)),
        _WIDTH.read(value.get("width", default.width)),
    )


def _show_id_format(value: IdFormat) -> dict[str, Any]:
    return {"response": value.response, "receipt": value.receipt, "width": value.width}


_EVERY = whole(1, 1_000_000_000)
_IN_RESPONSE = choice("hex", "decimal", "text")
_IN_RECEIPT = choice("hex", "decimal", "text", "padded")
_WIDTH = whole(1, 60)

SWITCH: Final = Kind("true or false", _read_switch)
SECONDS: Final = number(0, 86_400, metavar="SECONDS")
FRACTION: Final = number(0, 1, metavar="FRACTION")
STATUS: Final = Kind(
    'a command_status other than ESME_ROK, such as "ESME_RTHROTTLED" or "0x408"',
    _read_status,
    _show_status,
    "STATUS",
)
STATUS_OR_NONE: Final = Kind(
    'null, or a command_status other than ESME_ROK, such as "ESME_RBINDFAIL" or "0x408"',
    _read_status_or_none,
    _show_status,
    "STATUS",
)
STATUS_EVERY: Final = Kind(
    'null, or {"n": 10, "status": "ESME_RSYSERR"}, or "10:ESME_RSYSERR"',
    _read_status_every,
    _show_status_every,
    "N:STATUS",
)
ID_FORMAT: Final = Kind(
    '{"response": "hex", "receipt": "decimal"} or "hex:decimal", each of hex, decimal, text; in '
    'the receipt also padded, with "width" or "hex:padded:20" for 1 to 60 digits',
    _read_id_format,
    _show_id_format,
    "RESPONSE:RECEIPT[:WIDTH]",
)
