"""One SMPP session, of either side.

A session owns its socket, its sequence numbers, its window and its timers, and shares nothing.
It neither redials nor retries, and it decides nothing about messages: it says what the peer said,
or that nobody can know (OutcomeUnknownError), and its owner goes on from there.

Everything here runs on the event loop's thread. Callbacks are plain functions that must not block;
they answer at once or later, by sequence number, which is how a receipt is stored before it is
acknowledged.
"""

from adapters.smpp.protocol.session.base import (
    DEFAULT_BACKLOG,
    DEFAULT_TIMERS,
    Session,
    Timers,
)
from adapters.smpp.protocol.session.errors import (
    BindRefused,
    CloseReason,
    LinkLost,
    NotBound,
    OutcomeUnknownError,
    ResponseTimeout,
    WindowFull,
)
from adapters.smpp.protocol.session.esme import EsmeSession, OnDeliver, connect
from adapters.smpp.protocol.session.smsc import OnBind, OnSubmit, SmscSession

__all__ = [
    "DEFAULT_BACKLOG",
    "DEFAULT_TIMERS",
    "BindRefused",
    "CloseReason",
    "EsmeSession",
    "LinkLost",
    "NotBound",
    "OnBind",
    "OnDeliver",
    "OnSubmit",
    "OutcomeUnknownError",
    "ResponseTimeout",
    "Session",
    "SmscSession",
    "Timers",
    "WindowFull",
    "connect",
]
