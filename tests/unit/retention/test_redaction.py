"""What stays of a message, and that nothing else does."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.retention import redaction
from adapters.retention.redaction import BATCH, redact
from adapters.store.bulk import multiplied
from adapters.store.database import Database, Rows, is_postgres
from adapters.store.recipients import Places
from adapters.store.schema import open_store
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
from tests.unit.retention.conftest import PERSON, SECRET, World, a_record

# A field that is new is redacted, until somebody decides here that it names nobody.
GONE = {
    MessageOrder: {
        *("to", "content", "status_callback", "metadata", "fingerprint", "tell", "recipient"),
        "verdicts",  # rebuilt from VERDICT_KEPT
        *(
            "direct",
            "fresh",
            "quiet",
            "reply",
        ),  # for the way, which is over; `quiet` tells the time zone
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


STATEMENTS = {
    name: sql
    for name, sql in vars(redaction).items()
    if isinstance(sql, str) and sql.count("?") and name.startswith("_") and name.isupper()
}
IN_THE_JOURNAL = {"_PARTS", "_FORGET_PARTS", "_FORGET_RECEIPTS"}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_batch_reads_no_whole_table(world: World, name):
    sql = multiplied(STATEMENTS[name], 4) or STATEMENTS[name]
    where, schema = world.where, "hermes"
    if name in IN_THE_JOURNAL:
        where, schema = world.journal, "smpp"
    values = ["1"] * sql.count("?")
    with closing(open_store(where, schema)) as database:
        if is_postgres(where):
            # As all that Hermes asks: `adapters/store/postgres.py` turns the others off.
            plan = str(database.execute(f"EXPLAIN {sql}", values).fetchall())
            assert "Seq Scan" not in plan
        else:
            rows = database.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            scans = {row[3] for row in rows if row[3].startswith("SCAN")}
            # Of what the statement itself brings.
            assert scans <= {"SCAN 4 CONSTANT ROWS", "SCAN new", "SCAN gone"}


async def test_a_batch_takes_as_many_statements_as_one_message(world: World):
    ids = [await world.ended(world.order()) for _ in range(1 + BATCH)]
    counts = []
    with world.database() as database:
        for some in (ids[:1], ids[1:]):
            counted = Counted(database)
            assert redact(counted, some, Places(SECRET)) == len(some)
            counts.append(counted.statements)
    one, many = counts
    # Of addresses, 32 are looked up at a time.
    assert many < 2 * one


class Counted:
    """A database that counts what it is asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements = 0

    def execute(self, *asked: Any) -> Rows:
        self.statements += 1
        return self._database.execute(*asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)
