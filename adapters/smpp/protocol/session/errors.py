"""How a request or a session ends when it does not end well, and the words for it."""

import asyncio
from enum import Enum
from typing import Any, Final

from adapters.smpp.protocol.constants import status_name


class OutcomeUnknownError(Exception):
    """A request was written and no answer came: the peer may or may not have acted on it."""


class LinkLost(OutcomeUnknownError, ConnectionError):
    """The link went before the answer came."""


class ResponseTimeout(OutcomeUnknownError, TimeoutError):
    """The response timer (section 7.2) ran out. The request still holds its window slot.

    The response may still come: `late` then resolves to what the request's own future would have
    resolved to, (command_status, message_id) of a submit_sm. It fails with LinkLost when the
    session ends first. Whoever has no use for it may drop it.
    """

    def __init__(self, message: str, late: asyncio.Future[Any]) -> None:
        super().__init__(message)
        self.late: Final = late


class BindRefused(Exception):
    """The SMSC answered the bind with an error, `command_status`."""

    def __init__(self, command_status: int) -> None:
        super().__init__(status_name(command_status))
        self.command_status = command_status


class NotBound(Exception):
    """The session cannot carry this request now. Nothing was written."""


class WindowFull(Exception):
    """As many requests are unanswered as the window allows. Nothing was written."""


class CloseReason(Enum):
    """Why a session ended."""

    UNBOUND = "unbound"
    """This side unbound or closed it."""
    PEER_UNBOUND = "peer_unbound"
    """The peer sent unbind."""
    LOST = "lost"
    """The peer closed the connection, or the network did."""
    SILENT = "silent"
    """No whole PDU was heard, not even an answer to enquire_link."""
    STALLED = "stalled"
    """Every window slot is held by a request whose response timer ran out."""
    BAD_LENGTH = "bad_length"
    """A command_length out of bounds: what follows in the stream cannot be understood."""
    NOT_BOUND = "not_bound"
    """No bind within the session_init timer, or one that was refused."""
    ABORTED = "aborted"
    """This side cut the connection."""
