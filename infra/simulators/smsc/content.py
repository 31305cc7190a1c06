"""What an SMSC reads in a message: its text and its place in a concatenated one."""

from msgspec import Struct

from adapters.smpp.protocol.constants import EsmClass, Tag
from adapters.smpp.protocol.pdu import DataSm, SubmitSm
from domain.sms import gsm0338

_UDHI = int(EsmClass.UDHI)
_SAR_TOTAL_SEGMENTS = int(Tag.SAR_TOTAL_SEGMENTS)


class Part(Struct, frozen=True, gc=False):
    """Where a message stands in a concatenated one; the SMSC sees only parts."""

    reference: int
    total: int
    number: int


def read_payload(pdu: SubmitSm | DataSm) -> tuple[bytes, Part | None]:
    """The message without its UDH, and its place in a concatenated message if it is a part.

    Concatenation is read from the UDH (3GPP TS 23.040 section 9.2.3.24.1 and .8) and from the SAR
    parameters (SMPP 3.4 sections 5.3.2.22 to 24).

    Raises:
        ValueError: esm_class announces a UDH and there is none.
    """
    payload = pdu.message
    if not pdu.esm_class & _UDHI:
        tlvs = pdu.tlvs
        if total := tlvs.get(_SAR_TOTAL_SEGMENTS):
            reference = int.from_bytes(tlvs.get(Tag.SAR_MSG_REF_NUM, b""), "big")
            number = int.from_bytes(tlvs.get(Tag.SAR_SEGMENT_SEQNUM, b""), "big")
            return payload, Part(reference, total[0], number)
        return payload, None
    length = payload[0] + 1 if payload else 0
    if not 1 <= length <= len(payload):
        raise ValueError("the user data header is cut short")
    part = None
    position = 1
    while position + 2 <= length:
        identifier, size = payload[position], payload[position + 1]
        element = payload[position + 2 : min(position + 2 + size, length)]
        if identifier in (0x00, 0x08) and len(element) == (4 if identifier else 3):
            part = Part(int.from_bytes(element[:-2], "big"), element[-2], element[-1])
        position += 2 + size
    return payload[length:], part


def read_text(payload: bytes, data_coding: int) -> str:
    """The text of a payload, for people: GSM-7, Latin-1 or UCS-2, and hexadecimal for the rest."""
    if data_coding == 8:
        return payload.decode("utf-16-be", errors="replace")
    if data_coding == 0 and payload.isascii():
        return gsm0338.decode(payload)
    if data_coding in (0, 1, 3):
        return payload.decode("latin-1")
    return payload.hex()
