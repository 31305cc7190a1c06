"""The messages: submit_sm, deliver_sm and data_sm (sections 4.4, 4.6 and 4.7).

These are the hot path, so the layout that submit_sm and deliver_sm share is read and written
without a Reader.
"""

import struct
from typing import NoReturn, Self

from msgspec import field

from adapters.smpp.protocol.constants import MAX_SHORT_MESSAGE, CommandId, CommandStatus, Tag
from adapters.smpp.protocol.pdu.wire import (
    ADDRESS_SIZE,
    DATA_SM_ADDRESS_SIZE,
    MESSAGE_ID_SIZE,
    SERVICE_TYPE_SIZE,
    TIME_SIZE,
    Pdu,
    PduError,
    Reader,
    c_string,
    decode_tlvs,
    encode_tlvs,
    octets,
)

_FIVE_OCTETS = struct.Struct("5B")

# Plain names for what the fast paths use: an attribute of an IntEnum costs a lookup each time.
_RINVMSGLEN = CommandStatus.ESME_RINVMSGLEN
_RINVCMDLEN = CommandStatus.ESME_RINVCMDLEN
_RINVSRCADR = CommandStatus.ESME_RINVSRCADR
_RINVDSTADR = CommandStatus.ESME_RINVDSTADR
_RINVSERTYP = CommandStatus.ESME_RINVSERTYP
_RINVSCHED = CommandStatus.ESME_RINVSCHED
_RINVEXPIRY = CommandStatus.ESME_RINVEXPIRY
_RSYSERR = CommandStatus.ESME_RSYSERR
_MESSAGE_PAYLOAD = int(Tag.MESSAGE_PAYLOAD)


class ShortMessagePdu(Pdu, frozen=True, gc=False):
    """The layout that submit_sm (section 4.4.1) and deliver_sm (section 4.6.1) share.

    `short_message` holds at most 254 octets; `message` finds a longer one in its TLV. Times are
    passed through unread: their format (section 7.1.1) is checked by whoever acts on them.
    """

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = ""
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""
    tlvs: dict[int, bytes] = field(default_factory=dict)

    @property
    def message(self) -> bytes:
        """short_message, or message_payload (0x0424) when that is empty."""
        return self.short_message or self.tlvs.get(_MESSAGE_PAYLOAD, b"")

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        service_type = self.service_type
        source = self.source_addr
        destination = self.destination_addr
        schedule = self.schedule_delivery_time
        validity = self.validity_period
        message = self.short_message
        length = len(message)
        if (
            len(service_type) >= SERVICE_TYPE_SIZE
            or len(source) >= ADDRESS_SIZE
            or len(destination) >= ADDRESS_SIZE
            or len(schedule) >= TIME_SIZE
            or len(validity) >= TIME_SIZE
            or length > MAX_SHORT_MESSAGE
            or "\0" in service_type
            or "\0" in source
            or "\0" in destination
            or "\0" in schedule
            or "\0" in validity
        ):
            self._refuse()
        try:
            body = b"%b\0%c%c%b\0%c%c%b\0%c%c%c%b\0%b\0%c%c%c%c%c%b" % (
                service_type.encode("latin-1"),
                self.source_addr_ton,
                self.source_addr_npi,
                source.encode("latin-1"),
                self.dest_addr_ton,
                self.dest_addr_npi,
                destination.encode("latin-1"),
                self.esm_class,
                self.protocol_id,
                self.priority_flag,
                schedule.encode("latin-1"),
                validity.encode("latin-1"),
                self.registered_delivery,
                self.replace_if_present_flag,
                self.data_coding,
                self.sm_default_msg_id,
                length,
                message,
            )
        except (UnicodeEncodeError, OverflowError):
            self._refuse()
        return body + encode_tlvs(self.tlvs) if self.tlvs else body

    def _refuse(self) -> NoReturn:
        """Say which field does not fit; only ever called when one does not."""
        c_string(self.service_type, SERVICE_TYPE_SIZE, _RINVSERTYP, "service_type")
        c_string(self.source_addr, ADDRESS_SIZE, _RINVSRCADR, "source_addr")
        c_string(self.destination_addr, ADDRESS_SIZE, _RINVDSTADR, "destination_addr")
        c_string(self.schedule_delivery_time, TIME_SIZE, _RINVSCHED, "schedule_delivery_time")
        c_string(self.validity_period, TIME_SIZE, _RINVEXPIRY, "validity_period")
        if len(self.short_message) > MAX_SHORT_MESSAGE:
            raise PduError(_RINVMSGLEN, f"short_message takes {MAX_SHORT_MESSAGE} octets")
        raise PduError(_RSYSERR, "an integer parameter is one octet")

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        # Unrolled: this runs for every message and every receipt. The offsets only grow, so one
        # comparison with `end` at the last mandatory octet covers all that came before; `index`
        # raises ValueError when a NUL is not found within its field. A body that is cut short may
        # thus have been read beyond its end; so that the error is not that of the next PDU, it is
        # looked for again in a copy that ends there.
        body = start
        index = buffer.index
        invalid = _RINVSERTYP
        try:
            nul = index(b"\0", start, start + SERVICE_TYPE_SIZE)
            service_type = buffer[start:nul].decode("latin-1") if nul > start else ""
            source_addr_ton = buffer[nul + 1]
            source_addr_npi = buffer[nul + 2]

            invalid = _RINVSRCADR
            start = nul + 3
            nul = index(b"\0", start, start + ADDRESS_SIZE)
            source_addr = buffer[start:nul].decode("latin-1")
            dest_addr_ton = buffer[nul + 1]
            dest_addr_npi = buffer[nul + 2]

            invalid = _RINVDSTADR
            start = nul + 3
            nul = index(b"\0", start, start + ADDRESS_SIZE)
            destination_addr = buffer[start:nul].decode("latin-1")
            esm_class = buffer[nul + 1]
            protocol_id = buffer[nul + 2]
            priority_flag = buffer[nul + 3]

            invalid = _RINVSCHED
            start = nul + 4
            nul = index(b"\0", start, start + TIME_SIZE)
            schedule = buffer[start:nul].decode("latin-1") if nul > start else ""

            invalid = _RINVEXPIRY
            start = nul + 1
            nul = index(b"\0", start, start + TIME_SIZE)
            validity = buffer[start:nul].decode("latin-1") if nul > start else ""

            invalid = _RINVCMDLEN
            (
                registered_delivery,
                replace_if_present_flag,
                data_coding,
                sm_default_msg_id,
                sm_length,
            ) = _FIVE_OCTETS.unpack_from(buffer, nul + 1)
        except (ValueError, IndexError, struct.error):
            if end < len(buffer):
                return cls.decode_body(buffer[body:end], 0, end - body)
            raise PduError(invalid, f"{cls.__name__} is malformed or cut short") from None
        start = nul + 6
        after = start + sm_length
        if start > end:
            if end < len(buffer):
                return cls.decode_body(buffer[body:end], 0, end - body)
            raise PduError(_RINVCMDLEN, f"{cls.__name__} ends inside its mandatory parameters")
        if sm_length > MAX_SHORT_MESSAGE or after > end:
            raise PduError(_RINVMSGLEN, f"sm_length {sm_length} does not fit")
        return cls(
            service_type,
            source_addr_ton,
            source_addr_npi,
            source_addr,
            dest_addr_ton,
            dest_addr_npi,
            destination_addr,
            esm_class,
            protocol_id,
            priority_flag,
            schedule,
            validity,
            registered_delivery,
            replace_if_present_flag,
            data_coding,
            sm_default_msg_id,
            buffer[start:after],
            decode_tlvs(buffer, after, end) if after < end else {},
        )


class SubmitSm(ShortMessagePdu, frozen=True, gc=False):
    """Section 4.4.1: a message for the SMSC to deliver."""

    command_id = CommandId.SUBMIT_SM


class DeliverSm(ShortMessagePdu, frozen=True, gc=False):
    """Section 4.6.1: a message or a receipt for the ESME."""

    command_id = CommandId.DELIVER_SM


class MessageIdResp(Pdu, frozen=True, gc=False):
    """A response that carries a message id of at most 64 characters."""

    message_id: str = ""
    tlvs: dict[int, bytes] = field(default_factory=dict)

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        body = c_string(
            self.message_id, MESSAGE_ID_SIZE, CommandStatus.ESME_RINVMSGID, "message_id"
        )
        return body + encode_tlvs(self.tlvs) if self.tlvs else body

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        limit = start + MESSAGE_ID_SIZE
        nul = buffer.find(b"\0", start, limit if limit < end else end)
        if nul < 0:
            raise PduError(CommandStatus.ESME_RINVMSGID, f"no NUL within {MESSAGE_ID_SIZE} octets")
        after = nul + 1
        return cls(
            buffer[start:nul].decode("latin-1"),
            decode_tlvs(buffer, after, end) if after < end else {},
        )


class SubmitSmResp(MessageIdResp, frozen=True, gc=False):
    """Section 4.4.2. SMPP 3.4 defines no TLV here; carriers send them, so they are read."""

    command_id = CommandId.SUBMIT_SM_RESP


class DeliverSmResp(MessageIdResp, frozen=True, gc=False):
    """Section 4.6.2: `message_id` is unused and empty."""

    command_id = CommandId.DELIVER_SM_RESP


class DataSmResp(MessageIdResp, frozen=True, gc=False):
    """Section 4.7.2."""

    command_id = CommandId.DATA_SM_RESP


class DataSm(Pdu, frozen=True, gc=False):
    """Section 4.7.1: either way, the text in message_payload; some carriers' receipts."""

    command_id = CommandId.DATA_SM

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = ""
    esm_class: int = 0
    registered_delivery: int = 0
    data_coding: int = 0
    tlvs: dict[int, bytes] = field(default_factory=dict)

    @property
    def message(self) -> bytes:
        """message_payload (0x0424), empty when there is none."""
        return self.tlvs.get(_MESSAGE_PAYLOAD, b"")

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return b"".join(
            (
                c_string(self.service_type, SERVICE_TYPE_SIZE, _RINVSERTYP, "service_type"),
                octets(self.source_addr_ton, self.source_addr_npi),
                c_string(self.source_addr, DATA_SM_ADDRESS_SIZE, _RINVSRCADR, "source_addr"),
                octets(self.dest_addr_ton, self.dest_addr_npi),
                c_string(
                    self.destination_addr, DATA_SM_ADDRESS_SIZE, _RINVDSTADR, "destination_addr"
                ),
                octets(self.esm_class, self.registered_delivery, self.data_coding),
                encode_tlvs(self.tlvs),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        # Keyword arguments are evaluated in this order, which is the order on the wire.
        return cls(
            service_type=reader.c_string(SERVICE_TYPE_SIZE, _RINVSERTYP),
            source_addr_ton=reader.octet(),
            source_addr_npi=reader.octet(),
            source_addr=reader.c_string(DATA_SM_ADDRESS_SIZE, _RINVSRCADR),
            dest_addr_ton=reader.octet(),
            dest_addr_npi=reader.octet(),
            destination_addr=reader.c_string(DATA_SM_ADDRESS_SIZE, _RINVDSTADR),
            esm_class=reader.octet(),
            registered_delivery=reader.octet(),
            data_coding=reader.octet(),
            tlvs=reader.tlvs(),
        )
