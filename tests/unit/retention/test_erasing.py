"""One person is forgotten, by one tenant, wherever a message named them."""

from __future__ import annotations

import pytest

from adapters.retention import erasure, sweeper
from adapters.retention.erasure import LOOK_AGAIN, LOOK_FOR_ENDS, Found
from adapters.store import audit, recipients
from adapters.store.database import is_postgres
from domain.mode import Mode
from domain.ports import MessageQuery
from domain.retention import LONGEST_LIFE
from tests.unit.retention.conftest import MAIL, PERSON, PHONE, World

WHO = {"sms": PHONE, "email": MAIL}


async def test_nothing_names_the_person_any_more(world: World, names):
    await world.ended(world.order())
    await world.ended(world.order(days_ago=30))
    found = world.erasures().erase("acme", WHO, "key:k1")
    assert found == {"sms": Found(erased=2), "email": Found(erased=0)}
    assert names(world) == set(), world.everything()


async def test_who_was_forgotten_is_forgotten_again_without_harm(world: World, names):
    await world.ended(world.order())
    world.erasures().erase("acme", WHO, "key:k1")
    again = world.erasures().erase("acme", WHO, "key:k1")
    assert set(again.values()) == {Found()}
    assert names(world) == set()


async def test_an_unknown_person_is_nobody(world: World):
    assert world.erasures().erase("acme", {"sms": PHONE}, "key:k1") == {"sms": Found()}


async def test_another_tenants_messages_to_the_same_person_stay(world: World):
    await world.ended(world.order("acme"))
    kept = await world.ended(world.order("other"))
    assert world.erasures().erase("acme", WHO, "key:k1")["sms"].erased == 1
    row = await world.log.get(kept)
    assert row is not None
    assert row.order.to == WHO


async def test_two_addresses_that_share_a_place_are_told_apart(world: World, monkeypatch):
    monkeypatch.setattr(recipients, "place_of", lambda tenant, channel, address: 7)
    monkeypatch.setattr(erasure, "place_of", lambda tenant, channel, address: 7)
    kept = await world.ended(world.order(to={"sms": "+4520999999"}))
    await world.ended(world.order(to={"sms": PHONE}))
    assert world.erasures().erase("acme", {"sms": PHONE}, "key:k1")["sms"] == Found(erased=1)
    row = await world.log.get(kept)
    assert row is not None
    assert row.order.to == {"sms": "+4520999999"}


async def test_a_message_under_way_is_erased_when_it_has_ended(world: World, names):
    order = world.order()
    message = await world.accepted(order)
    found = world.erasures().erase("acme", WHO, "key:k1")
    assert found["sms"] == Found(under_way=1)
    await world.ended(order, message)
    assert names(world) == set(PERSON)
    world.clock.pass_by(seconds=LOOK_AGAIN + 1)
    world.sweeper().round()
    assert names(world) == set()


async def test_a_message_that_ends_much_later(world: World, names):
    order = world.order()
    message = await world.accepted(order)
    world.erasures().erase("acme", WHO, "key:k1")
    world.clock.pass_by(seconds=LOOK_AGAIN + 1)
    world.sweeper().round()
    await world.ended(order, message)
    world.clock.pass_by(seconds=LOOK_FOR_ENDS + 1)
    world.sweeper().round()
    assert names(world) == set()


async def test_a_message_that_comes_after_the_request_stays(world: World):
    world.erasures().erase("acme", WHO, "key:k1")
    world.clock.pass_by(seconds=1)
    kept = await world.ended(world.order())
    world.clock.pass_by(seconds=LOOK_AGAIN + 1)
    world.sweeper().round()
    row = await world.log.get(kept)
    assert row is not None
    assert row.order.to == WHO


async def test_a_request_is_kept_no_longer_than_messages_live(world: World):
    world.erasures().erase("acme", WHO, "key:k1")
    for _ in range(3):
        world.clock.pass_by(seconds=LONGEST_LIFE.total_seconds())
        world.sweeper().round()
    with world.database() as database:
        assert database.execute("SELECT count(*) FROM erasures").fetchone()[0] == 0


async def test_more_than_can_be_waited_for(world: World, monkeypatch, names):
    monkeypatch.setattr(erasure, "AT_ONCE", 3)
    monkeypatch.setattr(erasure, "BATCH", 2)
    for _ in range(7):
        await world.ended(world.order())
    found = world.erasures().erase("acme", {"sms": PHONE}, "key:k1")["sms"]
    assert (found.erased, found.more) == (4, True)
    world.sweeper().round()
    assert names(world) == set()


async def test_it_is_audited_without_the_address(world: World):
    world.erasures().erase("acme", WHO, "key:k1")
    with world.database() as database:
        told = audit.entries(database, tenant="acme", limit=10)
    assert {(line.actor, line.action) for line in told} == {("key:k1", "recipient.erase")}
    assert {line.subject.partition(":")[0] for line in told} == {"sms", "email"}
    assert not [name for name in PERSON if name in repr(told)]


LOOKS = {
    "a person's messages": (erasure._FOUND[0], (1, "", "acme", 1.0, 10)),
    "a person's messages, by another address": (erasure._FOUND[1], (1, "", "acme", 1.0, 10)),
    "requests that are due": (erasure._DUE, (1.0, 10)),
    "tenants": (sweeper._NEXT_TENANT, ("",)),
    "messages whose time is over": (sweeper._OLD, ("acme", "live", 1.0, 0.0, "", 10)),
}


@pytest.mark.parametrize(("sql", "values"), LOOKS.values(), ids=LOOKS)
async def test_nothing_is_found_by_reading_a_whole_table(world: World, sql, values):
    with world.database() as database:
        if is_postgres(world.where):
            # The planner reads small tables whole, whatever indexes they have.
            database.execute("SET enable_seqscan = off")
            plan = str(database.execute(f"EXPLAIN {sql}", values).fetchall())
            assert "Seq Scan" not in plan
        else:
            plan = str(database.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall())
            assert "SCAN" not in plan
            assert "TEMP B-TREE" not in plan


async def test_the_listing_is_separate_for_test_messages(world: World):
    live = await world.ended(world.order())
    test = await world.ended(world.order(mode=Mode.TEST))
    for mode, id_ in ((Mode.LIVE, live), (Mode.TEST, test)):
        rows = await world.log.list(MessageQuery("acme", 10, mode=mode))
        assert [row.id for row in rows] == [id_]


@pytest.mark.parametrize("actor", ["operator", "key:k2"])
async def test_whoever_asked_is_named(world: World, actor):
    world.erasures().erase("acme", {"sms": PHONE}, actor)
    with world.database() as database:
        [line] = audit.entries(database, tenant="acme", limit=10)
    assert line.actor == actor
