"""Opening and closing a session: the binds, outbind, unbind (sections 4.1 and 4.2)."""

from typing import Self

from msgspec import field

from adapters.smpp.protocol.constants import INTERFACE_VERSION, CommandId, CommandStatus
from adapters.smpp.protocol.pdu.wire import (
    ADDRESS_RANGE_SIZE,
    PASSWORD_SIZE,
    SYSTEM_ID_SIZE,
    SYSTEM_TYPE_SIZE,
    Pdu,
    Reader,
    c_string,
    encode_tlvs,
    octets,
)


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
                c_string(self.system_id, SYSTEM_ID_SIZE, CommandStatus.ESME_RINVSYSID, "system_id"),
                c_string(self.password, PASSWORD_SIZE, CommandStatus.ESME_RINVPASWD, "password"),
                c_string(
                    self.system_type, SYSTEM_TYPE_SIZE, CommandStatus.ESME_RINVSYSTYP, "system_type"
                ),
                octets(self.interface_version, self.addr_ton, self.addr_npi),
                c_string(
                    self.address_range,
                    ADDRESS_RANGE_SIZE,
                    CommandStatus.ESME_RBINDFAIL,
                    "address_range",
                ),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        bind = cls(
            system_id=reader.c_string(SYSTEM_ID_SIZE, CommandStatus.ESME_RINVSYSID),
            password=reader.c_string(PASSWORD_SIZE, CommandStatus.ESME_RINVPASWD),
            system_type=reader.c_string(SYSTEM_TYPE_SIZE, CommandStatus.ESME_RINVSYSTYP),
            interface_version=reader.octet(),
            addr_ton=reader.octet(),
            addr_npi=reader.octet(),
            address_range=reader.c_string(ADDRESS_RANGE_SIZE, CommandStatus.ESME_RBINDFAIL),
        )
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
        return c_string(
            self.system_id, SYSTEM_ID_SIZE, CommandStatus.ESME_RINVSYSID, "system_id"
        ) + encode_tlvs(self.tlvs)

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        return cls(reader.c_string(SYSTEM_ID_SIZE, CommandStatus.ESME_RINVSYSID), reader.tlvs())


class BindReceiverResp(BindResp, frozen=True, gc=False):
    """Section 4.1.4."""

    command_id = CommandId.BIND_RECEIVER_RESP


class BindTransmitterResp(BindResp, frozen=True, gc=False):
    """Section 4.1.2."""

    command_id = CommandId.BIND_TRANSMITTER_RESP


class BindTransceiverResp(BindResp, frozen=True, gc=False):
    """Section 4.1.6."""

    command_id = CommandId.BIND_TRANSCEIVER_RESP


class Outbind(Pdu, frozen=True, gc=False):
    """Section 4.1.7: an SMSC asks the ESME that it has connected to for a bind_receiver.

    It has no response. Its repr hides the password.
    """

    command_id = CommandId.OUTBIND

    system_id: str
    password: str

    def __repr__(self) -> str:
        return f"Outbind(system_id={self.system_id!r}, password=…)"

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return c_string(
            self.system_id, SYSTEM_ID_SIZE, CommandStatus.ESME_RINVSYSID, "system_id"
        ) + c_string(self.password, PASSWORD_SIZE, CommandStatus.ESME_RINVPASWD, "password")

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        outbind = cls(
            reader.c_string(SYSTEM_ID_SIZE, CommandStatus.ESME_RINVSYSID),
            reader.c_string(PASSWORD_SIZE, CommandStatus.ESME_RINVPASWD),
        )
        reader.tlvs()
        return outbind


class Unbind(Pdu, frozen=True, gc=False):
    """Section 4.2.1."""

    command_id = CommandId.UNBIND


class UnbindResp(Pdu, frozen=True, gc=False):
    """Section 4.2.2."""

    command_id = CommandId.UNBIND_RESP
