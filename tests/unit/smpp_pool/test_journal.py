"""The bind pool's journal, on each database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.smpp.store.carrier_store import StoredCarrier
from adapters.smpp.store.inbound_store import PRUNED, InboundPart
from adapters.smpp.store.journal import Journal, Part, PartState, StoredReceipt
from adapters.store import schema
from adapters.store.database import Database, connect
from adapters.store.schema import migrate
from tests.waiting import eventually

NOW = 1_780_000_000.0
UNKNOWN_STATUS = 0xFFFFFFFF


@pytest.fixture
def where(journal_where: Path | str) -> Path | str:
    return journal_where


@pytest.fixture
async def journal(where: Path | str) -> AsyncIterator[Journal]:
    journal = Journal(where)
    yield journal
    await journal.close()


def part_of(message: str = "m", attempt: int = 1, part: int = 0, parts: int = 1, **more) -> Part:
    return Part(
        **{
            "message": message,
            "attempt": attempt,
            "part": part,
            "parts": parts,
            "carrier": "one",
            "destination": "4520100000",
            "reference": 65535,
            "receipt_ref": f"sign_{message}",
            "begun_at": NOW,
            **more,
        }
    )


async def by_smsc_id(journal: Journal, carrier: str, smsc_id: str) -> Part | None:
    return (await journal.parts_by_smsc_ids([(carrier, smsc_id)])).get((carrier, smsc_id))


def receipt_for(smsc_id: str, **more) -> StoredReceipt:
    return StoredReceipt(
        **{
            "carrier": "one",
            "smsc_id": smsc_id,
            "state": 2,
            "stat": "DELIVRD",
            "error": "000",
            "final": True,
            "destination": "4520100000",
            "reference": None,
            "received_at": NOW,
            **more,
        }
    )


async def accepted(journal: Journal, smsc_id: str | None, **more) -> Part:
    part = part_of(**more)
    await journal.begin([part])
    part.state, part.smsc_id, part.command_status = PartState.ACCEPTED, smsc_id, 0
    await journal.settle(part)
    return part


# Parts


async def test_an_attempt_in_two_parts_leaves_nothing_of_itself_where_it_is_in_one(journal):
    assert await journal.begin([part_of(reference=7)])
    in_two = [part_of(part=n, parts=2, reference=8 + n, carrier="two") for n in range(2)]
    assert not await journal.begin(in_two)
    assert [p.carrier for p in await journal.parts_of("m", 1)] == ["one"]
    assert len((await journal.parts_of_all([("m", 1)]))["m", 1]) == 1
    assert await journal.part_by_reference("two", 9, "4520100000", 0) is None


async def test_a_part_that_was_written_in_vain_and_not_taken_back_does_not_count(journal):
    await journal.begin([part_of()])
    # By a process that died in between.
    await journal._begin(part_of(part=1, parts=2, carrier="two"))
    assert [p.carrier for p in await journal.parts_of("m", 1)] == ["one"]
    assert len((await journal.parts_of_all([("m", 1)]))["m", 1]) == 1


async def test_an_attempt_begins_once(journal: Journal):
    both = [part_of(part=0, parts=2), part_of(part=1, parts=2)]
    assert await journal.begin(both)
    assert not await journal.begin(both)
    assert not await journal.begin([part_of()])
    assert await journal.begin([part_of(attempt=2)])
    assert await journal.parts_of("m", 1) == both


async def test_attempts_that_begin_together_each_know_their_answer(journal: Journal):
    await journal.begin([part_of("b")])
    begun = await asyncio.gather(*(journal.begin([part_of(message)]) for message in "abcb"))
    assert begun == [True, False, True, False]


@pytest.mark.parametrize(
    ("state", "smsc_id", "command_status"),
    [
        (PartState.ACCEPTED, "5f00a1", 0),
        (PartState.ACCEPTED, None, 0),
        (PartState.REFUSED, None, UNKNOWN_STATUS),
        (PartState.RETURNED, None, None),
    ],
)
async def test_what_becomes_known_of_a_part_is_kept(
    journal: Journal, state: PartState, smsc_id: str | None, command_status: int | None
):
    part = part_of()
    await journal.begin([part])
    part.state, part.smsc_id, part.command_status = state, smsc_id, command_status
    assert await journal.settle(part) == 1
    assert await journal.parts_of("m", 1) == [part]


async def test_a_part_is_found_by_the_id_that_its_own_carrier_gave(journal: Journal):
    first = await accepted(journal, "x", message="first")
    other = await accepted(journal, "x", message="other", carrier="two")
    assert await by_smsc_id(journal, "one", "x") == first
    assert await by_smsc_id(journal, "two", "x") == other
    assert await by_smsc_id(journal, "one", "y") is None
    again = await accepted(journal, "x", message="again", begun_at=NOW + 1)
    assert await by_smsc_id(journal, "one", "x") == again


async def test_many_parts_are_found_at_once(journal: Journal):
    parts = {("one", str(n)): part_of(str(n), begun_at=NOW + n) for n in range(1200)}
    await asyncio.gather(*(journal.begin([part]) for part in parts.values()))
    for (_, smsc_id), part in parts.items():
        part.state, part.smsc_id = PartState.ACCEPTED, smsc_id
    await asyncio.gather(*(journal.settle(part) for part in parts.values()))
    newest = await accepted(journal, "7", message="again", begun_at=NOW + 5000)
    keys = [*parts, ("two", "7"), ("one", "unknown")]
    assert await journal.parts_by_smsc_ids(keys) == {**parts, ("one", "7"): newest}
    assert await journal.parts_by_smsc_ids([]) == {}


async def test_the_parts_of_many_attempts_are_read_at_once(journal: Journal):
    both = [part_of("a", part=n, parts=2) for n in (0, 1)]
    await journal.begin(both)
    await journal.begin([single := part_of("b", 3)])
    found = await journal.parts_of_all([("b", 3), ("a", 1), ("c", 1)])
    assert found == {("a", 1): both, ("b", 3): [single]}


@pytest.mark.parametrize(
    ("others", "found"),
    [
        ([], True),
        ([{"destination": "4599"}], True),
        ([{"state": PartState.ACCEPTED}], True),
        ([{"begun_at": NOW - 100}], True),
        ([{}], False),
    ],
)
async def test_a_part_of_unknown_outcome_is_found_by_its_reference_if_only_one_fits(
    journal: Journal, others: list[dict[str, object]], found: bool
):
    part = part_of()
    await journal.begin([part])
    for n, more in enumerate(others):
        await journal.begin([part_of(f"other {n}", **more)])
    fits = await journal.part_by_reference("one", 65535, "4520100000", NOW - 10)
    assert fits == (part if found else None)


async def test_a_part_whose_receipt_was_forwarded_is_signalled(journal: Journal):
    part = await accepted(journal, "x")
    await journal.store(receipt_for("x"))
    assert await by_smsc_id(journal, "one", "x") == part
    journal.forwarded(receipt_for("x"))
    await journal.release("m", 1)
    found = await by_smsc_id(journal, "one", "x")
    assert found == replace(part, released=True, signalled=True)


@pytest.mark.parametrize(
    ("states", "reopened"),
    [
        ([PartState.RETURNED], True),
        ([PartState.ACCEPTED, PartState.RETURNED], True),
        ([PartState.BEGUN], False),
        ([PartState.ACCEPTED, PartState.BEGUN], False),
    ],
)
async def test_only_an_attempt_of_which_something_was_returned_is_reopened(
    journal: Journal, states: list[PartState], reopened: bool
):
    parts = [part_of(part=n, parts=len(states), state=state) for n, state in enumerate(states)]
    await journal.begin(parts)
    anew = [replace(part, carrier="two", state=PartState.BEGUN) for part in parts]
    assert await journal.reopen(anew) == reopened
    assert await journal.parts_of("m", 1) == (anew if reopened else parts)


# Receipts


async def test_a_receipt_is_stored_once(journal: Journal):
    assert await journal.store(receipt_for("x")) == 1
    assert await journal.store(receipt_for("x")) == 0
    assert await journal.store(receipt_for("x", state=5)) == 1
    assert await journal.store(receipt_for("x", carrier="two")) == 1


@pytest.mark.parametrize(
    "receipt",
    [
        receipt_for("x"),
        receipt_for("x", error=None, reference=65535, final=False),
        receipt_for("ø/é'?%s$1", stat="Æ;--"),
    ],
)
async def test_a_receipt_is_read_as_it_was_stored(journal: Journal, receipt: StoredReceipt):
    await journal.store(receipt)
    assert await journal.receipts_to_forward() == [receipt]


async def test_bytes_that_no_text_may_hold_are_left_out(journal: Journal):
    assert await journal.store(receipt_for("x\0y", stat="\0", error="\0\0")) == 1
    assert await journal.receipts_to_forward() == [receipt_for("xy", stat="", error="")]


async def test_receipts_that_nobody_forwards_come_in_pages_with_their_parts(where: Path | str):
    journal = Journal(where)
    part = await accepted(journal, "3")
    receipts = [receipt_for(str(n), received_at=NOW - n) for n in range(10)]
    for receipt in receipts:
        await journal.store(receipt)
    journal.forwarded(receipts[1])
    await journal.store(receipts[0])
    assert await journal.adopt() == []
    await journal.close()

    found, successor = [], Journal(where)
    try:
        # PostgreSQL notices a moment later that a connection has ended.
        while len(found) < 9:
            page = await eventually(lambda: successor.adopt(limit=4))
            assert len(page) <= 4
            found += page
        assert await successor.adopt() == []
    finally:
        await successor.close()
    assert [one.receipt for one in found] == [receipts[0], *receipts[2:]]
    assert [one.part for one in found if one.part is not None] == [part]
    assert found[2].part == part


async def test_the_receipts_of_many_parts_come_at_once_and_oldest_first(journal: Journal):
    parts = [part_of(str(n), smsc_id=str(n)) for n in range(600)]
    await asyncio.gather(
        *(journal.store(receipt_for(str(n), received_at=NOW - n)) for n in range(600)),
        journal.store(receipt_for("5", state=5, received_at=NOW + 1)),
        journal.store(receipt_for("of nobody")),
    )
    found = await journal.receipts_of([*parts, part_of("unanswered")])
    assert [receipt.smsc_id for receipt in found] == [*map(str, reversed(range(600))), "5"]


# Forgetting


async def test_what_is_old_is_forgotten(journal: Journal):
    for n in range(4):
        await accepted(journal, str(n), message=str(n), begun_at=NOW + n)
        await journal.store(receipt_for(str(n), received_at=NOW + n))
        await journal.store_inbound(inbound_part(str(n), source=str(n), received_at=NOW + n))
    await journal.inbound_forwarded(["0", "3"])
    await journal.inbound_held(["2"])
    assert await journal.prune(NOW + 3) == 3 + 3 + 2
    assert list(await journal.parts_of_all([(str(n), 1) for n in range(4)])) == [("3", 1)]
    assert [receipt.smsc_id for receipt in await journal.receipts_to_forward()] == ["3"]
    # One that nobody has been told of is kept, however old.
    assert [part.id for part in await journal.inbound_waiting(NOW + 9)] == ["1"]
    assert await journal.prune(NOW + 3) == 0


async def test_forgetting_much_lets_writers_have_their_turn(journal: Journal):
    many = 3 * PRUNED + 10
    await asyncio.gather(*(journal.begin([part_of(str(n), begun_at=NOW + n)]) for n in range(many)))
    pruning = asyncio.create_task(journal.prune(NOW + many - 5))
    turns = 0
    while not pruning.done():
        await journal.begin([part_of(f"meanwhile {turns}", begun_at=NOW + many)])
        turns += not pruning.done()
    assert await pruning == many - 5
    assert turns >= 2
    left = await journal.parts_of_all([(str(n), 1) for n in range(many)])
    assert sorted(left) == [(str(n), 1) for n in range(many - 5, many)]


# Carriers


async def test_carriers_are_put_replaced_and_deleted(journal: Journal):
    await journal.put_carrier("b", "{}", "active")
    await journal.put_carrier("a", '{"window": 1}', "active")
    await asyncio.gather(
        journal.put_carrier("b", '{"window": 2}', "active"),
        journal.put_carrier("b", '{"window": 3}', "suspended"),
    )
    found = await journal.carriers()
    assert found == [
        StoredCarrier("a", '{"window": 1}', "active", found[0].updated_at),
        StoredCarrier("b", '{"window": 3}', "suspended", found[1].updated_at),
    ]
    assert found[0].updated_at < found[1].updated_at
    assert await journal.delete_carrier("a")
    assert not await journal.delete_carrier("a")
    assert [carrier.name for carrier in await journal.carriers()] == ["b"]


# Inbound


def inbound_part(id_: str, **more) -> InboundPart:
    return InboundPart(
        **{
            "id": id_,
            "carrier": "one",
            "source": "4520100000",
            "destination": "1234",
            "reference": 200,
            "total": 2,
            "number": 1,
            "data_coding": 0,
            "payload": b"\x00\xffSTOP",
            "received_at": NOW,
            **more,
        }
    )


@pytest.mark.parametrize(
    ("second", "stored"),
    [
        (inbound_part("b"), 0),
        (inbound_part("b", received_at=NOW + 59), 0),
        (inbound_part("b", received_at=NOW + 61), 1),
        (inbound_part("b", number=2), 1),
        (inbound_part("b", payload=b"other"), 1),
        (inbound_part("b", carrier="two"), 1),
        (inbound_part("a", payload=b"same id"), 0),
    ],
)
@pytest.mark.parametrize("forwarded", [False, True])
async def test_a_part_that_a_carrier_repeats_is_not_stored_again(
    journal: Journal, second: InboundPart, stored: int, forwarded: bool
):
    assert await journal.store_inbound(inbound_part("a"), repeated_within=60) == 1
    if forwarded:
        await journal.inbound_forwarded(["a"])
    assert await journal.store_inbound(second, repeated_within=60) == stored


async def test_inbound_parts_wait_until_they_were_forwarded(journal: Journal):
    last, first = inbound_part("b", number=2), inbound_part("a", received_at=NOW + 1)
    other = inbound_part("c", reference=201, received_at=NOW + 2)
    for part in (last, first, other):
        await journal.store_inbound(part)
    assert await journal.inbound_parts("one", "4520100000", "1234", 200, 2) == [first, last]
    assert await journal.inbound_waiting(NOW + 2) == [last, first]
    assert await journal.inbound_waiting(NOW + 3, limit=1) == [last]
    await journal.inbound_forwarded(["a", "b"])
    assert await journal.inbound_parts("one", "4520100000", "1234", 200, 2) == []
    assert await journal.inbound_waiting(NOW + 3) == [other]


# The next process, and the next release


async def test_the_next_process_knows(where: Path | str):
    journal = Journal(where)
    part = await accepted(journal, "x")
    await journal.store(receipt_for("x"))
    await journal.close()
    successor = Journal(where)
    try:
        assert not await successor.begin([part_of()])
        assert (await eventually(successor.adopt))[0].part == part
    finally:
        await successor.close()


async def test_an_older_journal_is_taken_over(
    new_where: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    directory = tmp_path / "older"
    directory.mkdir()
    for number in (1, 2):
        file = schema._MIGRATIONS / f"smpp_{number}.sql"
        (directory / file.name).write_text(file.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_MIGRATIONS", directory)
        older = connect(new_where)
        migrate(older, "smpp")
    fill_as_of_migration_2(older)
    older.close()

    journal = Journal(new_where)
    try:
        newer = part_of("new", state=PartState.ACCEPTED, smsc_id="x", command_status=0)
        assert await journal.parts_of("new", 1) == [newer]
        assert await journal.receipts_to_forward() == [receipt_for("x")]
        assert not await journal.begin([part_of("old")])
        assert await journal.store(receipt_for("x")) == 0
        assert await journal.begin([part_of("next")])
        assert await journal.prune(NOW - 5) == 1
    finally:
        await journal.close()


def fill_as_of_migration_2(database: Database) -> None:
    row = ("4520100000", 65535)
    database.commit_group(
        [
            (
                "INSERT INTO parts (message, attempt, part, parts, carrier, destination, reference,"
                " receipt_ref, begun_at, state, smsc_id, command_status, released)"
                " VALUES (?, 1, 0, 1, 'one', ?, ?, ?, ?, ?, ?, ?, 0)",
                values,
            )
            for values in (
                ("new", *row, "sign_new", NOW, "accepted", "x", 0),
                ("old", *row, "sign_old", NOW - 10, "begun", None, None),
            )
        ]
    )
    database.commit_group(
        [
            (
                "INSERT INTO receipts (carrier, smsc_id, state, stat, error, final, destination,"
                " reference, received_at) VALUES ('one', ?, 2, 'DELIVRD', '000', 1, ?, ?, ?)",
                ("x", "4520100000", None, NOW),
            )
        ]
    )
