"""From a deliver_sm to a part of a message, and from parts to the message.

Pure: what is stored decides, so every process, and the same one after a crash, puts the same parts
together in the same way.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Final, Literal

import phonenumbers
from phonenumbers import NumberParseException

from adapters.smpp.protocol.constants import CommandStatus, DataCoding, EsmClass, Tag, TypeOfNumber
from adapters.smpp.protocol.pdu import DataSm, DeliverSm, PduError
from adapters.smpp.store.inbound_store import InboundPart
from domain.inbound import GAP, InboundMessage, inbound_id
from domain.sms import gsm0338

Alphabet = Literal["gsm7", "latin1"]
"""What a carrier means by data_coding 0."""

REFERENCE_VALID: Final = 3600.0
"""Seconds within which parts with the same reference may be of one message."""

_UDHI = int(EsmClass.UDHI)
_SAR = (int(Tag.SAR_MSG_REF_NUM), int(Tag.SAR_TOTAL_SEGMENTS), int(Tag.SAR_SEGMENT_SEQNUM))

# 3GPP TS 23.040, 9.2.3.24.1 and 9.2.3.24.8: the element's identifier and its length.
_CONCATENATED_8: Final = (0x00, 3)
_CONCATENATED_16: Final = (0x08, 4)
# References of different kinds are different, although their numbers may be the same.
_KIND_16: Final = 1 << 16
_KIND_SAR: Final = 2 << 16

_DEFAULT: Final = "default"
_BINARY: Final = "binary"
# SMPP 3.4, 5.2.19. What is not here is kept as it came.
_CODINGS: Final = {
    int(DataCoding.SMSC_DEFAULT): _DEFAULT,
    1: "ascii",
    int(DataCoding.LATIN_1): "latin-1",
    6: "iso8859-5",
    7: "iso8859-8",
    int(DataCoding.UCS2): "utf-16-be",
}
# 3GPP TS 23.038, section 4: bits 3 and 2 of the general group, which carriers pass on with a
# message class.
_GENERAL_GROUP: Final = (_DEFAULT, _BINARY, "utf-16-be", _BINARY)


def read_part(carrier: str, pdu: DeliverSm | DataSm, received_at: float) -> InboundPart:
    """The part of a message that a deliver_sm or data_sm is; most are the only one.

    Raises:
        PduError: the user data header runs over the message.
    """
    payload = pdu.message
    concatenation = None
    if pdu.esm_class & _UDHI:
        header, payload = _split_header(payload)
        concatenation = _concatenation(header)
    reference, total, number = concatenation or _segmentation(pdu.tlvs) or (0, 1, 1)
    return InboundPart(
        id=f"{int(received_at * 1e6):014x}{secrets.token_hex(8)}",
        carrier=carrier,
        source=_address(pdu.source_addr_ton, pdu.source_addr),
        destination=_address(pdu.dest_addr_ton, pdu.destination_addr),
        reference=reference,
        total=total,
        number=number,
        data_coding=pdu.data_coding,
        payload=payload,
        received_at=received_at,
    )


def _split_header(message: bytes) -> tuple[bytes, bytes]:
    end = message[0] + 1 if message else 1
    if end > len(message):
        raise PduError(CommandStatus.ESME_RX_P_APPN, "the user data header runs over the message")
    return message[1:end], message[end:]


def _concatenation(header: bytes) -> tuple[int, int, int] | None:
    """Reference, total and number from the user data header's elements.

    TS 23.040, 9.2.3.24: a header that does not add up is ignored whole, an element with reserved
    values is ignored by itself, and of a repeated element the last counts.
    """
    found = None
    position = 0
    while position < len(header):
        if position + 2 > len(header):
            return None
        element = (header[position], header[position + 1])
        start, position = position + 2, position + 2 + element[1]
        if position > len(header):
            return None
        if element == _CONCATENATED_8:
            reference = header[start]
        elif element == _CONCATENATED_16:
            reference = _KIND_16 | int.from_bytes(header[start : start + 2], "big")
        else:
            continue
        total, number = header[position - 2 : position]
        if 1 <= number <= total:
            found = (reference, total, number)
    return found


def _segmentation(tlvs: Mapping[int, bytes]) -> tuple[int, int, int] | None:
    """The same from the sar_ parameters (SMPP 3.4, 5.3.2.22 to 24), whose lengths the codec has
    checked."""
    if not tlvs:
        return None
    values = [tlvs.get(tag) for tag in _SAR]
    if None in values:
        return None
    reference, total, number = (int.from_bytes(value or b"", "big") for value in values)
    return (_KIND_SAR | reference, total, number) if 1 <= number <= total else None


def _address(ton: int, address: str) -> str:
    """In E.164 when it is a whole number, else as it came."""
    digits = address.removeprefix("+")
    if ton == TypeOfNumber.ALPHANUMERIC or not (digits.isascii() and digits.isdigit()):
        return address
    if ton == TypeOfNumber.INTERNATIONAL or address.startswith("+"):
        return "+" + digits.removeprefix("00")
    if ton == TypeOfNumber.UNKNOWN:
        return _guessed(address)
    return address


@lru_cache(maxsize=4096)
def _guessed(digits: str) -> str:
    """Many carriers do not say that their numbers are international ones."""
    number = "+" + digits.removeprefix("00")
    try:
        valid = phonenumbers.is_valid_number(phonenumbers.parse(number, None))
    except NumberParseException:
        valid = False
    return number if valid else digits


@dataclass(slots=True)
class Group:
    """Stored parts of one message, by number. `repeats` are more copies of them, which two
    processes may store at once."""

    parts: dict[int, InboundPart] = field(default_factory=dict)
    repeats: list[InboundPart] = field(default_factory=list)

    @property
    def first(self) -> InboundPart:
        """The part that came first."""
        return next(iter(self.parts.values()))

    @property
    def complete(self) -> bool:
        """Whether every part is there."""
        return len(self.parts) == self.first.total

    @property
    def ids(self) -> list[str]:
        """The ids of everything that is stored of it."""
        return [part.id for part in (*self.parts.values(), *self.repeats)]

    def take(self, part: InboundPart) -> bool:
        """Add a part that came later than the others; False when it is of another message."""
        if part.received_at - self.first.received_at > REFERENCE_VALID:
            return False
        mine = self.parts.setdefault(part.number, part)
        if mine is part:
            return True
        if (mine.payload, mine.data_coding) == (part.payload, part.data_coding):
            self.repeats.append(part)
            return True
        return False


def gather(parts: Iterable[InboundPart]) -> list[Group]:
    """Put parts together, in whatever order they came.

    The sender chooses the reference, and may use one again while parts of an earlier message are
    still missing. Then a part goes to the newest message that has no other in its place.
    """
    open_groups: dict[tuple[str, str, str, int, int], list[Group]] = {}
    groups = []
    for part in sorted(parts, key=lambda part: (part.received_at, part.id)):
        key = (part.carrier, part.source, part.destination, part.reference, part.total)
        of_key = open_groups.setdefault(key, [])
        if part.total > 1 and any(group.take(part) for group in reversed(of_key)):
            continue
        group = Group({part.number: part})
        of_key.append(group)
        groups.append(group)
    return groups


def put_together(group: Group, alphabet: Alphabet) -> InboundMessage:
    """The message, as far as its parts have come."""
    first = group.first
    parts = [group.parts[number] for number in sorted(group.parts)]
    codings = [_coding(part.data_coding) for part in parts]
    data = None
    text = ""
    if _BINARY in codings:
        data = base64.b64encode(b"".join(part.payload for part in parts)).decode()
    else:
        text = _text(group, alphabet)
    received_at = _moment(first.received_at)
    return InboundMessage(
        id=inbound_id(received_at, [part.id for part in parts]),
        carrier=first.carrier,
        source=first.source,
        destination=first.destination,
        text=text,
        data=data,
        parts=first.total,
        missing=tuple(n for n in range(1, first.total + 1) if n not in group.parts),
        received_at=received_at,
        last_at=_moment(max(part.received_at for part in parts)),
    )


def _text(group: Group, alphabet: Alphabet) -> str:
    """Parts that follow each other are decoded as one: a character may be cut in two."""

    def run(number: int) -> tuple[str, int]:
        part = group.parts.get(number)
        return ("", 0) if part is None else (_coding(part.data_coding), 1)

    texts = []
    for (coding, present), numbers in groupby(range(1, group.first.total + 1), key=run):
        if present:
            payload = b"".join(group.parts[number].payload for number in numbers)
            texts.append(_decode(payload, coding, alphabet))
        else:
            texts.append(GAP)
    return "".join(texts)


def _coding(data_coding: int) -> str:
    if data_coding >> 4 == 0x1:
        return _GENERAL_GROUP[data_coding >> 2 & 0x3]
    if data_coding >> 4 == 0xF:  # TS 23.038, section 4: bit 2 says 8-bit data
        return _BINARY if data_coding & 0x4 else _DEFAULT
    return _CODINGS.get(data_coding, _BINARY)


def _decode(payload: bytes, coding: str, alphabet: Alphabet) -> str:
    """The text, whatever the octets: what does not fit its coding is still shown."""
    if coding == _DEFAULT:
        if alphabet == "gsm7" and payload.isascii():
            return gsm0338.decode(payload)
        return payload.decode("latin-1")
    if coding == "ascii":
        return payload.decode("latin-1")
    return payload.decode(coding, "replace")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
