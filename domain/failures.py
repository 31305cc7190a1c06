"""Why a delivery did not happen: a closed set of codes, each with its policy beside it.

An adapter reports a failure; only the cascade decides what it means. Codes are part of the
public contract: they never change their meaning, new ones may be added.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec


class Fault(str, Enum):
    """Who could have prevented the failure."""

    RECIPIENT = "recipient"
    SENDER = "sender"
    PROVIDER = "provider"
    HERMES = "hermes"


class FailurePolicy(NamedTuple):
    """What a code implies: `permanent` says that the same attempt can never succeed later,
    `remedy` what the sender can do about it."""

    permanent: bool
    fault: Fault
    meaning: str
    remedy: str


class FailureCode(str, Enum):
    """Stable, typed reasons; `POLICIES` holds what each of them implies."""

    RECIPIENT_INVALID = "recipient_invalid"
    RECIPIENT_UNREACHABLE = "recipient_unreachable"
    RECIPIENT_EXPIRED = "recipient_expired"
    SENDER_REJECTED = "sender_rejected"
    CONTENT_REJECTED = "content_rejected"
    PROVIDER_REJECTED = "provider_rejected"
    PROVIDER_DELETED = "provider_deleted"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_THROTTLED = "provider_throttled"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_STATE_UNKNOWN = "provider_state_unknown"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    CONFIGURATION = "configuration"
    NOT_SUPPORTED = "not_supported"
    RECIPIENT_BLOCKED = "recipient_blocked"
    ACCOUNT_SUSPENDED = "account_suspended"
    TOO_LATE = "too_late"
    TIMEOUT = "timeout"
    OUTCOME_UNKNOWN = "outcome_unknown"
    TTL_EXPIRED = "ttl_expired"
    CANCELED = "canceled"
    INTERNAL = "internal"


POLICIES: dict[FailureCode, FailurePolicy] = {
    # The provider says that the address can never work.
    FailureCode.RECIPIENT_INVALID: FailurePolicy(
        True,
        Fault.RECIPIENT,
        "The address does not exist or cannot receive on this channel.",
        "Take the address out of your lists, or ask the person for another one.",
    ),
    # SMPP UNDELIV, mailbox full, phone off: final for this attempt, not for this recipient.
    FailureCode.RECIPIENT_UNREACHABLE: FailurePolicy(
        False,
        Fault.RECIPIENT,
        "The recipient could not be reached by this channel.",
        "Try later or on another channel: a step behind this one does so by itself.",
    ),
    FailureCode.RECIPIENT_EXPIRED: FailurePolicy(
        False,
        Fault.RECIPIENT,
        "The provider gave up waiting for the recipient.",
        "Try later or on another channel; a longer TTL gives a phone time to be switched on.",
    ),
    FailureCode.SENDER_REJECTED: FailurePolicy(
        True,
        Fault.SENDER,
        "The provider does not accept this sender.",
        "Use a sender that is registered where the message goes, or leave it out.",
    ),
    FailureCode.CONTENT_REJECTED: FailurePolicy(
        True,
        Fault.SENDER,
        "The provider does not accept this content.",
        "Change the text: links, wording or length. Repeating it unchanged does harm.",
    ),
    FailureCode.PROVIDER_REJECTED: FailurePolicy(
        True,
        Fault.PROVIDER,
        "The provider refused the message.",
        "Look at the provider's own code; another provider or channel may take it.",
    ),
    FailureCode.PROVIDER_DELETED: FailurePolicy(
        True,
        Fault.PROVIDER,
        "The provider deleted the message before delivering it.",
        "Ask the provider, with its id of the message; send again if it still matters.",
    ),
    FailureCode.PROVIDER_ERROR: FailurePolicy(
        False,
        Fault.PROVIDER,
        "The provider answered with a temporary error.",
        "Nothing: Hermes tries again within the step's time, and other providers too.",
    ),
    # Not a failed attempt: the message waits and asks again.
    FailureCode.PROVIDER_THROTTLED: FailurePolicy(
        False,
        Fault.PROVIDER,
        "The provider asks to slow down.",
        "Nothing: the message waits. Where it happens all the time, ask for a higher rate.",
    ),
    FailureCode.PROVIDER_UNAVAILABLE: FailurePolicy(
        False,
        Fault.PROVIDER,
        "The provider cannot be reached at the moment.",
        "Nothing: Hermes tries again; a second provider or channel shortens the wait.",
    ),
    FailureCode.PROVIDER_STATE_UNKNOWN: FailurePolicy(
        False,
        Fault.PROVIDER,
        "The provider reports that it lost track of the message.",
        "Send again if a duplicate does less harm than a loss.",
    ),
    FailureCode.INSUFFICIENT_FUNDS: FailurePolicy(
        True,
        Fault.SENDER,
        "The account has not enough money or credit for this step.",
        "Pay in, or have the credit limit raised, and send again.",
    ),
    FailureCode.CONFIGURATION: FailurePolicy(
        True,
        Fault.HERMES,
        "The account with the provider is set up wrongly.",
        "Tell whoever runs Hermes, or correct the adapter's configuration if it is yours.",
    ),
    FailureCode.NOT_SUPPORTED: FailurePolicy(
        True,
        Fault.SENDER,
        "No provider is configured that could carry this step.",
        "Have a provider set up for the channel, or take the step out of the plan.",
    ),
    # Both are asked again before what is sent later than at once: see the port `SecondLook`.
    FailureCode.RECIPIENT_BLOCKED: FailurePolicy(
        True,
        Fault.RECIPIENT,
        "The recipient may not be written to on this channel any more: `detail` says why.",
        "Take the address off your list; an entry that the person made should stay.",
    ),
    FailureCode.ACCOUNT_SUSPENDED: FailurePolicy(
        True,
        Fault.SENDER,
        "The account was suspended before the message went out.",
        "Ask whoever runs Hermes; what still matters then has to be sent again.",
    ),
    # The delivery handler saw the request after its deadline and did not send.
    FailureCode.TOO_LATE: FailurePolicy(
        True,
        Fault.HERMES,
        "The step's time was over before it could be handed to a provider.",
        "Give the step or the message more time; if it happens often, Hermes is behind.",
    ),
    FailureCode.TIMEOUT: FailurePolicy(
        False,
        Fault.PROVIDER,
        "No proof of success arrived within the step's timeout.",
        "It may still arrive. Give it a longer `timeout`, or a step behind this one.",
    ),
    # The link broke between the submission and its answer: nobody can know.
    FailureCode.OUTCOME_UNKNOWN: FailurePolicy(
        False,
        Fault.PROVIDER,
        "The submission's outcome cannot be known.",
        "A later receipt may tell. `delivery_policy` says whether such a message is repeated.",
    ),
    FailureCode.TTL_EXPIRED: FailurePolicy(
        True,
        Fault.SENDER,
        "The message's time to live was over.",
        "Send again if it still matters, with a longer `ttl`.",
    ),
    FailureCode.CANCELED: FailurePolicy(
        True,
        Fault.SENDER,
        "The message was canceled.",
        "Nothing: you withdrew it, or an operator did.",
    ),
    FailureCode.INTERNAL: FailurePolicy(
        True,
        Fault.HERMES,
        "Hermes failed; see its logs.",
        "Report it with the message's id: it is a fault of Hermes.",
    ),
}


_OUR_OWN = frozenset({FailureCode.CONFIGURATION, FailureCode.NOT_SUPPORTED, FailureCode.INTERNAL})


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One failure as a delivery handler or a receipt reports it.

    `provider_code` is what the provider said, verbatim (an SMPP command_status, an SMTP reply, a
    receipt's `err`), `detail` a sentence for the user. Neither ever holds a secret.
    """

    code: FailureCode
    provider_code: str | None = None
    detail: str | None = None

    @property
    def permanent(self) -> bool:
        """True when the same attempt can never succeed later."""
        return POLICIES[self.code].permanent

    @property
    def of_provider(self) -> bool:
        """True when another provider of the same channel may succeed where this one failed."""
        return POLICIES[self.code].fault is Fault.PROVIDER or self.code in _OUR_OWN
