"""The kinds of values that only the SMSC simulator's options have."""

from typing import Any, Final

from msgspec import Struct

from adapters.smpp.protocol.constants import CommandStatus, status_name
from infra.simulators.options import Kind, choice, whole

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
