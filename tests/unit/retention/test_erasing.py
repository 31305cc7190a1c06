"""One person is forgotten, by one tenant, wherever a message named them."""

from __future__ import annotations

import pytest

from adapters.retention import erasure, sweeper
from adapters.retention.erasure import LOOK_AGAIN, LOOK_FOR_ENDS, Found
from adapters.store import audit
from adapters.store.database import is_postgres
from adapters.store.recipients import Places, unkeyed_places
from adapters.suppression.hashing import Hasher, stored
from domain.mode import Mode
from domain.ports import MessageQuery
from domain.retention import LONGEST_LIFE
from tests.unit.retention.conftest import MAIL, PERSON, PHONE, SECRET, World

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
    monkeypatch.setattr(Places, "of", lambda self, tenant, channel, address: 7)
    kept = await world.ended(world.order(to={"sms": "+4520999999"}))
    await world.ended(world.order(to={"sms": PHONE}))
    assert world.erasures().erase("acme", {"sms": PHONE}, "key:k1")["sms"] == Found(erased=1)
    row = await world.log.get(kept)
    assert row is not None
    assert row.order.to == {"sms": "+4520999999"}


SPELLED = {
    # an e-mail address in the message, and in the request
    "small in the request": ("Anna.Person@example.com", "anna.person@example.com"),
    "capitals in the request": ("anna.person@example.com", "ANNA.Person@example.com"),
    "capitals in both": ("Anna.person@example.com", "anna.Person@example.com"),
}


@pytest.mark.parametrize("to", ["alone", "beside a number"])
@pytest.mark.parametrize(("written", "asked"), SPELLED.values(), ids=SPELLED)
async def test_capitals_of_an_address_do_not_keep_it(world: World, to, written, asked):
    addresses = {"email": written} if to == "alone" else {"sms": PHONE, "email": written}
    message = await world.ended(world.order(to=addresses))
    assert world.erasures().erase("acme", {"email": asked}, "key:k1") == {"email": Found(erased=1)}
    row = await world.log.get(message)
    assert row is not None
    assert set(row.order.to.values()) == {""}
    assert written not in world.everything()


def found_as_before(world: World) -> None:
    """Let all messages be found by hashes without a key, as the first versions had them."""
    [phone], [mail] = unkeyed_places("acme", "sms", PHONE), unkeyed_places("acme", "email", MAIL)
    with world.database() as database:
        database.execute("UPDATE messages SET recipient = ?", (phone,))
        database.execute("UPDATE message_recipients SET address = ?", (mail,))


@pytest.mark.parametrize("asked", WHO)
async def test_messages_of_before_hashes_were_keyed(world: World, names, asked):
    await world.ended(world.order())
    order = world.order()
    waits = await world.accepted(order)
    found_as_before(world)
    found = world.erasures().erase("acme", {asked: WHO[asked]}, "key:k1")
    assert found == {asked: Found(erased=1, under_way=1)}
    await world.ended(order, waits)
    world.clock.pass_by(seconds=LOOK_AGAIN + 1)
    world.sweeper().round()
    assert names(world) == set()


async def test_a_message_of_before_is_redacted_wherever_it_is_found(world: World, names):
    await world.ended(world.order(days_ago=91))
    found_as_before(world)
    world.sweeper().round()
    assert names(world) == set()
    with world.database() as database:
        assert database.execute("SELECT count(*) FROM message_recipients").fetchone()[0] == 0


async def test_a_dump_without_the_key_does_not_tell_who_asked(world: World):
    order = world.order()
    await world.ended(order)
    await world.accepted(order)
    world.erasures().erase("acme", WHO, "key:k1")
    with world.database() as database:
        kept = {
            row[0]
            for column in (
                "address FROM erasures",
                "address FROM message_recipients",
                "recipient FROM messages",
            )
            for row in database.execute(f"SELECT {column}").fetchall()
        }
    for channel, address in WHO.items():
        guesses = unkeyed_places("acme", channel, address)
        guesses.add(Places(bytes(32)).of("acme", channel, address))
        # Nor may it tell that they are on the suppression list.
        guesses.add(stored(Hasher(SECRET).key("acme", channel, address)))
        assert not guesses & kept
        assert Places(SECRET).of("acme", channel, address) in kept


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
