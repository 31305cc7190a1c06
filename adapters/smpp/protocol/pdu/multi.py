"""submit_multi: one message for many destinations (section 4.5)."""

from typing import Final, Self

from msgspec import Struct, field

from adapters.smpp.protocol.constants import CommandId, CommandStatus
from adapters.smpp.protocol.pdu.wire import (
    ADDRESS_SIZE,
    DL_NAME_SIZE,
    MESSAGE_ID_SIZE,
    SERVICE_TYPE_SIZE,
    TIME_SIZE,
    Pdu,
    PduError,
    Reader,
    c_string,
    encode_tlvs,
    octets,
    short_message,
)

MAX_DESTINATIONS: Final = 254
"""In one submit_multi (section 5.2.24)."""
_SME_ADDRESS: Final = 1
_DISTRIBUTION_LIST: Final = 2
"""dest_flag, section 5.2.25."""


class SmeAddress(Struct, frozen=True, gc=False):
    """A destination that is one number."""

    ton: int = 0
    npi: int = 0
    address: str = ""


class DistributionList(Struct, frozen=True, gc=False):
    """A destination that is a list kept by the SMSC."""

    name: str = ""


class UnsuccessfulSme(Struct, frozen=True, gc=False):
    """A number that the SMSC did not take the message for; why is `error_status_code`."""

    ton: int = 0
    npi: int = 0
    address: str = ""
    error_status_code: int = 0


Destination = SmeAddress | DistributionList


class SubmitMulti(Pdu, frozen=True, gc=False):
    """Section 4.5.1: a message for 1 to 254 destinations."""

    command_id = CommandId.SUBMIT_MULTI

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    destinations: tuple[Destination, ...] = ()
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

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        _check_count(len(self.destinations))
        return b"".join(
            (
                c_string(
                    self.service_type,
                    SERVICE_TYPE_SIZE,
                    CommandStatus.ESME_RINVSERTYP,
                    "service_type",
                ),
                octets(self.source_addr_ton, self.source_addr_npi),
                c_string(
                    self.source_addr, ADDRESS_SIZE, CommandStatus.ESME_RINVSRCADR, "source_addr"
                ),
                octets(len(self.destinations)),
                *map(_encode_destination, self.destinations),
                octets(self.esm_class, self.protocol_id, self.priority_flag),
                c_string(
                    self.schedule_delivery_time,
                    TIME_SIZE,
                    CommandStatus.ESME_RINVSCHED,
                    "schedule_delivery_time",
                ),
                c_string(
                    self.validity_period,
                    TIME_SIZE,
                    CommandStatus.ESME_RINVEXPIRY,
                    "validity_period",
                ),
                octets(
                    self.registered_delivery,
                    self.replace_if_present_flag,
                    self.data_coding,
                    self.sm_default_msg_id,
                ),
                short_message(self.short_message),
                encode_tlvs(self.tlvs),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        return cls(
            service_type=reader.c_string(SERVICE_TYPE_SIZE, CommandStatus.ESME_RINVSERTYP),
            source_addr_ton=reader.octet(),
            source_addr_npi=reader.octet(),
            source_addr=reader.c_string(ADDRESS_SIZE, CommandStatus.ESME_RINVSRCADR),
            destinations=_read_destinations(reader),
            esm_class=reader.octet(),
            protocol_id=reader.octet(),
            priority_flag=reader.octet(),
            schedule_delivery_time=reader.c_string(TIME_SIZE, CommandStatus.ESME_RINVSCHED),
            validity_period=reader.c_string(TIME_SIZE, CommandStatus.ESME_RINVEXPIRY),
            registered_delivery=reader.octet(),
            replace_if_present_flag=reader.octet(),
            data_coding=reader.octet(),
            sm_default_msg_id=reader.octet(),
            short_message=reader.short_message(),
            tlvs=reader.tlvs(),
        )


class SubmitMultiResp(Pdu, frozen=True, gc=False):
    """Section 4.5.2: one id for all, and the destinations that it does not hold for."""

    command_id = CommandId.SUBMIT_MULTI_RESP

    message_id: str = ""
    unsuccess_sme: tuple[UnsuccessfulSme, ...] = ()

    def encode_body(self) -> bytes:
        """As `Pdu.encode_body`."""
        return b"".join(
            (
                c_string(
                    self.message_id, MESSAGE_ID_SIZE, CommandStatus.ESME_RINVMSGID, "message_id"
                ),
                octets(len(self.unsuccess_sme)),
                *map(_encode_unsuccessful, self.unsuccess_sme),
            )
        )

    @classmethod
    def decode_body(cls, buffer: bytes, start: int, end: int) -> Self:
        """As `Pdu.decode_body`."""
        reader = Reader(buffer, start, end)
        response = cls(
            reader.c_string(MESSAGE_ID_SIZE, CommandStatus.ESME_RINVMSGID),
            tuple(
                UnsuccessfulSme(
                    reader.octet(),
                    reader.octet(),
                    reader.c_string(ADDRESS_SIZE, CommandStatus.ESME_RINVDSTADR),
                    reader.integer(),
                )
                for _ in range(reader.octet())
            ),
        )
        reader.tlvs()
        return response


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_DESTINATIONS:
        raise PduError(
            CommandStatus.ESME_RINVNUMDESTS, f"{count} destinations, not 1 to {MAX_DESTINATIONS}"
        )


def _encode_destination(destination: Destination) -> bytes:
    if isinstance(destination, DistributionList):
        return octets(_DISTRIBUTION_LIST) + c_string(
            destination.name, DL_NAME_SIZE, CommandStatus.ESME_RINVDLNAME, "dl_name"
        )
    return octets(_SME_ADDRESS, destination.ton, destination.npi) + c_string(
        destination.address, ADDRESS_SIZE, CommandStatus.ESME_RINVDSTADR, "destination_addr"
    )


def _read_destinations(reader: Reader) -> tuple[Destination, ...]:
    count = reader.octet()
    _check_count(count)
    return tuple(_read_destination(reader) for _ in range(count))


def _read_destination(reader: Reader) -> Destination:
    flag = reader.octet()
    if flag == _SME_ADDRESS:
        return SmeAddress(
            reader.octet(),
            reader.octet(),
            reader.c_string(ADDRESS_SIZE, CommandStatus.ESME_RINVDSTADR),
        )
    if flag == _DISTRIBUTION_LIST:
        return DistributionList(reader.c_string(DL_NAME_SIZE, CommandStatus.ESME_RINVDLNAME))
    raise PduError(CommandStatus.ESME_RINVDESTFLAG, f"dest_flag {flag}")


def _encode_unsuccessful(sme: UnsuccessfulSme) -> bytes:
    try:
        code = sme.error_status_code.to_bytes(4, "big")
    except OverflowError:
        raise PduError(
            CommandStatus.ESME_RSYSERR, "error_status_code is an integer of four octets"
        ) from None
    address = c_string(sme.address, ADDRESS_SIZE, CommandStatus.ESME_RINVDSTADR, "destination_addr")
    return octets(sme.ton, sme.npi) + address + code
