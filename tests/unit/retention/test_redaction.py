"""What stays of a message, and that nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.failures import Failure, FailureCode
from domain.message import MessageOrder, Step
from domain.retention import (
    ENTRY_KEPT,
    ORDER_KEPT,
    RECORD_KEPT,
    STEP_KEPT,
    VERDICT_KEPT,
    redacted_entry,
    redacted_order,
    redacted_record,
)
from domain.timeline import Entry, Event, Record
from domain.verdict import Verdict
from tests.unit.retention.conftest import PERSON, World, a_record

# A field that is new is redacted, until somebody decides here that it names nobody.
GONE = {
    MessageOrder: {
        *("to", "content", "status_callback", "metadata", "fingerprint", "tell", "recipient"),
        "verdicts",  # rebuilt from VERDICT_KEPT
        *("fresh", "quiet"),  # for the way, which is over; the latter tells the time zone
    },
    Step: {"sender"},
    Verdict: {"detail"},
    Entry: {"failure", "provider_ids", "provider_status", "receipt_id"},
    Record: {"timeline", "refs", "failure"},
}
KEPT = {
    MessageOrder: ORDER_KEPT,
    Step: STEP_KEPT,
    Verdict: VERDICT_KEPT,
    Entry: ENTRY_KEPT,
    Record: RECORD_KEPT,
}


@pytest.mark.parametrize("type_", KEPT, ids=lambda type_: type_.__name__)
def test_it_is_decided_for_every_field_whether_it_stays(type_):
    assert KEPT[type_] | GONE[type_] == set(type_.__struct_fields__)
    assert not KEPT[type_] & GONE[type_]


def test_a_redacted_order_keeps_what_the_account_needs(world: World):
    order = world.order(verdicts=(Verdict("dnc", code="x", detail=PERSON[0]),))
    redacted = redacted_order(order)
    assert redacted.to == {"sms": "", "email": ""}
    assert redacted.accepted_at == order.accepted_at
    assert [step.channel for step in redacted.plan] == ["sms"]
    assert [verdict.code for verdict in redacted.verdicts] == ["x"]
    assert redacted_order(redacted) == redacted


def test_a_redacted_record_tells_the_same_story():
    record = a_record(datetime.now(UTC))
    redacted = redacted_record(record)
    assert [entry.event for entry in redacted.timeline] == [e.event for e in record.timeline]
    assert [entry.at for entry in redacted.timeline] == [e.at for e in record.timeline]
    assert redacted.failure == Failure(FailureCode.RECIPIENT_INVALID)
    assert not [name for name in PERSON if name in repr(redacted)]
    assert redacted_record(redacted) == redacted


SAID = {
    # what a provider said, and whether it stays
    "ESME_RINVDSTADR": True,
    "550 5.1.1": True,
    "DELIVRD err:000": True,
    "twilio:21211": True,
    "550 no such user <anna@example.com>": False,
    "anna@example.com": False,
    "no route to 4520123456": False,
    "451": True,
    "x" * 41: False,
}


@pytest.mark.parametrize(("said", "stays"), SAID.items(), ids=SAID)
def test_what_a_provider_said_stays_when_it_is_a_code(said, stays):
    at = datetime.now(UTC)
    failure = Failure(FailureCode.RECIPIENT_INVALID, provider_code=said)
    entry = redacted_entry(Entry(at, Event.FAILED, failure=failure, provider_status=said))
    assert entry.failure is not None
    expected = said if stays else None
    assert (entry.failure.provider_code, entry.provider_status) == (expected, expected)
