"""How receipts look: the formats, the notations of ids, and the variants of their text.

SMPP 3.4 leaves the text of a receipt to the SMSC; appendix B gives one format. STYLES has it and
those that carriers really send, each with one oddity.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from adapters.smpp.protocol.constants import CommandId, DataCoding, EsmClass, MessageState, Tag
from adapters.smpp.protocol.pdu import DataSm, DeliverSm, SubmitSm
from infra.simulators.smsc.kinds import IdFormat

FORMATS: Final = ("tlv+text", "text", "tlv", "payload", "data_sm")
"""Where a receipt says what it says: TLVs and text, one of the two, the text in message_payload,
or a data_sm with TLVs and message_payload. The submission's user_message_reference is echoed
wherever there are TLVs."""
MIXED: Final = "mixed"
"""Each of STYLES in turn."""

_TEXT_OCTETS = 20
_ONE_OCTET = (0, 1, 3)  # the alphabets whose text can stand in that of a receipt
_DELIVER_SM = int(CommandId.DELIVER_SM)
_DATA_SM = int(CommandId.DATA_SM)
_RECEIPT = int(EsmClass.DELIVERY_RECEIPT)
_INTERMEDIATE = int(EsmClass.INTERMEDIATE_NOTIFICATION)
_RECEIPTED_MESSAGE_ID = int(Tag.RECEIPTED_MESSAGE_ID)
_MESSAGE_STATE = int(Tag.MESSAGE_STATE)
_USER_MESSAGE_REFERENCE = int(Tag.USER_MESSAGE_REFERENCE)
_NETWORK_ERROR_CODE = int(Tag.NETWORK_ERROR_CODE)
_MESSAGE_PAYLOAD = int(Tag.MESSAGE_PAYLOAD)
_GSM_NETWORK = 3

# SMPP 3.4, appendix B; and the `err` a carrier would put beside each.
_STAT: Final = {
    MessageState.ENROUTE: (b"ENROUTE", 0),
    MessageState.DELIVERED: (b"DELIVRD", 0),
    MessageState.EXPIRED: (b"EXPIRED", 34),
    MessageState.UNDELIVERABLE: (b"UNDELIV", 1),
    MessageState.REJECTED: (b"REJECTD", 8),
}
_IN_FULL: Final = {
    **{state: stat for state, (stat, _) in _STAT.items()},
    MessageState.DELIVERED: b"DELIVERED",
    MessageState.UNDELIVERABLE: b"UNDELIVERABLE",
    MessageState.REJECTED: b"REJECTED",
}


@functools.lru_cache(maxsize=16)
def _date(minute: int) -> bytes:
    return time.strftime("%y%m%d%H%M", time.gmtime(minute * 60)).encode()


@functools.lru_cache(maxsize=64)
def _date_with_seconds(second: int) -> bytes:
    return time.strftime("%y%m%d%H%M%S", time.gmtime(second)).encode()


class Style(Struct, frozen=True):
    """A variant of the text.

    `template` may use %(id)b, %(dlvrd)b, %(submitted)b, %(done)b, %(stat)b, %(err)b and %(text)b.
    """

    template: bytes
    seconds: bool = False
    in_full: bool = False
    err: bytes = b"%03d"
    ucs2: bool = False


_STANDARD = (
    b"id:%(id)b sub:001 dlvrd:%(dlvrd)b submit date:%(submitted)b done date:%(done)b "
    b"stat:%(stat)b err:%(err)b text:%(text)b"
)
STYLES: Final[dict[str, Style]] = {
    "standard": Style(_STANDARD),
    "upper": Style(
        b"ID:%(id)b SUB:001 DLVRD:%(dlvrd)b SUBMIT DATE:%(submitted)b DONE DATE:%(done)b "
        b"STAT:%(stat)b ERR:%(err)b TEXT:%(text)b"
    ),
    "submitdate": Style(
        b"id:%(id)b sub:001 dlvrd:%(dlvrd)b submitdate:%(submitted)b donedate:%(done)b "
        b"stat:%(stat)b err:%(err)b text:%(text)b"
    ),
    "seconds": Style(_STANDARD, seconds=True),
    "words": Style(_STANDARD, in_full=True),
    "letters": Style(_STANDARD, err=b"E%02X"),
    "terse": Style(b"id:%(id)b stat:%(stat)b"),
    "reordered": Style(
        b"stat:%(stat)b err:%(err)b done date:%(done)b submit date:%(submitted)b "
        b"dlvrd:%(dlvrd)b sub:001 id:%(id)b text:%(text)b"
    ),
    "trap": Style(_STANDARD.replace(b"%(text)b", b"id:0 stat:REJECTD err:999")),
    "ucs2": Style(b"id:%(id)b done date:%(done)b stat:%(stat)b err:%(err)b", ucs2=True),
}
"""By name: appendix B; keys in capitals; `submitdate:`; dates of 12 digits; `stat:DELIVERED` and
the like in full; `err` with letters; only id and stat; keys in another order; the user's words
hold keys themselves; the whole text in UCS-2."""
_STYLES_IN_TURN: Final = tuple(STYLES.values())

_NOTATIONS: Final[dict[str, Callable[[int, int], str]]] = {
    "hex": lambda number, _: f"{number:X}",
    "decimal": lambda number, _: f"{number}",
    "text": lambda number, _: f"sms-{number:x}",
    "padded": lambda number, width: f"{number:0{width}d}",
}


def id_in_response(number: int, id_format: IdFormat) -> str:
    """A message's id as submit_sm_resp says it."""
    return _NOTATIONS[id_format.response](number, id_format.width)


def id_in_receipt(number: int, id_format: IdFormat) -> str:
    """A message's id as its receipt says it."""
    return _NOTATIONS[id_format.receipt](number, id_format.width)


def style_of(name: str, turn: int) -> Style:
    """The style called `name`; for MIXED the one whose turn it is."""
    return _STYLES_IN_TURN[turn % len(_STYLES_IN_TURN)] if name == MIXED else STYLES[name]


def write_receipt(
    submission: SubmitSm | DataSm,
    payload: bytes,
    message_id: str,
    state: MessageState,
    *,
    receipt_format: str,
    style: Style,
    submitted_at: float,
    done_at: float,
) -> tuple[int, bytes]:
    """A receipt for `submission`: the command_id to send it with and the encoded body.

    ENROUTE makes it an intermediate notification. `payload` is the submission's, without a UDH.

    Raises:
        PduError: an address does not fit a deliver_sm.
    """
    stat, error = _STAT[state]
    octets = message_id.encode("latin-1")
    text = b""
    data_coding = 0
    if receipt_format != "tlv":
        text = style.template % {
            b"id": octets,
            b"dlvrd": b"001" if state is MessageState.DELIVERED else b"000",
            b"submitted": _written(submitted_at, style),
            b"done": _written(done_at, style),
            b"stat": _IN_FULL[state] if style.in_full else stat,
            b"err": style.err % error,
            b"text": payload[:_TEXT_OCTETS] if submission.data_coding in _ONE_OCTET else b"",
        }
        if style.ucs2:
            text = text.decode("latin-1").encode("utf-16-be")
            data_coding = DataCoding.UCS2

    tlvs: dict[int, bytes] = {}
    if receipt_format not in ("text", "payload"):
        tlvs[_RECEIPTED_MESSAGE_ID] = octets + b"\0"
        tlvs[_MESSAGE_STATE] = bytes((state,))
        if receipt_format != "tlv+text":
            tlvs[_NETWORK_ERROR_CODE] = bytes((_GSM_NETWORK, 0, error))
        if reference := submission.tlvs.get(_USER_MESSAGE_REFERENCE):
            tlvs[_USER_MESSAGE_REFERENCE] = reference
    if receipt_format in ("payload", "data_sm"):
        tlvs[_MESSAGE_PAYLOAD] = text
        text = b""
    esm_class = _INTERMEDIATE if state is MessageState.ENROUTE else _RECEIPT
    # It goes back to where the submission came from.
    addresses: dict[str, Any] = {
        "source_addr_ton": submission.dest_addr_ton,
        "source_addr_npi": submission.dest_addr_npi,
        "source_addr": submission.destination_addr,
        "dest_addr_ton": submission.source_addr_ton,
        "dest_addr_npi": submission.source_addr_npi,
        "destination_addr": submission.source_addr,
    }
    if receipt_format == "data_sm":
        return _DATA_SM, DataSm(
            **addresses, esm_class=esm_class, data_coding=data_coding, tlvs=tlvs
        ).encode_body()
    return _DELIVER_SM, DeliverSm(
        **addresses,
        esm_class=esm_class,
        data_coding=data_coding,
        short_message=text,
        tlvs=tlvs,
    ).encode_body()


def _written(epoch: float, style: Style) -> bytes:
    return _date_with_seconds(int(epoch)) if style.seconds else _date(int(epoch) // 60)
