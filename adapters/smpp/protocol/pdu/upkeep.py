"""What keeps a session going: enquire_link, generic_nack, alert_notification."""

from typing import Self

from msgspec import field

from adapters.smpp.protocol.constants import CommandId, CommandStatus
from adapters.smpp.protocol.pdu.wire import (
    DATA_SM_ADDRESS_SIZE,
    Pdu,
    Reader,
    c_string,
    encode_tlvs,
    octets,
)


class EnquireLink(Pdu, frozen=True, gc=False):
    """Section 4.11.1."""

    command_id = CommandId.ENQUIRE_LINK


class EnquireLinkResp(Pdu, frozen=True, gc=False):
    """Section 4.11.2."""

    command_id = CommandId.ENQUIRE_LINK_RESP


class GenericNack(Pdu, frozen=True, gc=False):
    """Section 4.3.1: the answer to what cannot be answered in its own terms."""

    command_id = CommandId.GENERIC_NACK


class AlertNotification(Pdu, frozen=True, gc=False):
    """Section 4.12.1: a mobile that was asked about is within reach again. It has no response."""

    command_id = CommandId.ALERT_NOTIFICATION

    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    esme_addr_ton: int = 0
    esme_addr_npi: int = 0
    esme_addr: str = ""
    tlvs: dict[int, bytes] = field(default_factory=dict)

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return b"".join(
            (
                octets(self.source_addr_ton, self.source_addr_npi),
                c_string(
                    self.source_addr,
                    DATA_SM_ADDRESS_SIZE,
                    CommandStatus.ESME_RINVSRCADR,
                    "source_addr",
                ),
                octets(self.esme_addr_ton, self.esme_addr_npi),
                c_string(
                    self.esme_addr, DATA_SM_ADDRESS_SIZE, CommandStatus.ESME_RINVDSTADR, "esme_addr"
                ),
                encode_tlvs(self.tlvs),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        return cls(
            source_addr_ton=reader.octet(),
            source_addr_npi=reader.octet(),
            source_addr=reader.c_string(DATA_SM_ADDRESS_SIZE, CommandStatus.ESME_RINVSRCADR),
            esme_addr_ton=reader.octet(),
            esme_addr_npi=reader.octet(),
            esme_addr=reader.c_string(DATA_SM_ADDRESS_SIZE, CommandStatus.ESME_RINVDSTADR),
            tlvs=reader.tlvs(),
        )
