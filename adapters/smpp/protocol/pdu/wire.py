"""What every PDU is made of: the header, C-Octet Strings, octets, optional parameters.

A body is read from a buffer between two offsets, so a session decodes straight out of what the
socket gave it. Every length is checked against the PDU's own end before a byte beyond it is
touched, and whatever is wrong, on either way, is a PduError.
"""

import struct
from typing import ClassVar, Final, Self

from msgspec import Struct

from adapters.smpp.protocol.constants import (
    MAX_SHORT_MESSAGE,
    TLV_LENGTH,
    CommandStatus,
    status_name,
)

HEADER: Final = struct.Struct(">IIII")
"""command_length, command_id, command_status, sequence_number (section 3.2)."""

_TLV_HEADER = struct.Struct(">HH")

SERVICE_TYPE_SIZE: Final = 6
ADDRESS_SIZE: Final = 21
DATA_SM_ADDRESS_SIZE: Final = 65
TIME_SIZE: Final = 17
SYSTEM_ID_SIZE: Final = 16
PASSWORD_SIZE: Final = 9
SYSTEM_TYPE_SIZE: Final = 13
ADDRESS_RANGE_SIZE: Final = 41
MESSAGE_ID_SIZE: Final = 65
DL_NAME_SIZE: Final = 21
"""How many octets the C-Octet Strings may have, the NUL included (section 5.2)."""

_RINVCMDLEN = CommandStatus.ESME_RINVCMDLEN
_RINVOPTPARSTREAM = CommandStatus.ESME_RINVOPTPARSTREAM
_RINVPARLEN = CommandStatus.ESME_RINVPARLEN


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


class Reader:
    """A cursor over a body, for the PDUs that are not worth an unrolled decoder.

    Its methods read what comes next and raise PduError when that is not there in full.
    """

    __slots__ = ("_buffer", "_end", "_position")

    def __init__(self, buffer: bytes, start: int, end: int) -> None:
        self._buffer = buffer
        self._position = start
        self._end = end

    def octet(self) -> int:
        """An Integer of one octet."""
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

    def _take(self, size: int, invalid: int) -> bytes:
        start = self._position
        if start + size > self._end:
            raise PduError(invalid, f"body ends inside a parameter of {size} octets")
        self._position = start + size
        return self._buffer[start : start + size]

    def integer(self) -> int:
        """An Integer of four octets."""
        octets = self._take(4, _RINVCMDLEN)
        return int.from_bytes(octets, "big")

    def short_message(self) -> bytes:
        """sm_length and short_message (sections 5.2.21, 5.2.22)."""
        length = self.octet()
        if length > MAX_SHORT_MESSAGE:
            raise PduError(CommandStatus.ESME_RINVMSGLEN, f"sm_length {length} does not fit")
        return self._take(length, CommandStatus.ESME_RINVMSGLEN)

    def tlvs(self) -> dict[int, bytes]:
        """The optional parameters, which are all that is left.

        A PDU for which SMPP 3.4 defines none reads and drops them: well-formed ones may be those
        of a later version (section 3.3).
        """
        return decode_tlvs(self._buffer, self._position, self._end)


def c_string(value: str, size: int, invalid: int, name: str) -> bytes:
    """`value` with its NUL, in at most `size` octets; else a PduError with the status `invalid`."""
    if len(value) >= size or "\0" in value:
        raise PduError(invalid, f"{name} takes {size - 1} characters and no NUL")
    try:
        return value.encode("latin-1") + b"\0"
    except UnicodeEncodeError:
        raise PduError(invalid, f"{name} takes one octet a character") from None


def octets(*values: int) -> bytes:
    """Integers of one octet each."""
    try:
        return bytes(values)
    except ValueError:
        raise PduError(
            CommandStatus.ESME_RSYSERR, f"an integer parameter is one octet, not {values}"
        ) from None


def decode_tlvs(buffer: bytes, start: int, end: int) -> dict[int, bytes]:
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


def short_message(message: bytes) -> bytes:
    """sm_length and short_message (sections 5.2.21, 5.2.22)."""
    length = len(message)
    if length > MAX_SHORT_MESSAGE:
        raise PduError(
            CommandStatus.ESME_RINVMSGLEN, f"short_message takes {MAX_SHORT_MESSAGE} octets"
        )
    return bytes((length,)) + message


def encode_tlvs(tlvs: dict[int, bytes]) -> bytes:
    """Optional parameters, in the order given (section 3.2.4)."""
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
