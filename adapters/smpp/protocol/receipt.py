"""Delivery receipts: what a deliver_sm or data_sm says became of a message.

SMPP 3.4 leaves the text of a receipt to the SMSC (appendix B gives one format), so keys are looked
for one by one and in any order; the TLVs receipted_message_id (section 5.3.2.12) and message_state
(5.3.2.35) win over the text.
"""

import re
from dataclasses import dataclass
from typing import Final

from adapters.smpp.protocol.constants import EsmClass, MessageState, Tag
from adapters.smpp.protocol.pdu import DataSm, DeliverSm

STATES: Final[dict[str, MessageState]] = {
    "ENROUTE": MessageState.ENROUTE,
    "DELIVRD": MessageState.DELIVERED,
    "EXPIRED": MessageState.EXPIRED,
    "DELETED": MessageState.DELETED,
    "UNDELIV": MessageState.UNDELIVERABLE,
    "ACCEPTD": MessageState.ACCEPTED,
    "UNKNOWN": MessageState.UNKNOWN,
    "REJECTD": MessageState.REJECTED,
    # Not in appendix B, but sent by carriers.
    "DELIVERED": MessageState.DELIVERED,
    "UNDELIVERABLE": MessageState.UNDELIVERABLE,
    "ACCEPTED": MessageState.ACCEPTED,
    "REJECTED": MessageState.REJECTED,
    "BUFFERED": MessageState.ENROUTE,
    "BUFFRED": MessageState.ENROUTE,
    "FAILED": MessageState.UNDELIVERABLE,
}
"""The word after `stat:`, in upper case, and the state it means."""

_KEYS = rb"id|sub|dlvrd|submit ?date|done ?date|stat|err"
# A value may be missing, and then the next key must not be taken for it.
_KEY_VALUE = re.compile(
    rb"(?i)(?:^|[\s;,])(id|stat|err)\s*:\s*((?!(?:" + _KEYS + rb")\s*:)[^\s;,\0]*)"
)
# The user's own words come last and may hold "id:" and "stat:".
_USER_TEXT = re.compile(rb"(?i)(?:^|[\s;,])text\s*:")

_MESSAGE_TYPE = int(EsmClass.MESSAGE_TYPE)
_RECEIPT = int(EsmClass.DELIVERY_RECEIPT)
_UCS2 = 8
_INTERMEDIATE = int(EsmClass.INTERMEDIATE_NOTIFICATION)
_RECEIPTED_MESSAGE_ID = int(Tag.RECEIPTED_MESSAGE_ID)
_MESSAGE_STATE = int(Tag.MESSAGE_STATE)
_NETWORK_ERROR_CODE = int(Tag.NETWORK_ERROR_CODE)
_STATE_BY_NUMBER = {int(state): state for state in MessageState}
_NOT_FINAL = {MessageState.ENROUTE, MessageState.ACCEPTED}


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """What one receipt says.

    `message_id` is as the SMSC wrote it here, which may differ in notation from submit_sm_resp.
    `error` is the carrier's own code, in its own notation. `stat` is the word after `stat:` as
    sent, empty when there was none. `final` is False when another receipt may follow: for ENROUTE
    and ACCEPTED, for an intermediate notification, and for a state nobody can name.
    """

    message_id: str
    state: MessageState
    error: str | None
    final: bool
    stat: str


def is_receipt(pdu: DeliverSm | DataSm) -> bool:
    """Whether esm_class marks a delivery receipt or an intermediate notification (5.2.12)."""
    return pdu.esm_class & _MESSAGE_TYPE in (_RECEIPT, _INTERMEDIATE)


def parse_receipt(pdu: DeliverSm | DataSm) -> DeliveryReceipt | None:
    """The receipt in `pdu`, or None when it is none, or is one that names no message.

    A word after `stat:` that STATES does not know gives UNKNOWN, not final. Never raises.
    """
    message_type = pdu.esm_class & _MESSAGE_TYPE
    if message_type not in (_RECEIPT, _INTERMEDIATE):
        return None
    text = pdu.message
    if pdu.data_coding == _UCS2:
        # Some SMSCs write the whole receipt so when the user's words need it.
        text = text.decode("utf-16-be", "replace").encode("latin-1", "replace")
    user_text = _USER_TEXT.search(text)
    pairs = _KEY_VALUE.findall(text, 0, user_text.start() if user_text else len(text))
    # Of a repeated key the first counts; dict keeps the last.
    fields = {key.lower(): value for key, value in reversed(pairs)}

    tlvs = pdu.tlvs
    message_id = tlvs.get(_RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0") or fields.get(b"id", b"")
    if not message_id:
        return None

    stat = fields.get(b"stat", b"").decode("latin-1")
    state = _STATE_BY_NUMBER.get(tlvs.get(_MESSAGE_STATE, b"\0")[0]) or STATES.get(stat.upper())
    final = state is not None and state not in _NOT_FINAL and message_type == _RECEIPT

    error: str | None = None
    if code := fields.get(b"err"):
        error = code.decode("latin-1")
    elif network_error := tlvs.get(_NETWORK_ERROR_CODE):
        error = str(int.from_bytes(network_error[1:], "big"))
    return DeliveryReceipt(
        message_id.decode("latin-1"), state or MessageState.UNKNOWN, error, final, stat
    )
