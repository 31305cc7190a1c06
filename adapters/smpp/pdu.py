"""The PDUs of SMPP 3.4: strict to read, fast to write.

A body is read from a buffer between two offsets, so a session decodes straight out of what the
socket gave it. Every length is checked against the PDU's own end before a byte beyond it is
touched, and whatever is wrong, on either way, is a PduError that carries the command_status to
answer with. Text fields are str, one character an octet (Latin-1), without the NUL.

To add a PDU: a subclass of Pdu with `command_id`, `encode_body` and `decode_body`, and its name in
PDU_TYPES.
"""

import struct
from typing import ClassVar, Final, NoReturn, Self

from msgspec import Struct, field

from adapters.smpp.constants import (
    HEADER_LENGTH,
    INTERFACE_VERSION,
    MAX_COMMAND_LENGTH,
    MAX_SHORT_MESSAGE,
    RESPONSE_BIT,
    TLV_LENGTH,
    CommandId,
    CommandStatus,
    Tag,
    status_name,
)

HEADER: Final = struct.Struct(">IIII")
"""command_length, command_id, command_status, sequence_number (section 3.2)."""

_TLV_HEADER = struct.Struct(">HH")
_FIVE_OCTETS = struct.Struct("5B")

# Octets including the NUL, section 5.2.
_SERVICE_TYPE = 6
_ADDRESS = 21
_DATA_SM_ADDRESS = 65
_TIME = 17
_SYSTEM_ID = 16
_PASSWORD = 9
_SYSTEM_TYPE = 13
_ADDRESS_RANGE = 41
_MESSAGE_ID = 65

# Plain names for what the fast paths use: an attribute of an IntEnum costs a lookup each time.
_RINVMSGLEN = CommandStatus.ESME_RINVMSGLEN
_RINVCMDLEN = CommandStatus.ESME_RINVCMDLEN
_RINVSRCADR = CommandStatus.ESME_RINVSRCADR
_RINVDSTADR = CommandStatus.ESME_RINVDSTADR
_RINVSERTYP = CommandStatus.ESME_RINVSERTYP
_RINVSCHED = CommandStatus.ESME_RINVSCHED
_RINVEXPIRY = CommandStatus.ESME_RINVEXPIRY
_RINVOPTPARSTREAM = CommandStatus.ESME_RINVOPTPARSTREAM
_RINVPARLEN = CommandStatus.ESME_RINVPARLEN
_RSYSERR = CommandStatus.ESME_RSYSERR
_MESSAGE_PAYLOAD = int(Tag.MESSAGE_PAYLOAD)


class PduError(Exception):
    """A PDU that breaks SMPP 3.4; `command_status` is what to answer it with."""

    def __init__(self, command_status: int, reason: str) -> None:
        super().__init__(f"{reason} ({status_name(command_status)})")
        self.command_status = int(command_status)
        self.reason = reason


class Pdu(Struct, frozen=True, gc=False):
    """The body of a PDU. Its header belongs to the session that sends or receives it."""

    command_id: ClassVar[int]

    def encode_body(self) -> bytes:
        """The body's octets.

        Raises:
            PduError: a field does not fit its place in the PDU.
        """
        return b""

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """Read a body that fills buffer[start:end] exactly.

        Raises:
            PduError: it does not, or a field in it is out of bounds.
        """
        if start != end:
            raise PduError(_RINVCMDLEN, f"{cls.__name__} has no body")
        return cls()


class _Reader:
    """A cursor for the PDUs that are not worth an unrolled decoder."""

    __slots__ = ("_buffer", "_end", "_position")

    def __init__(self, buffer: bytes, start: int, end: int) -> None:
        self._buffer = buffer
        self._position = start
        self._end = end

    def octet(self) -> int:
        position = self._position
        if position >= self._end:
            raise PduError(_RINVCMDLEN, "body ends inside its mandatory parameters")
        self._position = position + 1
        return self._buffer[position]

    def c_string(self, size: int, invalid: int) -> str:
        """A C-Octet String of at most `size` octets with its NUL (section 3.1)."""
        start = self._position
        nul = self._buffer.find(b"\0", start, min(start + size, self._end))
        if nul < 0:
            raise PduError(invalid, f"no NUL within {size} octets")
        self._position = nul + 1
        return self._buffer[start:nul].decode("latin-1")

    def tlvs(self) -> dict[int, bytes]:
        return _decode_tlvs(self._buffer, self._position, self._end)


def _c_string(value: str, size: int, invalid: int, name: str) -> bytes:
    if len(value) >= size or "\0" in value:
        raise PduError(invalid, f"{name} takes {size - 1} characters and no NUL")
    try:
        return value.encode("latin-1") + b"\0"
    except UnicodeEncodeError:
        raise PduError(invalid, f"{name} takes one octet a character") from None


def _octets(*values: int) -> bytes:
    try:
        return bytes(values)
    except ValueError:
        raise PduError(_RSYSERR, f"an integer parameter is one octet, not {values}") from None


def _decode_tlvs(buffer: bytes, start: int, end: int) -> dict[int, bytes]:
    """Optional parameters fill buffer[start:end] (section 3.2.4). Of a repeated tag the last wins.

    Tags are the plain integers received; those we do not know are kept.
    """
    tlvs: dict[int, bytes] = {}
    position = start
    while position < end:
        value = position + 4
        if value > end:
            raise PduError(_RINVOPTPARSTREAM, "the last optional parameter is cut short")
        tag, length = _TLV_HEADER.unpack_from(buffer, position)
        position = value + length
        if position > end:
            raise PduError(_RINVOPTPARSTREAM, f"optional parameter 0x{tag:04X} runs over the PDU")
        if TLV_LENGTH.get(tag, length) != length:
            raise PduError(_RINVPARLEN, f"optional parameter 0x{tag:04X} has {length} octets")
        tlvs[tag] = buffer[value:position]
    return tlvs


def _encode_tlvs(tlvs: dict[int, bytes]) -> bytes:
    parts: list[bytes] = []
    for tag, value in tlvs.items():
        length = len(value)
        if not 0 <= tag <= 0xFFFF or length > 0xFFFF:
            raise PduError(_RINVOPTPARSTREAM, f"optional parameter {tag} of {length} octets")
        if TLV_LENGTH.get(tag, length) != length:
            raise PduError(_RINVPARLEN, f"optional parameter 0x{tag:04X} has {length} octets")
        parts.append(_TLV_HEADER.pack(tag, length))
        parts.append(value)
    return b"".join(parts)


class Bind(Pdu, frozen=True, gc=False):
    """The parameters of the three bind requests (section 4.1). Its repr hides the password."""

    system_id: str
    password: str
    system_type: str = ""
    interface_version: int = INTERFACE_VERSION
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(system_id={self.system_id!r}, password=…)"

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return b"".join(
            (
                _c_string(self.system_id, _SYSTEM_ID, CommandStatus.ESME_RINVSYSID, "system_id"),
                _c_string(self.password, _PASSWORD, CommandStatus.ESME_RINVPASWD, "password"),
                _c_string(
                    self.system_type, _SYSTEM_TYPE, CommandStatus.ESME_RINVSYSTYP, "system_type"
                ),
                _octets(self.interface_version, self.addr_ton, self.addr_npi),
                _c_string(
                    self.address_range,
                    _ADDRESS_RANGE,
                    CommandStatus.ESME_RBINDFAIL,
                    "address_range",
                ),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = _Reader(buffer, start, end)
        bind = cls(
            system_id=reader.c_string(_SYSTEM_ID, CommandStatus.ESME_RINVSYSID),
            password=reader.c_string(_PASSWORD, CommandStatus.ESME_RINVPASWD),
            system_type=reader.c_string(_SYSTEM_TYPE, CommandStatus.ESME_RINVSYSTYP),
            interface_version=reader.octet(),
            addr_ton=reader.octet(),
            addr_npi=reader.octet(),
            address_range=reader.c_string(_ADDRESS_RANGE, CommandStatus.ESME_RBINDFAIL),
        )
        # No optional parameter is defined for a bind; well-formed ones are ignored.
        reader.tlvs()
        return bind


class BindReceiver(Bind, frozen=True, gc=False):
    """Section 4.1.3: deliveries and receipts only."""

    command_id = CommandId.BIND_RECEIVER


class BindTransmitter(Bind, frozen=True, gc=False):
    """Section 4.1.1: submissions only."""

    command_id = CommandId.BIND_TRANSMITTER


class BindTransceiver(Bind, frozen=True, gc=False):
    """Section 4.1.5: both ways on one session."""

    command_id = CommandId.BIND_TRANSCEIVER


class BindResp(Pdu, frozen=True, gc=False):
    """The answer to a bind (sections 4.1.2, 4.1.4, 4.1.6); the SMSC names itself."""

    system_id: str = ""
    tlvs: dict[int, bytes] = field(default_factory=dict)

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return _c_string(
            self.system_id, _SYSTEM_ID, CommandStatus.ESME_RINVSYSID, "system_id"
        ) + _encode_tlvs(self.tlvs)

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = _Reader(buffer, start, end)
        return cls(reader.c_string(_SYSTEM_ID, CommandStatus.ESME_RINVSYSID), reader.tlvs())


class BindReceiverResp(BindResp, frozen=True, gc=False):
    """Section 4.1.4."""

    command_id = CommandId.BIND_RECEIVER_RESP


class BindTransmitterResp(BindResp, frozen=True, gc=False):
    """Section 4.1.2."""

    command_id = CommandId.BIND_TRANSMITTER_RESP


class BindTransceiverResp(BindResp, frozen=True, gc=False):
    """Section 4.1.6."""

    command_id = CommandId.BIND_TRANSCEIVER_RESP


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
            len(service_type) >= _SERVICE_TYPE
            or len(source) >= _ADDRESS
            or len(destination) >= _ADDRESS
            or len(schedule) >= _TIME
            or len(validity) >= _TIME
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
        return body + _encode_tlvs(self.tlvs) if self.tlvs else body

    def _refuse(self) -> NoReturn:
        """Say which field does not fit; only ever called when one does not."""
        _c_string(self.service_type, _SERVICE_TYPE, _RINVSERTYP, "service_type")
        _c_string(self.source_addr, _ADDRESS, _RINVSRCADR, "source_addr")
        _c_string(self.destination_addr, _ADDRESS, _RINVDSTADR, "destination_addr")
        _c_string(self.schedule_delivery_time, _TIME, _RINVSCHED, "schedule_delivery_time")
        _c_string(self.validity_period, _TIME, _RINVEXPIRY, "validity_period")
        if len(self.short_message) > MAX_SHORT_MESSAGE:
            raise PduError(_RINVMSGLEN, f"short_message takes {MAX_SHORT_MESSAGE} octets")
        raise PduError(_RSYSERR, "an integer parameter is one octet")

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        # Unrolled: this runs for every message and every receipt. The offsets only grow, so one
        # comparison with `end` at the last mandatory octet covers all that came before; `index`
        # raises ValueError when a NUL is not found within its field.
        index = buffer.index
        invalid = _RINVSERTYP
        try:
            nul = index(b"\0", start, start + _SERVICE_TYPE)
            service_type = buffer[start:nul].decode("latin-1") if nul > start else ""
            source_addr_ton = buffer[nul + 1]
            source_addr_npi = buffer[nul + 2]

            invalid = _RINVSRCADR
            start = nul + 3
            nul = index(b"\0", start, start + _ADDRESS)
            source_addr = buffer[start:nul].decode("latin-1")
            dest_addr_ton = buffer[nul + 1]
            dest_addr_npi = buffer[nul + 2]

            invalid = _RINVDSTADR
            start = nul + 3
            nul = index(b"\0", start, start + _ADDRESS)
            destination_addr = buffer[start:nul].decode("latin-1")
            esm_class = buffer[nul + 1]
            protocol_id = buffer[nul + 2]
            priority_flag = buffer[nul + 3]

            invalid = _RINVSCHED
            start = nul + 4
            nul = index(b"\0", start, start + _TIME)
            schedule = buffer[start:nul].decode("latin-1") if nul > start else ""

            invalid = _RINVEXPIRY
            start = nul + 1
            nul = index(b"\0", start, start + _TIME)
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
            raise PduError(invalid, f"{cls.__name__} is malformed or cut short") from None
        start = nul + 6
        after = start + sm_length
        if start > end:
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
            _decode_tlvs(buffer, after, end) if after < end else {},
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
        body = _c_string(self.message_id, _MESSAGE_ID, CommandStatus.ESME_RINVMSGID, "message_id")
        return body + _encode_tlvs(self.tlvs) if self.tlvs else body

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        limit = start + _MESSAGE_ID
        nul = buffer.find(b"\0", start, limit if limit < end else end)
        if nul < 0:
            raise PduError(CommandStatus.ESME_RINVMSGID, f"no NUL within {_MESSAGE_ID} octets")
        after = nul + 1
        return cls(
            buffer[start:nul].decode("latin-1"),
            _decode_tlvs(buffer, after, end) if after < end else {},
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
                _c_string(self.service_type, _SERVICE_TYPE, _RINVSERTYP, "service_type"),
                _octets(self.source_addr_ton, self.source_addr_npi),
                _c_string(self.source_addr, _DATA_SM_ADDRESS, _RINVSRCADR, "source_addr"),
                _octets(self.dest_addr_ton, self.dest_addr_npi),
                _c_string(self.destination_addr, _DATA_SM_ADDRESS, _RINVDSTADR, "destination_addr"),
                _octets(self.esm_class, self.registered_delivery, self.data_coding),
                _encode_tlvs(self.tlvs),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = _Reader(buffer, start, end)
        # Keyword arguments are evaluated in this order, which is the order on the wire.
        return cls(
            service_type=reader.c_string(_SERVICE_TYPE, _RINVSERTYP),
            source_addr_ton=reader.octet(),
            source_addr_npi=reader.octet(),
            source_addr=reader.c_string(_DATA_SM_ADDRESS, _RINVSRCADR),
            dest_addr_ton=reader.octet(),
            dest_addr_npi=reader.octet(),
            destination_addr=reader.c_string(_DATA_SM_ADDRESS, _RINVDSTADR),
            esm_class=reader.octet(),
            registered_delivery=reader.octet(),
            data_coding=reader.octet(),
            tlvs=reader.tlvs(),
        )


class Unbind(Pdu, frozen=True, gc=False):
    """Section 4.2.1."""

    command_id = CommandId.UNBIND


class UnbindResp(Pdu, frozen=True, gc=False):
    """Section 4.2.2."""

    command_id = CommandId.UNBIND_RESP


class EnquireLink(Pdu, frozen=True, gc=False):
    """Section 4.11.1."""

    command_id = CommandId.ENQUIRE_LINK


class EnquireLinkResp(Pdu, frozen=True, gc=False):
    """Section 4.11.2."""

    command_id = CommandId.ENQUIRE_LINK_RESP


class GenericNack(Pdu, frozen=True, gc=False):
    """Section 4.3.1: the answer to what cannot be answered in its own terms."""

    command_id = CommandId.GENERIC_NACK


PDU_TYPES: Final[dict[int, type[Pdu]]] = {
    int(pdu.command_id): pdu
    for pdu in (
        BindReceiver,
        BindReceiverResp,
        BindTransmitter,
        BindTransmitterResp,
        BindTransceiver,
        BindTransceiverResp,
        Unbind,
        UnbindResp,
        SubmitSm,
        SubmitSmResp,
        DeliverSm,
        DeliverSmResp,
        DataSm,
        DataSmResp,
        EnquireLink,
        EnquireLinkResp,
        GenericNack,
    )
}
"""Every PDU the codec knows, by command_id."""


def encode(pdu: Pdu, *, sequence_number: int, command_status: int = 0) -> bytes:
    """A whole PDU. A response with an error status goes without its body (section 4.4.2, note).

    Raises:
        PduError: a field does not fit, or the PDU exceeds MAX_COMMAND_LENGTH.
    """
    command_id = pdu.command_id
    body = b"" if command_status and command_id & RESPONSE_BIT else pdu.encode_body()
    length = HEADER_LENGTH + len(body)
    if length > MAX_COMMAND_LENGTH:
        raise PduError(_RINVCMDLEN, f"{length} octets; a PDU has at most {MAX_COMMAND_LENGTH}")
    return HEADER.pack(length, command_id, command_status, sequence_number) + body


def decode_body(command_id: int, command_status: int, buffer: bytes, start: int, end: int) -> Pdu:
    """The PDU whose header said `command_id` and whose body is buffer[start:end].

    An error response may come without its body; its fields are then empty.

    Raises:
        PduError: unknown command_id (ESME_RINVCMDID), or the body is malformed.
    """
    pdu = PDU_TYPES.get(command_id)
    if pdu is None:
        raise PduError(CommandStatus.ESME_RINVCMDID, f"unknown command_id 0x{command_id:08X}")
    if start == end and command_status and command_id & RESPONSE_BIT:
        return pdu()
    return pdu.decode_body(buffer, start, end)


def decode(frame: bytes) -> tuple[int, int, Pdu]:
    """(command_status, sequence_number, PDU) of one whole PDU.

    Raises:
        PduError: command_length is not that of `frame` or out of bounds, or as `decode_body`.
    """
    if len(frame) < HEADER_LENGTH:
        raise PduError(_RINVCMDLEN, f"{len(frame)} octets are no header")
    length, command_id, command_status, sequence_number = HEADER.unpack_from(frame)
    if length != len(frame) or length > MAX_COMMAND_LENGTH:
        raise PduError(_RINVCMDLEN, f"command_length {length} for {len(frame)} octets")
    return (
        command_status,
        sequence_number,
        decode_body(command_id, command_status, frame, HEADER_LENGTH, length),
    )
