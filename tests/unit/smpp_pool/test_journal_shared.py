"""Two processes on one PostgreSQL share attempts, receipts and what they know of each other."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from adapters.smpp.store.journal import Journal, Part, PartState, StoredReceipt
from tests.waiting import eventually

NOW = 1_780_000_000.0


@pytest.fixture
async def both(postgres: str) -> AsyncIterator[tuple[Journal, Journal]]:
    journals = Journal(postgres), Journal(postgres)
    yield journals
    for journal in journals:
        await journal.close()


def part_of(message: str = "m", **more) -> Part:
    part = Part(message, 1, 0, 1, "one", "4520100000", 7, f"sign_{message}", NOW)
    return replace(part, **more)


def receipt_for(smsc_id: str) -> StoredReceipt:
    return StoredReceipt("one", smsc_id, 2, "DELIVRD", None, True, "4520100000", None, NOW)


async def test_of_two_that_begin_the_same_attempts_each_gets_its_own(both):
    messages = [str(n) for n in range(200)]
    # In opposite order, which is where two transactions wait for each other.
    first, second = await asyncio.gather(
        asyncio.gather(*(both[0].begin([part_of(m)]) for m in messages)),
        asyncio.gather(*(both[1].begin([part_of(m)]) for m in reversed(messages))),
    )
    assert [a + b for a, b in zip(first, reversed(second), strict=True)] == [1] * len(messages)


async def test_a_returned_attempt_is_reopened_by_one(both):
    for n in range(20):
        await both[0].begin([part_of(str(n), state=PartState.RETURNED)])
    reopened = await asyncio.gather(
        *(journal.reopen([part_of(str(n))]) for n in range(20) for journal in both)
    )
    assert sum(reopened) == 20
    parts = await both[0].parts_of_all([(str(n), 1) for n in range(20)])
    assert {part.state for [part] in parts.values()} == {PartState.BEGUN}


async def test_a_receipt_for_the_others_part_finds_it(both):
    part = part_of()
    await both[0].begin([part])
    assert await both[1].store(receipt_for("x")) == 1
    assert await both[1].parts_by_smsc_ids([("one", "x")]) == {}
    part.state, part.smsc_id, part.command_status = PartState.ACCEPTED, "x", 0
    await both[0].settle(part)
    assert await both[1].parts_by_smsc_ids([("one", "x")]) == {("one", "x"): part}


async def test_a_receipt_that_comes_to_both_is_stored_by_one(both):
    ids = [str(n) for n in range(100)]
    counts = await asyncio.gather(
        *(both[0].store(receipt_for(id_)) for id_ in ids),
        *(both[1].store(receipt_for(id_)) for id_ in reversed(ids)),
    )
    assert sum(counts) == len(ids)


async def test_receipts_of_one_that_has_ended_are_adopted_by_one(both, postgres):
    ids = [str(n) for n in range(50)]
    third = Journal(postgres)
    await asyncio.gather(*(third.store(receipt_for(id_)) for id_ in ids))
    await both[0].store(receipt_for("another"))
    # Nobody takes what one that lives will forward.
    assert await both[1].adopt() == []
    await third.close()

    adopted: list[str] = []

    async def all_are() -> bool:
        for page in await asyncio.gather(*(journal.adopt(limit=10) for journal in both)):
            adopted.extend(one.receipt.smsc_id for one in page)
        return len(adopted) >= len(ids)

    await eventually(all_are)
    assert sorted(adopted) == sorted(ids)
    await both[0].close()
    await eventually(lambda: both[1].adopt(limit=100))


async def test_a_begun_part_is_under_way_while_its_process_lives(both):
    part = part_of()
    await both[0].begin([part])
    [seen] = await both[1].parts_of("m", 1)
    assert await both[1].under_way([seen])
    # Whoever began it knows better.
    assert not await both[0].under_way([part])
    assert not await both[1].under_way([replace(seen, state=PartState.ACCEPTED)])
    await both[0].close()
    await eventually(lambda: _over(both[1], seen))


async def test_a_part_of_a_killed_process_is_under_way_no_more(postgres: str):
    script = (
        "import asyncio, sys, time\n"
        "from adapters.smpp.store.journal import Journal, Part\n"
        "async def main():\n"
        "    journal = Journal(sys.argv[1])\n"
        "    await journal.begin([Part('m', 1, 0, 1, 'one', '45', 7, 'ref', time.time())])\n"
        "    print('begun', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    journal = Journal(postgres)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, postgres), stdout=subprocess.PIPE
    )
    try:
        assert await process.stdout.readline() == b"begun\n"
        [part] = await journal.parts_of("m", 1)
        assert await journal.under_way([part])
        process.kill()
        await eventually(lambda: _over(journal, part), within=5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await journal.close()


async def test_a_lost_connection_is_made_again_and_shows_that_the_process_lives(both, postgres):
    part = part_of()
    await both[0].begin([part])
    with psycopg.connect(postgres) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'hermes' AND pid <> pg_backend_pid()"
        )
    assert await both[0].begin([part_of("next")])
    assert await both[1].under_way([part])


async def _over(journal: Journal, part: Part) -> bool:
    return not await journal.under_way([part])
