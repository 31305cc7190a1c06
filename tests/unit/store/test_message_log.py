"""The list of messages in SQLite."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.store.database import connect, is_postgres
from adapters.store.message_listing import MessageListing, page
from adapters.store.message_log import SqliteMessageLog
from adapters.store.recipients import Places
from domain.message import NO_CONTENT, Content, Level, MessageOrder, Step
from domain.ports import MessageQuery
from domain.timeline import Entry, Event, Record, Status
from tests.waiting import eventually

NOON = datetime(2026, 5, 1, 12, 0, 0, 123457, tzinfo=UTC)


@pytest.fixture
async def log(where: Path | str) -> AsyncIterator[SqliteMessageLog]:
    log = SqliteMessageLog(where, Places(bytes(32)))
    yield log
    await log.close()


def an_order(tenant: str = "acme", at: datetime = NOON, **facts: object) -> MessageOrder:
    return msgspec.structs.replace(
        MessageOrder(
            tenant=tenant,
            to={"sms": "+4520123456"},
            content=Content("Your code is 4711"),
            plan=(Step("sms", 30.0, Level.DELIVERED),),
            accepted_at=at,
            expires_at=at + timedelta(hours=1),
        ),
        **facts,
    )


def an_ending(status: Status = Status.DELIVERED, channel: str = "sms") -> Record:
    at = NOON + timedelta(seconds=3)
    timeline = [Entry(NOON, Event.ACCEPTED), Entry(at, Event.ENDED, status=status)]
    return Record(status, timeline, channel=channel, ended_at=at)


async def ids(log: SqliteMessageLog, limit: int = 10, **filters: Any) -> list[str]:
    return [row.id for row in await log.list(MessageQuery("acme", limit, **filters))]


async def test_a_message_from_its_acceptance_to_its_end(log: SqliteMessageLog):
    order, record = an_order(), an_ending()
    await log.accepted("a", order)
    accepted = await log.get("a")
    assert accepted is not None
    assert (accepted.status, accepted.record, accepted.created_at) == (
        Status.PROCESSING,
        None,
        NOON,
    )
    await log.ended("a", order, record)
    ended = await log.get("a")
    assert ended is not None
    assert (ended.status, ended.channel, ended.ended_at) == (
        Status.DELIVERED,
        "sms",
        record.ended_at,
    )
    assert ended.record == record


async def test_the_end_before_the_acceptance(log: SqliteMessageLog):
    """Restate may be quicker than the API's own write."""
    order, record = an_order(metadata={"order": "7"}), an_ending()
    await log.ended("a", order, record)
    await log.accepted("a", order)
    row = await log.get("a")
    assert row is not None
    assert (row.status, row.record) == (Status.DELIVERED, record)
    assert await ids(log, metadata=(("order", "7"),)) == ["a"]


async def test_an_end_that_is_written_again_changes_nothing(log: SqliteMessageLog):
    order, record = an_order(), an_ending()
    await log.ended("a", order, record)
    await log.ended("a", order, record)
    assert await ids(log) == ["a"]


async def test_the_first_end_stays(log: SqliteMessageLog):
    """A process that was stopped during an attempt goes on when its successor has ended it."""
    order = an_order()
    await log.accepted("a", order)
    first = an_ending()
    await log.ended("a", order, first)
    await log.ended("a", order, an_ending(Status.FAILED, "email"))
    row = await log.get("a")
    assert row is not None
    assert (row.record, row.status, row.channel) == (first, first.status, first.channel)


async def test_a_scheduled_message_starts(log: SqliteMessageLog):
    order = an_order(send_at=NOON + timedelta(days=1))
    await log.accepted("a", order)
    assert await ids(log, statuses=(Status.SCHEDULED,)) == ["a"]
    await log.started("a", order)
    assert await ids(log, statuses=(Status.PROCESSING,)) == ["a"]
    await log.ended("a", order, an_ending())
    # A repetition of the step before does not bring the message back.
    await log.started("a", order)
    assert await ids(log, statuses=(Status.DELIVERED,)) == ["a"]


async def test_the_content_is_not_kept(log: SqliteMessageLog, where: Path | str, tmp_path: Path):
    order = an_order()
    await log.accepted("a", order)
    await log.ended("a", order, an_ending())
    row = await log.get("a")
    assert row is not None
    assert row.order.content == NO_CONTENT
    if is_postgres(where):
        connection = connect(where)
        kept = [
            b"".join(connection.execute("SELECT order_json, record_json FROM messages").fetchone())
        ]
        connection.close()
    else:
        kept = await asyncio.to_thread(lambda: [file.read_bytes() for file in tmp_path.iterdir()])
    assert b"acme" in b"".join(kept)
    assert all(b"4711" not in content for content in kept)


FILTERS = [
    ({}, ["d", "c", "b", "a"]),
    ({"statuses": (Status.PROCESSING,)}, ["d", "a"]),
    ({"statuses": (Status.DELIVERED, Status.FAILED)}, ["c", "b"]),
    ({"channel": "email"}, ["c"]),
    ({"created_after": NOON + timedelta(minutes=1)}, ["d", "c", "b"]),
    ({"created_before": NOON + timedelta(minutes=1)}, ["a"]),
    ({"metadata": (("kind", "otp"),)}, ["d", "a"]),
    ({"metadata": (("kind", "otp"), ("n", "1"))}, ["a"]),
    ({"metadata": (("kind", "mail"),)}, []),
    ({"statuses": (Status.DELIVERED,), "channel": "sms"}, ["b"]),
    ({"limit": 2}, ["d", "c"]),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
async def test_the_list_is_filtered(log: SqliteMessageLog, filters: dict, expected: list[str]):
    def order_at(minutes: int, **metadata: str) -> MessageOrder:
        return an_order(at=NOON + timedelta(minutes=minutes), metadata=metadata)

    await log.accepted("a", order_at(0, kind="otp", n="1"))
    await log.ended("b", order_at(1), an_ending())
    await log.ended("c", order_at(2), an_ending(Status.FAILED, "email"))
    await log.accepted("d", order_at(3, kind="otp", n="2"))
    await log.accepted("x", an_order("other", metadata={"kind": "otp"}))
    assert await ids(log, **filters) == expected


async def test_pages_follow_each_other_through_equal_times(log: SqliteMessageLog):
    for name in "fbdace":
        await log.accepted(name, an_order())
    seen: list[str] = []
    before = None
    while rows := await log.list(MessageQuery("acme", 2, before=before)):
        seen += [row.id for row in rows]
        before = (rows[-1].created_at, rows[-1].id)
    assert seen == list("fedcba")


async def test_late_receipts_are_kept_once_and_in_time_order(log: SqliteMessageLog):
    await log.ended("a", an_order(), an_ending())

    def late(minute: int, receipt_id: str | None) -> Entry:
        at = NOON + timedelta(minutes=minute)
        return Entry(at, Event.RECEIPT, attempt=1, receipt_id=receipt_id, late=True)

    for entry in (late(3, "aaa"), late(2, "zzz"), late(3, "aaa"), late(1, None), late(1, None)):
        await log.late_receipt("a", entry)
    row = await log.get("a")
    assert row is not None
    assert row.late == (late(1, None), late(2, "zzz"), late(3, "aaa"))


async def test_a_late_receipt_of_an_unknown_message_leaves_nothing(log: SqliteMessageLog):
    await log.late_receipt("nobody", Entry(NOON, Event.RECEIPT, receipt_id="r"))
    await log.ended("nobody", an_order(), an_ending())
    row = await log.get("nobody")
    assert row is not None
    assert row.late == ()


async def test_two_logs_on_one_database_see_each_other(log: SqliteMessageLog, where: Path | str):
    other = SqliteMessageLog(where, Places(bytes(32)))
    try:
        await log.accepted("a", an_order())
        assert await other.get("a") is not None
    finally:
        await other.close()


ONE_ORDER = {
    "all": ({}, "messages_by_time"),
    "a_status": ({"statuses": (Status.FAILED,)}, "messages_by_status"),
    "two_statuses": ({"statuses": (Status.FAILED, Status.EXPIRED)}, "messages_by_status"),
    "a_channel": ({"channel": "sms"}, "messages_by_time"),
    "since": ({"created_after": NOON}, "messages_by_time"),
    "the_next_page": ({"before": (NOON, "a")}, "messages_by_time"),
    "the_next_page_of_a_status": (
        {"before": (NOON, "a"), "statuses": (Status.FAILED,)},
        "messages_by_status",
    ),
}


@pytest.mark.parametrize(("filters", "index"), ONE_ORDER.values(), ids=ONE_ORDER)
async def test_a_page_is_read_in_an_indexs_order(
    where: Path | str, log: SqliteMessageLog, filters: dict, index: str
):
    """However many messages there are, and however few of them fit."""
    sql, values = page(MessageQuery("acme", 50, **filters), "id, created_at")
    connection = connect(where)
    if is_postgres(where):
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {sql}", values))
        assert "Seq Scan" not in plan
    else:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        plan = "\n".join(row[3] for row in rows)
        assert ("TEMP B-TREE" in plan) is (len(filters.get("statuses", ())) > 1)
    connection.close()
    assert index in plan, plan


async def test_a_long_list_delays_no_message(where: Path | str, log: SqliteMessageLog, monkeypatch):
    """Somebody's list that takes its time is read beside what is written."""
    begun, go_on = threading.Event(), threading.Event()
    read = MessageListing._read

    def slowly(self: MessageListing, statement: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return read(self, statement)

    monkeypatch.setattr(MessageListing, "_read", slowly)
    listing = asyncio.create_task(log.list(MessageQuery("acme", 10)))
    await eventually(begun.is_set)
    await log.accepted("a", an_order())
    assert (await log.get("a")) is not None
    go_on.set()
    assert [row.id for row in await listing] == ["a"]
