"""The same content to the same addresses, refused once it was asked for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.store.database import connect
from adapters.store.recent_content import RecentContent
from domain.mode import Mode
from handlers.api.app import create_app
from handlers.api.codes import code_of
from handlers.api.problems import Problem
from handlers.api.services import OwnServices
from handlers.pipeline.dedup import Dedup
from handlers.pipeline.layers import in_order
from tests.fakes import FakeEngine, FakeKeys, FakeLog
from tests.unit.pipeline.conftest import NOW

KEY = b"k" * 32
MINUTE = {"window": 60}


class Known:
    """The messages that came to be."""

    def __init__(self, *messages: str) -> None:
        self.messages = set(messages)

    async def __call__(self, message: str) -> bool:
        return message in self.messages


@asynccontextmanager
async def pipelines(where: Path | str, known: Any = None, count: int = 1):
    """Pipelines of as many processes."""
    recent = [RecentContent(where) for _ in range(count)]
    known = known or Known("msg_1")
    try:
        yield [in_order(providers=OwnServices(), dedup=Dedup(one, KEY, known)) for one in recent]
    finally:
        for one in recent:
            await one.close()


def rows(where: Path | str) -> int:
    database = connect(where)
    try:
        return database.execute("SELECT count(*) FROM recent_content").fetchone()[0]
    finally:
        database.close()


def after(seconds: float):
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"ttl": 600, "metadata": {"n": "2"}, "status_callback": "https://a.example/"},
        {"plan": [{"channel": "sms", "timeout": 30}]},
        {"now": after(59)},
    ],
)
async def test_the_same_content_again_names_the_first_message(draft, where, other):
    async with pipelines(where) as (pipeline,):
        await pipeline.admit(draft(dedup=MINUTE))
        with pytest.raises(Problem) as refusal:
            await pipeline.admit(draft(message_id="msg_2", dedup=MINUTE, **other))
    assert refusal.value.status == 409
    assert refusal.value.details.code == "duplicate_content"
    assert refusal.value.details.message == "msg_1"


@pytest.mark.parametrize(
    "other",
    [
        {"content": {"text": "Your table is ready!"}},
        {"to": {"sms": "+4520123457"}},
        {"tenant": "globex"},
        {"mode": Mode.TEST},
        {"now": after(60)},
        {"now": after(30), "dedup": {"window": 30}},
        {"dedup": None},
    ],
)
async def test_what_differs_or_comes_later_or_does_not_ask_passes(draft, where, other):
    async with pipelines(where) as (pipeline,):
        await pipeline.admit(draft(dedup=MINUTE))
        await pipeline.admit(draft(message_id="msg_2", **{"dedup": MINUTE} | other))


async def test_a_tenant_may_ask_for_all_its_messages(draft, where):
    settings = {"defaults": {"dedup_window": 60}}
    async with pipelines(where) as (pipeline,):
        await pipeline.admit(draft(settings))
        with pytest.raises(Problem, match="duplicate_content"):
            await pipeline.admit(draft(settings, message_id="msg_2"))


async def test_a_request_that_is_repeated_under_its_key_is_no_duplicate(draft, where):
    async with pipelines(where) as (pipeline,):
        await pipeline.admit(draft(dedup=MINUTE))
        repeated = draft(dedup=MINUTE)
        await pipeline.admit(repeated)
        # Its first request holds the message: nothing is given back for the second.
        pipeline.give_back(repeated)
        with pytest.raises(Problem, match="duplicate_content"):
            await pipeline.admit(draft(message_id="msg_2", dedup=MINUTE))


async def test_a_repeated_request_that_is_overtaken_leaves_the_content_claimed(where, monkeypatch):
    engine = FakeEngine()
    start = engine.start

    async def behind_its_twin(message_id, order, **options):
        await start(message_id, order, **options)
        return await start(message_id, order, **options)

    monkeypatch.setattr(engine, "start", behind_its_twin)

    async def known(message: str) -> bool:
        return message in engine.held

    message = {"to": {"sms": "+4520123456"}, "content": {"text": "Hello"}, "dedup": MINUTE}
    async with pipelines(where, known) as (pipeline,):
        app = create_app(FakeKeys({"key": "acme"}), FakeLog(), engine, pipeline=pipeline)
        transport, headers = httpx.ASGITransport(app), {"Authorization": "Bearer key"}
        async with httpx.AsyncClient(transport=transport, base_url="http://hermes") as client:
            repeated = {**headers, "Idempotency-Key": "once"}
            first = await client.post("/v1/messages", json=message, headers=repeated)
            assert (first.status_code, first.headers["idempotent-replayed"]) == (202, "true")
            again = await client.post("/v1/messages", json=message, headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "duplicate_content")


async def test_of_many_at_once_in_several_processes_one_passes(draft, where):
    known = Known(*(f"msg_{number}" for number in range(12)))
    async with pipelines(where, known, count=3) as several:
        results = await asyncio.gather(
            *(
                several[number % 3].admit(draft(message_id=f"msg_{number}", dedup=MINUTE))
                for number in range(12)
            ),
            return_exceptions=True,
        )
    refusals = [result for result in results if isinstance(result, Problem)]
    assert len(refusals) == 11
    (passed,) = [number for number, result in enumerate(results) if result not in refusals]
    assert {refusal.details.message for refusal in refusals} == {f"msg_{passed}"}


async def test_what_was_not_accepted_after_all_may_come_again(draft, where):
    async with pipelines(where) as (pipeline,):
        first = draft(dedup=MINUTE)
        await pipeline.admit(first)
        pipeline.give_back(first)
        await pipeline.admit(draft(message_id="msg_2", dedup=MINUTE))


# The first request was answered with 503, and asked to be repeated after 2 seconds.
@pytest.mark.parametrize(
    ("seconds", "retry_after"), [(0, "10"), (2, "8"), (5.5, "5"), (9.9, "1"), (11, None)]
)
async def test_a_message_that_never_came_to_be_makes_no_duplicate_of_its_repeat(
    draft, where, seconds, retry_after
):
    async with pipelines(where, Known()) as (pipeline,):
        await pipeline.admit(draft(dedup=MINUTE))
        again = draft(message_id="msg_2", dedup=MINUTE, now=after(seconds))
        if retry_after is None:
            await pipeline.admit(again)
            return
        with pytest.raises(Problem) as refusal:
            await pipeline.admit(again)
    assert refusal.value.code == "request_in_progress"
    assert refusal.value.headers["Retry-After"] == retry_after


async def test_a_message_that_came_to_be_is_the_first_from_its_first_moment(draft, where):
    known = Known()
    async with pipelines(where, known) as (pipeline,):
        await pipeline.admit(draft(dedup=MINUTE))
        with pytest.raises(Problem, match="request_in_progress"):
            await pipeline.admit(draft(message_id="msg_2", dedup=MINUTE, now=after(1)))
        known.messages.add("msg_1")
        with pytest.raises(Problem, match="duplicate_content"):
            await pipeline.admit(draft(message_id="msg_2", dedup=MINUTE, now=after(1)))


def test_the_page_of_a_duplicate_does_not_ask_for_a_repeat():
    code = code_of("duplicate_content")
    assert code is not None
    assert "Retry-After" not in code.remedy
    assert "`message`" in code.remedy


async def test_rows_leave_when_their_window_is_over(draft, where, monkeypatch):
    monkeypatch.setattr("adapters.store.recent_content.PRUNED_EVERY", 0.0)
    async with pipelines(where) as (pipeline,):
        for number in range(5):
            text = {"text": f"Table {number}"}
            await pipeline.admit(draft(message_id=f"msg_{number}", dedup=MINUTE, content=text))
        assert rows(where) == 5
        await pipeline.admit(draft(message_id="msg_9", dedup=MINUTE, now=after(61)))
    assert rows(where) == 1


async def test_the_table_does_not_tell_the_content(draft, where):
    async with pipelines(where) as (pipeline,):
        await pipeline.admit(draft(dedup=MINUTE, content={"text": "Code 482913"}))
    database = connect(where)
    (row,) = database.execute("SELECT digest FROM recent_content").fetchall()
    database.close()
    async with pipelines(where) as (pipeline,):
        other = Dedup(None, b"o" * 32, Known())  # type: ignore[arg-type]
        same = Dedup(None, KEY, Known())  # type: ignore[arg-type]
        order = await pipeline.admit(draft(content={"text": "Code 482913"}))
    assert same.digest(order) == bytes(row[0])
    assert other.digest(order) != bytes(row[0])


async def test_nothing_is_written_for_who_does_not_ask(draft, where):
    async with pipelines(where) as (pipeline,):
        await pipeline.admit(draft())
    assert rows(where) == 0
