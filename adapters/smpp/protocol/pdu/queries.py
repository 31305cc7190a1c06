"""About a message that the SMSC already has: query_sm, cancel_sm, replace_sm (4.8 to 4.10)."""

from typing import Self

from adapters.smpp.protocol.constants import CommandId, CommandStatus
from adapters.smpp.protocol.pdu.wire import (
    ADDRESS_SIZE,
    MESSAGE_ID_SIZE,
    SERVICE_TYPE_SIZE,
    TIME_SIZE,
    Pdu,
    Reader,
    c_string,
    octets,
    short_message,
)

_RINVMSGID = CommandStatus.ESME_RINVMSGID
_RINVSRCADR = CommandStatus.ESME_RINVSRCADR
_RINVDSTADR = CommandStatus.ESME_RINVDSTADR
_RINVSERTYP = CommandStatus.ESME_RINVSERTYP
_RINVSCHED = CommandStatus.ESME_RINVSCHED
_RINVEXPIRY = CommandStatus.ESME_RINVEXPIRY


class QuerySm(Pdu, frozen=True, gc=False):
    """Section 4.8.1: what has become of a message? The source is that of its submission."""

    command_id = CommandId.QUERY_SM

    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return b"".join(
            (
                c_string(self.message_id, MESSAGE_ID_SIZE, _RINVMSGID, "message_id"),
                octets(self.source_addr_ton, self.source_addr_npi),
                c_string(self.source_addr, ADDRESS_SIZE, _RINVSRCADR, "source_addr"),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        query = cls(
            message_id=reader.c_string(MESSAGE_ID_SIZE, _RINVMSGID),
            source_addr_ton=reader.octet(),
            source_addr_npi=reader.octet(),
            source_addr=reader.c_string(ADDRESS_SIZE, _RINVSRCADR),
        )
        reader.tlvs()
        return query


class QuerySmResp(Pdu, frozen=True, gc=False):
    """Section 4.8.2. `final_date` is empty until the state is final; `error_code` is the network's.

    `message_state` is the number as sent (section 5.2.28), whether or not MessageState has it.
    """

    command_id = CommandId.QUERY_SM_RESP

    message_id: str = ""
    final_date: str = ""
    message_state: int = 0
    error_code: int = 0

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return b"".join(
            (
                c_string(self.message_id, MESSAGE_ID_SIZE, _RINVMSGID, "message_id"),
                c_string(self.final_date, TIME_SIZE, CommandStatus.ESME_RQUERYFAIL, "final_date"),
                octets(self.message_state, self.error_code),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        response = cls(
            message_id=reader.c_string(MESSAGE_ID_SIZE, _RINVMSGID),
            final_date=reader.c_string(TIME_SIZE, CommandStatus.ESME_RQUERYFAIL),
            message_state=reader.octet(),
            error_code=reader.octet(),
        )
        reader.tlvs()
        return response


class CancelSm(Pdu, frozen=True, gc=False):
    """Section 4.9.1: cancel one message by its id, or, without an id, all between two addresses."""

    command_id = CommandId.CANCEL_SM

    service_type: str = ""
    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = ""

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return b"".join(
            (
                c_string(self.service_type, SERVICE_TYPE_SIZE, _RINVSERTYP, "service_type"),
                c_string(self.message_id, MESSAGE_ID_SIZE, _RINVMSGID, "message_id"),
                octets(self.source_addr_ton, self.source_addr_npi),
                c_string(self.source_addr, ADDRESS_SIZE, _RINVSRCADR, "source_addr"),
                octets(self.dest_addr_ton, self.dest_addr_npi),
                c_string(self.destination_addr, ADDRESS_SIZE, _RINVDSTADR, "destination_addr"),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        cancel = cls(
            service_type=reader.c_string(SERVICE_TYPE_SIZE, _RINVSERTYP),
            message_id=reader.c_string(MESSAGE_ID_SIZE, _RINVMSGID),
            source_addr_ton=reader.octet(),
            source_addr_npi=reader.octet(),
            source_addr=reader.c_string(ADDRESS_SIZE, _RINVSRCADR),
            dest_addr_ton=reader.octet(),
            dest_addr_npi=reader.octet(),
            destination_addr=reader.c_string(ADDRESS_SIZE, _RINVDSTADR),
        )
        reader.tlvs()
        return cancel


class CancelSmResp(Pdu, frozen=True, gc=False):
    """Section 4.9.2."""

    command_id = CommandId.CANCEL_SM_RESP


class ReplaceSm(Pdu, frozen=True, gc=False):
    """Section 4.10.1: another text for a message that has not been delivered."""

    command_id = CommandId.REPLACE_SM

    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return b"".join(
            (
                c_string(self.message_id, MESSAGE_ID_SIZE, _RINVMSGID, "message_id"),
                octets(self.source_addr_ton, self.source_addr_npi),
                c_string(self.source_addr, ADDRESS_SIZE, _RINVSRCADR, "source_addr"),
                c_string(
                    self.schedule_delivery_time, TIME_SIZE, _RINVSCHED, "schedule_delivery_time"
                ),
                c_string(self.validity_period, TIME_SIZE, _RINVEXPIRY, "validity_period"),
                octets(self.registered_delivery, self.sm_default_msg_id),
                short_message(self.short_message),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        replace = cls(
            message_id=reader.c_string(MESSAGE_ID_SIZE, _RINVMSGID),
            source_addr_ton=reader.octet(),
            source_addr_npi=reader.octet(),
            source_addr=reader.c_string(ADDRESS_SIZE, _RINVSRCADR),
            schedule_delivery_time=reader.c_string(TIME_SIZE, _RINVSCHED),
            validity_period=reader.c_string(TIME_SIZE, _RINVEXPIRY),
            registered_delivery=reader.octet(),
            sm_default_msg_id=reader.octet(),
            short_message=reader.short_message(),
        )
        reader.tlvs()
        return replace


class ReplaceSmResp(Pdu, frozen=True, gc=False):
    """Section 4.10.2."""

    command_id = CommandId.REPLACE_SM_RESP
