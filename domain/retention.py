"""How long a tenant's messages name people, and what of a message stays for good.

What stays is listed here by name; whatever else a message has goes, also what is added to it one
day.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

import msgspec

from domain.failures import Failure
from domain.message import MAX_SCHEDULE_AHEAD, MAX_TTL, NO_CONTENT, MessageOrder, Step
from domain.mode import Mode
from domain.timeline import Entry, Record
from domain.verdict import Verdict

Days = Annotated[int, msgspec.Meta(ge=1, le=3650)]

REDACTED: Final = ""
"""In the place of an address."""

LONGEST_LIFE: Final = MAX_SCHEDULE_AHEAD + MAX_TTL
"""No message is under way for longer. One whose end was never written counts as ended then."""


class Retention(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Days after a message's end when what names a person is taken out of it: `days`, and
    `test_days` for the messages of test keys."""

    days: Days = 90
    test_days: Days = 7

    def time(self, mode: Mode) -> timedelta:
        """How long a message is kept as it was."""
        return timedelta(days=self.days if mode is Mode.LIVE else self.test_days)


ORDER_KEPT: Final = frozenset(
    {
        "tenant",
        "plan",
        "accepted_at",
        "expires_at",
        "send_at",
        "category",
        "policy",
        "trace_id",
        "template",
        "mode",
    }
)
"""Of an order. Not among them: addresses, content, metadata, the callback's address, and the
fingerprint, from which a short text to a known number could be guessed."""

STEP_KEPT: Final = frozenset(Step.__struct_fields__) - {"sender"}
"""Of a plan's step. A sender may be a person's own number."""

VERDICT_KEPT: Final = frozenset({"layer", "outcome", "code"})

ENTRY_KEPT: Final = frozenset(
    {
        "at",
        "event",
        "step",
        "channel",
        "attempt",
        "provider",
        "level",
        "segments",
        "retry_after",
        "possible_duplicate",
        "late",
        "status",
        "cost",
        "route",
    }
)
"""Of a line of the timeline. Not among them: the provider's ids, since some have the recipient's
number in them (WhatsApp's do), and so may a receipt's."""

RECORD_KEPT: Final = frozenset({"status", "channel", "level", "ended_at"})

_A_CODE: Final = re.compile(r"(?!.*\d{6})[A-Za-z0-9_.:/ -]{1,40}\Z")
"""What a provider said, if it is a code and no sentence, address or number."""


def redacted_order(order: MessageOrder) -> MessageOrder:
    """The order without what names a person. It may be redacted again."""
    kept = {name: getattr(order, name) for name in ORDER_KEPT}
    kept["plan"] = tuple(
        Step(**{name: getattr(step, name) for name in STEP_KEPT}) for step in order.plan
    )
    verdicts = tuple(
        Verdict(**{name: getattr(verdict, name) for name in VERDICT_KEPT})
        for verdict in order.verdicts
    )
    return MessageOrder(
        **kept,
        to=dict.fromkeys(order.to, REDACTED),
        content=NO_CONTENT,
        verdicts=verdicts,
    )


def redacted_record(record: Record) -> Record:
    """The record without what names a person."""
    return Record(
        **{name: getattr(record, name) for name in RECORD_KEPT},
        timeline=[redacted_entry(entry) for entry in record.timeline],
        failure=_redacted_failure(record.failure),
    )


def redacted_entry(entry: Entry) -> Entry:
    """A line of the timeline without what names a person."""
    return Entry(
        **{name: getattr(entry, name) for name in ENTRY_KEPT},
        failure=_redacted_failure(entry.failure),
        provider_status=_code(entry.provider_status),
    )


def _redacted_failure(failure: Failure | None) -> Failure | None:
    return None if failure is None else Failure(failure.code, _code(failure.provider_code))


def _code(said: str | None) -> str | None:
    return said if said is not None and _A_CODE.match(said) else None
