"""Messages from a handset to the ESME: what `POST /mo` takes, and the deliver_sm it makes."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from adapters.smpp.protocol.constants import CommandId, EsmClass, NumberingPlan, Tag, TypeOfNumber
from adapters.smpp.protocol.pdu import DeliverSm, PduError
from domain.sms.segmentation import UDH_8, UDH_16, segment
from infra.simulators.smsc.outbox import Delivery

MAX_REPEAT: Final = 100

Address = Annotated[str, Meta(min_length=1, max_length=20)]


class MobileOriginated(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /mo`.

    A text that is too long for one message is cut, and `parts` says where a part has its number: a
    UDH with an 8-bit or a 16-bit reference, or the SAR TLVs. `order` names the parts to send, from
    1: in any order, some twice, some not at all. `repeat` sends the whole of it so often, with the
    same `reference`, which counts up when it is not given. `account` is a system_id, by default
    the first.
    """

    source: Address
    destination: Address
    text: str
    parts: Literal["udh8", "udh16", "sar"] = "udh8"
    order: list[int] | None = None
    repeat: Annotated[int, Meta(ge=1, le=MAX_REPEAT)] = 1
    reference: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None
    account: str | None = None


def read_mo(body: bytes) -> MobileOriginated:
    """Read the body of `POST /mo`.

    Raises:
        ValueError: it is none; the text names the field.
    """
    try:
        return msgspec.json.decode(body, type=MobileOriginated)
    except msgspec.MsgspecError as error:
        raise ValueError(f"expected a message to deliver: {error}") from None


def mo_deliveries(mo: MobileOriginated, reference: int) -> list[Delivery]:
    """The deliver_sm that `mo` asks for; `reference` is used modulo 256 for `udh8`.

    Raises:
        ValueError: `order` names a part that the text does not have, or the text cannot be sent.
    """
    try:
        header = UDH_16 if mo.parts == "udh16" else UDH_8
        cut = segment(mo.text, reference=reference & 0xFF, header=header)
    except ValueError as error:
        raise ValueError(f"text: {error}") from None
    total = len(cut.parts)
    order = list(range(1, total + 1)) if mo.order is None else mo.order
    if not order or not all(1 <= number <= total for number in order):
        raise ValueError(f"order: expected numbers of parts from 1 to {total}, not {mo.order}")
    source_ton, source_npi = _numbering(mo.source)
    dest_ton, dest_npi = _numbering(mo.destination)
    deliveries = []
    for number in order * mo.repeat:
        udh, tlvs = _concatenation(mo.parts, reference, total, number)
        pdu = DeliverSm(
            source_addr_ton=source_ton,
            source_addr_npi=source_npi,
            source_addr=mo.source,
            dest_addr_ton=dest_ton,
            dest_addr_npi=dest_npi,
            destination_addr=mo.destination,
            esm_class=int(EsmClass.UDHI) if udh else 0,
            data_coding=cut.data_coding,
            short_message=udh + cut.parts[number - 1],
            tlvs=tlvs,
        )
        try:
            deliveries.append(Delivery(int(CommandId.DELIVER_SM), pdu.encode_body(), is_mo=True))
        except PduError as error:
            raise ValueError(str(error)) from None
    return deliveries


def _concatenation(
    how: Literal["udh8", "udh16", "sar"], reference: int, total: int, number: int
) -> tuple[bytes, dict[int, bytes]]:
    """The UDH and the TLVs of one part; nothing for a message of one part."""
    if total == 1:
        return b"", {}
    if how == "udh8":
        return bytes((5, 0, 3, reference & 0xFF, total, number)), {}
    if how == "udh16":
        return bytes((6, 8, 4, reference >> 8, reference & 0xFF, total, number)), {}
    return b"", {
        int(Tag.SAR_MSG_REF_NUM): reference.to_bytes(2, "big"),
        int(Tag.SAR_TOTAL_SEGMENTS): bytes((total,)),
        int(Tag.SAR_SEGMENT_SEQNUM): bytes((number,)),
    }


def _numbering(address: str) -> tuple[int, int]:
    if not address.isdigit():
        return TypeOfNumber.ALPHANUMERIC, NumberingPlan.UNKNOWN
    # A short code is no international number.
    if len(address) < 7:
        return TypeOfNumber.NETWORK_SPECIFIC, NumberingPlan.ISDN
    return TypeOfNumber.INTERNATIONAL, NumberingPlan.ISDN
