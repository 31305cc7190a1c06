"""The PDUs of SMPP 3.4, all of section 4: strict to read, fast to write.

`wire` has what they are made of, the other modules a family each; this one knows them all. Whatever
is wrong, on either way, is a PduError that carries the command_status to answer with. Text fields
are str, one character an octet (Latin-1), without the NUL.

To add a PDU: a subclass of Pdu with `command_id`, `encode_body` and `decode_body`, and its name in
PDU_TYPES.
"""

from typing import Final

from adapters.smpp.protocol.constants import (
    HEADER_LENGTH,
    MAX_COMMAND_LENGTH,
    RESPONSE_BIT,
    CommandStatus,
)
from adapters.smpp.protocol.pdu.binds import (
    Bind,
    BindReceiver,
    BindReceiverResp,
    BindResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    Outbind,
    Unbind,
    UnbindResp,
)
from adapters.smpp.protocol.pdu.messages import (
    DataSm,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    MessageIdResp,
    ShortMessagePdu,
    SubmitSm,
    SubmitSmResp,
)
from adapters.smpp.protocol.pdu.multi import (
    Destination,
    DistributionList,
    SmeAddress,
    SubmitMulti,
    SubmitMultiResp,
    UnsuccessfulSme,
)
from adapters.smpp.protocol.pdu.queries import (
    CancelSm,
    CancelSmResp,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    ReplaceSmResp,
)
from adapters.smpp.protocol.pdu.upkeep import (
    AlertNotification,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
)
from adapters.smpp.protocol.pdu.wire import (
    HEADER,
    Pdu,
    PduError,
)

__all__ = [
    "HEADER",
    "PDU_TYPES",
    "AlertNotification",
    "Bind",
    "BindReceiver",
    "BindReceiverResp",
    "BindResp",
    "BindTransceiver",
    "BindTransceiverResp",
    "BindTransmitter",
    "BindTransmitterResp",
    "CancelSm",
    "CancelSmResp",
    "DataSm",
    "DataSmResp",
    "DeliverSm",
    "DeliverSmResp",
    "Destination",
    "DistributionList",
    "EnquireLink",
    "EnquireLinkResp",
    "GenericNack",
    "MessageIdResp",
    "Outbind",
    "Pdu",
    "PduError",
    "QuerySm",
    "QuerySmResp",
    "ReplaceSm",
    "ReplaceSmResp",
    "ShortMessagePdu",
    "SmeAddress",
    "SubmitMulti",
    "SubmitMultiResp",
    "SubmitSm",
    "SubmitSmResp",
    "Unbind",
    "UnbindResp",
    "UnsuccessfulSme",
    "decode",
    "decode_body",
    "encode",
]

PDU_TYPES: Final[dict[int, type[Pdu]]] = {
    int(pdu.command_id): pdu
    for pdu in (
        BindReceiver,
        BindReceiverResp,
        BindTransmitter,
        BindTransmitterResp,
        BindTransceiver,
        BindTransceiverResp,
        Outbind,
        Unbind,
        UnbindResp,
        GenericNack,
        SubmitSm,
        SubmitSmResp,
        SubmitMulti,
        SubmitMultiResp,
        DeliverSm,
        DeliverSmResp,
        DataSm,
        DataSmResp,
        QuerySm,
        QuerySmResp,
        CancelSm,
        CancelSmResp,
        ReplaceSm,
        ReplaceSmResp,
        EnquireLink,
        EnquireLinkResp,
        AlertNotification,
    )
}
"""Every PDU there is, by command_id."""


def encode(pdu: Pdu, *, sequence_number: int, command_status: int = 0) -> bytes:
    """A whole PDU. A response with an error status goes without its body (section 4.4.2, note).

    Raises:
        PduError: a field does not fit, or the PDU exceeds MAX_COMMAND_LENGTH.
    """
    command_id = pdu.command_id
    body = b"" if command_status and command_id & RESPONSE_BIT else pdu.encode_body()
    length = HEADER_LENGTH + len(body)
    if length > MAX_COMMAND_LENGTH:
        raise PduError(
            CommandStatus.ESME_RINVCMDLEN,
            f"{length} octets; a PDU has at most {MAX_COMMAND_LENGTH}",
        )
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
        raise PduError(CommandStatus.ESME_RINVCMDLEN, f"{len(frame)} octets are no header")
    length, command_id, command_status, sequence_number = HEADER.unpack_from(frame)
    if length != len(frame) or length > MAX_COMMAND_LENGTH:
        raise PduError(
            CommandStatus.ESME_RINVCMDLEN, f"command_length {length} for {len(frame)} octets"
        )
    return (
        command_status,
        sequence_number,
        decode_body(command_id, command_status, frame, HEADER_LENGTH, length),
    )
