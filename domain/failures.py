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
    """What a code implies: `permanent` says that the same attempt can never succeed later."""

    permanent: bool
    fault: Fault
    meaning: str


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
    CONFIGURATION = "configuration"
    NOT_SUPPORTED = "not_supported"
    TOO_LATE = "too_late"
    TIMEOUT = "timeout"
    OUTCOME_UNKNOWN = "outcome_unknown"
    TTL_EXPIRED = "ttl_expired"
    CANCELED = "canceled"
    INTERNAL = "internal"


POLICIES: dict[FailureCode, FailurePolicy] = {
    # The provider says that the address can never work.
    FailureCode.RECIPIENT_INVALID: FailurePolicy(
        True, Fault.RECIPIENT, "The address does not exist or cannot receive on this channel."
    ),
    # SMPP UNDELIV, mailbox full, phone off: final for this attempt, not for this recipient.
    FailureCode.RECIPIENT_UNREACHABLE: FailurePolicy(
        False, Fault.RECIPIENT, "The recipient could not be reached by this channel."
    ),
    FailureCode.RECIPIENT_EXPIRED: FailurePolicy(
        False, Fault.RECIPIENT, "The provider gave up waiting for the recipient."
    ),
    FailureCode.SENDER_REJECTED: FailurePolicy(
        True, Fault.SENDER, "The provider does not accept this sender."
    ),
    FailureCode.CONTENT_REJECTED: FailurePolicy(
        True, Fault.SENDER, "The provider does not accept this content."
    ),
    FailureCode.PROVIDER_REJECTED: FailurePolicy(
        True, Fault.PROVIDER, "The provider refused the message."
    ),
    FailureCode.PROVIDER_DELETED: FailurePolicy(
        True, Fault.PROVIDER, "The provider deleted the message before delivering it."
    ),
    FailureCode.PROVIDER_ERROR: FailurePolicy(
        False, Fault.PROVIDER, "The provider answered with a temporary error."
    ),
    # Not a failed attempt: the message waits and asks again.
    FailureCode.PROVIDER_THROTTLED: FailurePolicy(
        False, Fault.PROVIDER, "The provider asks to slow down."
    ),
    FailureCode.PROVIDER_UNAVAILABLE: FailurePolicy(
        False, Fault.PROVIDER, "The provider cannot be reached at the moment."
    ),
    FailureCode.PROVIDER_STATE_UNKNOWN: FailurePolicy(
        False, Fault.PROVIDER, "The provider reports that it lost track of the message."
    ),
    FailureCode.CONFIGURATION: FailurePolicy(
        True, Fault.HERMES, "The account with the provider is set up wrongly."
    ),
    FailureCode.NOT_SUPPORTED: FailurePolicy(
        True, Fault.SENDER, "No provider is configured that could carry this step."
    ),
    # The delivery handler saw the request after its deadline and did not send.
    FailureCode.TOO_LATE: FailurePolicy(
        True, Fault.HERMES, "The step's time was over before it could be handed to a provider."
    ),
    FailureCode.TIMEOUT: FailurePolicy(
        False, Fault.PROVIDER, "No proof of success arrived within the step's timeout."
    ),
    # The link broke between the submission and its answer: nobody can know.
    FailureCode.OUTCOME_UNKNOWN: FailurePolicy(
        False, Fault.PROVIDER, "The submission's outcome cannot be known."
    ),
    FailureCode.TTL_EXPIRED: FailurePolicy(
        True, Fault.SENDER, "The message's time to live was over."
    ),
    FailureCode.CANCELED: FailurePolicy(True, Fault.SENDER, "The message was canceled."),
    FailureCode.INTERNAL: FailurePolicy(True, Fault.HERMES, "Hermes failed; see its logs."),
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
