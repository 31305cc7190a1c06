"""What happens to a message, chosen by the last four digits of its destination."""

from typing import Final

from msgspec import Struct

from adapters.smpp.protocol.constants import CommandStatus, MessageState


class Behaviour(Struct, frozen=True):
    """What happens to a message.

    `status` answers submit_sm. `state` is what the receipt says, None for no receipt. A `late`
    receipt takes `late_delay`, an `early` one comes before the response. With `answers` False
    there is no response at all. A `throttled` number first refuses `throttle_count` submissions.
    """

    description: str
    status: int = CommandStatus.ESME_ROK
    state: MessageState | None = MessageState.DELIVERED
    late: bool = False
    early: bool = False
    answers: bool = True
    throttled: bool = False


DELIVERED: Final = Behaviour("accepted, then DELIVRD after --receipt-delay")
BEHAVIOURS: Final[dict[str, Behaviour]] = {
    "9901": Behaviour("accepted, then DELIVRD after --late-delay", late=True),
    "9902": Behaviour("accepted, no receipt ever", state=None),
    "9903": Behaviour("accepted, then UNDELIV", state=MessageState.UNDELIVERABLE),
    "9904": Behaviour("the DELIVRD receipt comes before the response", early=True),
    "9905": Behaviour("refused: ESME_RINVDSTADR", status=CommandStatus.ESME_RINVDSTADR, state=None),
    "9906": Behaviour(
        "ESME_RTHROTTLED for the first --throttle-count submissions, then DELIVRD", throttled=True
    ),
    "9907": Behaviour("accepted, then EXPIRED", state=MessageState.EXPIRED),
    "9908": Behaviour("no response and no receipt: outcome unknown", state=None, answers=False),
    "9909": Behaviour("no response, yet a DELIVRD receipt", answers=False),
    "9910": Behaviour("accepted, then REJECTD", state=MessageState.REJECTED),
}
"""By the last four digits of the destination; any other number is DELIVERED."""
