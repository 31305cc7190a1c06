"""What a carrier's answers and receipts mean to the cascade, as data.

Sources: SMPP 3.4 sections 5.1.3 (command_status) and 5.2.28 (message_state).
"""

from __future__ import annotations

from typing import NamedTuple

from adapters.smpp.protocol.constants import CommandStatus as S
from adapters.smpp.protocol.constants import MessageState, status_name
from domain.failures import Failure, FailureCode
from domain.message import Level

THROTTLES: frozenset[int] = frozenset({S.ESME_RTHROTTLED, S.ESME_RMSGQFUL})
"""Not a failure: the carrier takes no more at the moment."""

REFUSALS: dict[int, FailureCode] = {
    # A temporary condition at the carrier; 0x45 is what some send for everything.
    S.ESME_RSYSERR: FailureCode.PROVIDER_ERROR,
    S.ESME_RX_T_APPN: FailureCode.PROVIDER_ERROR,
    S.ESME_RSUBMITFAIL: FailureCode.PROVIDER_ERROR,
    # The session, not the message.
    S.ESME_RINVBNDSTS: FailureCode.PROVIDER_UNAVAILABLE,
    # The address.
    S.ESME_RINVDSTADR: FailureCode.RECIPIENT_INVALID,
    S.ESME_RINVDSTTON: FailureCode.RECIPIENT_INVALID,
    S.ESME_RINVDSTNPI: FailureCode.RECIPIENT_INVALID,
    # The sender.
    S.ESME_RINVSRCADR: FailureCode.SENDER_REJECTED,
    S.ESME_RINVSRCTON: FailureCode.SENDER_REJECTED,
    S.ESME_RINVSRCNPI: FailureCode.SENDER_REJECTED,
    # The text.
    S.ESME_RINVMSGLEN: FailureCode.CONTENT_REJECTED,
    # Our own PDU: a bug of ours.
    S.ESME_RINVCMDLEN: FailureCode.INTERNAL,
    S.ESME_RINVCMDID: FailureCode.INTERNAL,
}
"""Every other status, vendors' own included, is `provider_rejected`: permanent until a carrier's
configuration says otherwise."""

LEVELS: dict[int, Level] = {
    MessageState.ENROUTE: Level.SENT,
    MessageState.ACCEPTED: Level.SENT,
    MessageState.DELIVERED: Level.DELIVERED,
}
FAILED_STATES: dict[int, FailureCode] = {
    MessageState.EXPIRED: FailureCode.RECIPIENT_EXPIRED,
    MessageState.DELETED: FailureCode.PROVIDER_DELETED,
    MessageState.UNDELIVERABLE: FailureCode.RECIPIENT_UNREACHABLE,
    MessageState.UNKNOWN: FailureCode.PROVIDER_STATE_UNKNOWN,
    MessageState.REJECTED: FailureCode.PROVIDER_REJECTED,
}


class Refusal(NamedTuple):
    """What a command_status other than ESME_ROK means: slow down, or a failure."""

    throttled: bool
    code: FailureCode

    def failure(self, command_status: int) -> Failure:
        """The failure as the cascade hears it."""
        return Failure(self.code, provider_code=status_name(command_status))


THROTTLED = Refusal(True, FailureCode.PROVIDER_THROTTLED)


def refusal(command_status: int) -> Refusal:
    """What a command_status means unless a carrier's configuration says otherwise."""
    if command_status in THROTTLES:
        return THROTTLED
    return Refusal(False, REFUSALS.get(command_status, FailureCode.PROVIDER_REJECTED))


def declared(meaning: FailureCode | str) -> Refusal:
    """What a carrier's configuration says of a status: `throttled`, or a failure code."""
    return THROTTLED if meaning == "throttled" else Refusal(False, FailureCode(meaning))


def meaning(state: int, error: str | None) -> tuple[Level | None, Failure | None]:
    """What a receipt's message_state proves, or why the message did not arrive."""
    level = LEVELS.get(state)
    if level is not None:
        return level, None
    return None, Failure(FAILED_STATES[state], provider_code=error)
