"""JSON serialisation of the domain's types for Restate's journal and state."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from restate import TerminalError
from restate.serde import Serde

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class JsonSerde(Serde[T], Generic[T]):
    """Encodes and strictly decodes one type.

    What does not fit ends the call with a 400 that names the path of the fault: retrying could
    not help.
    """

    def __init__(self, type_: Any) -> None:
        self._decode = msgspec.json.Decoder(type_).decode

    def serialize(self, obj: T | None) -> bytes:
        """The value as JSON; None is empty."""
        return b"" if obj is None else _encode(obj)

    def deserialize(self, buf: bytes) -> T | None:
        """The value, None when empty. Raises TerminalError(400) when it does not fit the type."""
        if not buf:
            return None
        try:
            return self._decode(buf)
        except msgspec.MsgspecError as error:
            raise TerminalError(f"invalid input: {error}", status_code=400) from error

    def read(self, body: bytes) -> T:
        """The body of a request. Raises TerminalError(400) also when it is empty.

        For handlers that anyone may call: they take their input as bytes, since the SDK makes a
        500 of whatever an input serde raises.
        """
        value = self.deserialize(body)
        if value is None:
            raise TerminalError("invalid input: no body", status_code=400)
        return value
