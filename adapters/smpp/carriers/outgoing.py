"""From a delivery request to the submit_sm of each part, as its carrier likes them."""

from __future__ import annotations

from collections.abc import Callable

from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.protocol.constants import EsmClass, Tag
from adapters.smpp.protocol.pdu import SubmitSm
from domain.delivery import DeliveryRequest
from domain.sms import gsm0338
from domain.sms.segmentation import UDH_8, UDH_16, SegmentedText, segment

REFERENCES = 0x10000
"""How many concatenation and user message references there are."""

_REFERENCE_TLV = int(Tag.USER_MESSAGE_REFERENCE)
_UDHI = int(EsmClass.UDHI)
# SMPP 3.4 section 5.2.17: 1 asks for the final receipt, bit 4 for intermediate notifications too.
_REGISTERED_DELIVERY = {"all": 0x01, "intermediate": 0x11, "none": 0x00}
_UCS2 = 8


def cut(text: str, config: CarrierConfig, reference: int) -> SegmentedText:
    """The parts of a text. Raises ValueError for what no short messages can carry."""
    header = UDH_16 if config.concatenation == "udh16" else UDH_8
    if config.default_alphabet == "latin1" and not _is_latin1(text):
        # Not in the carrier's alphabet, though it may be in GSM 03.38 (a euro sign).
        return segment(text, reference=reference & 0xFF, header=header, encoding="ucs2")
    return segment(text, reference=reference & 0xFF, header=header)


def bodies(
    request: DeliveryRequest, config: CarrierConfig, text: SegmentedText, reference: int
) -> list[bytes]:
    """The body of each part's submit_sm, in order; `reference` is the first part's.

    Raises PduError when a field does not fit.
    """
    sender = (request.sender or config.default_sender).lstrip("+")
    source = config.source_numeric if sender.isdigit() else config.source_alphanumeric
    total = len(text.parts)
    header = _header(config, text, reference)
    found = []
    for index, payload in enumerate(text.parts):
        udh, tlvs = header(index) if total > 1 else (b"", {})
        tlvs[_REFERENCE_TLV] = ((reference + index) % REFERENCES).to_bytes(2, "big")
        pdu = SubmitSm(
            service_type=config.service_type,
            source_addr_ton=source.ton,
            source_addr_npi=source.npi,
            source_addr=sender,
            dest_addr_ton=config.destination.ton,
            dest_addr_npi=config.destination.npi,
            destination_addr=request.to.lstrip("+"),
            esm_class=_UDHI if udh else 0,
            validity_period=_validity(config.validity),
            registered_delivery=_REGISTERED_DELIVERY[config.receipts],
            data_coding=text.data_coding,
            short_message=udh + _in_alphabet(payload, text, config),
            tlvs=tlvs,
        )
        found.append(pdu.encode_body())
    return found


def _header(
    config: CarrierConfig, text: SegmentedText, reference: int
) -> Callable[[int], tuple[bytes, dict[int, bytes]]]:
    total = len(text.parts)
    if config.concatenation == "sar":
        # SMPP 3.4 sections 5.3.2.22 to 24.
        return lambda index: (
            b"",
            {
                int(Tag.SAR_MSG_REF_NUM): reference.to_bytes(2, "big"),
                int(Tag.SAR_TOTAL_SEGMENTS): bytes((total,)),
                int(Tag.SAR_SEGMENT_SEQNUM): bytes((index + 1,)),
            },
        )
    if config.concatenation == "udh16":
        # 3GPP TS 23.040 section 9.2.3.24.8.
        return lambda index: (
            bytes((0x06, 0x08, 0x04, reference >> 8, reference & 0xFF, total, index + 1)),
            {},
        )
    return lambda index: (text.udh(index), {})


def _in_alphabet(payload: bytes, text: SegmentedText, config: CarrierConfig) -> bytes:
    if config.default_alphabet == "latin1" and text.data_coding != _UCS2:
        return gsm0338.decode(payload).encode("latin-1")
    return payload


def _is_latin1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _validity(seconds: float | None) -> str:
    """A relative time, SMPP 3.4 section 7.1.1."""
    if seconds is None:
        return ""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"0000{day:02}{hour:02}{minute:02}{second:02}000R"
