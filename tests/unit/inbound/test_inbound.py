"""From a carrier's socket to Restate: nothing lost, nothing twice."""

import asyncio
import random
import sqlite3
import time
from contextlib import closing

import pytest

from adapters.smpp.protocol.constants import CommandStatus, EsmClass, Tag
from adapters.smpp.protocol.pdu import DataSm, DeliverSm
from domain.inbound import InboundRoute, Routes
from tests.unit.inbound.conftest import NUMBER, PERSON, Sink, messages
from tests.waiting import eventually

LONG = "".join(chr(ord("a") + n % 26) for n in range(1000))


async def test_a_message_reaches_its_tenant(process, carrier):
    hermes = await process()
    assert await carrier.deliver(*messages("Hello")) == [0]
    await hermes.forwarded("Hello")
    [(id_, delivery)] = hermes.sink.told.items()
    event = delivery.event
    assert (delivery.tenant, delivery.url) == ("acme", "https://acme.example/in")
    assert (event.type, event.data.id + ".received") == ("message.received", id_)
    assert (event.data.source, event.data.destination) == (f"+{PERSON}", NUMBER)
    assert (event.data.carrier, event.data.keyword) == ("carrier", None)
    assert (event.data.complete, event.data.parts) == (True, 1)
    assert event.timestamp == event.data.received_at
    assert await hermes.waiting() == []


async def test_by_keyword(process, carrier):
    hermes = await process()
    await carrier.deliver(*messages("stop!"))
    await hermes.forwarded("stop!")
    [delivery] = hermes.sink.told.values()
    assert (delivery.tenant, delivery.event.data.keyword) == ("stopper", "STOP")


async def test_a_data_sm(process, carrier):
    hermes = await process()
    pdu = DataSm(
        source_addr=PERSON,
        destination_addr=NUMBER.lstrip("+"),
        tlvs={int(Tag.MESSAGE_PAYLOAD): b"Hello"},
    )
    answers = []
    session = type("Session", (), {})()
    session.acknowledge = lambda *answer: answers.append(answer)
    session.closed = asyncio.get_running_loop().create_future()
    hermes.inbound.on_deliver("carrier", session, 5, pdu)
    await hermes.forwarded("Hello")
    assert answers == [(5, pdu.command_id)]


async def test_many_long_messages_in_any_order_with_repeats(process, carrier):
    hermes = await process()
    chance = random.Random(4)
    texts = [f"{n} {LONG[: 40 * n]}" for n in range(25)]
    pdus = [pdu for text in texts for pdu in messages(text)]
    again = [pdu for pdu in pdus if pdu.esm_class and chance.random() < 0.3]
    shuffled = chance.sample(pdus + again, len(pdus) + len(again))
    assert set(await carrier.deliver(*shuffled)) == {0}
    await hermes.forwarded(*texts)
    assert (hermes.counts.received, hermes.counts.repeated) == (len(pdus), len(again))
    assert await hermes.waiting() == []


async def test_parts_over_two_binds(process, carrier):
    hermes = await process()
    await hermes.bind()
    parts = messages(LONG)
    for index, part in enumerate(parts):
        assert await carrier.deliver(part, session=index % 2) == [0]
    await hermes.forwarded(LONG)


async def test_after_the_timeout_what_came_is_told(process, carrier):
    hermes = await process(timeout=0.2)
    first, _, third = messages("a" * 153 + "b" * 153 + "c")
    await carrier.deliver(third, first)
    await hermes.forwarded("a" * 153 + "…c")
    [delivery] = hermes.sink.told.values()
    assert (delivery.event.data.complete, delivery.event.data.missing) == (False, (2,))
    assert (hermes.counts.forwarded, hermes.counts.incomplete) == (1, 1)
    assert await hermes.waiting() == []


async def test_a_part_that_comes_too_late_is_told_too(process, carrier):
    hermes = await process(timeout=0.2)
    first, second = messages("a" * 153 + "b" * 100)
    await carrier.deliver(first)
    await hermes.forwarded("a" * 153 + "…")
    await carrier.deliver(second)
    await hermes.forwarded("a" * 153 + "…", "…" + "b" * 100)


async def test_a_part_that_is_repeated_late_starts_nothing(process, carrier):
    hermes = await process(timeout=0.2)
    parts = messages(LONG)
    await carrier.deliver(*parts)
    await hermes.forwarded(LONG)
    assert await carrier.deliver(*parts) == [0] * len(parts)
    assert hermes.counts.repeated == len(parts)
    assert await hermes.waiting() == []


# Messages of one part


async def test_a_person_who_says_it_twice_is_heard_twice(process, carrier):
    hermes = await process()
    await carrier.deliver(*messages("yes"))
    await carrier.deliver(*messages("yes"))
    await hermes.forwarded("yes", "yes")


async def test_a_carrier_that_repeats_it_after_a_lost_link_is_heard_once(process, carrier):
    hermes = await process()
    session = await hermes.bind()
    await carrier.deliver(*messages("yes"))
    carrier.sessions[-1].abort()
    await asyncio.wait_for(session.closed, 5)
    await hermes.bind()
    assert await carrier.deliver(*messages("yes")) == [0]
    assert hermes.counts.repeated == 1
    await hermes.forwarded("yes")


async def test_a_person_who_says_it_twice_on_the_new_link_is_heard_twice(process, carrier):
    hermes = await process()
    session = await hermes.bind()
    await carrier.deliver(*messages("no"))
    carrier.sessions[-1].abort()
    await asyncio.wait_for(session.closed, 5)
    await hermes.bind()
    await carrier.deliver(*messages("yes"))
    await carrier.deliver(*messages("yes"))
    await hermes.forwarded("no", "yes", "yes")


async def test_a_carrier_that_repeats_it_after_a_restart_is_heard_once(process, carrier):
    hermes = await process()
    await carrier.deliver(*messages("yes"))
    await hermes.forwarded("yes")
    await hermes.close()
    hermes = await process(sink=hermes.sink)
    assert await carrier.deliver(*messages("yes")) == [0]
    assert hermes.counts.repeated == 1
    await hermes.forwarded("yes")


# Faults


async def test_what_is_not_stored_is_refused_for_now_and_may_come_again(process, carrier, tmp_path):
    hermes = await process()
    other = sqlite3.connect(tmp_path / "smpp.db")
    other.execute("CREATE TRIGGER full BEFORE INSERT ON inbound BEGIN SELECT RAISE(FAIL, ''); END")
    assert await carrier.deliver(*messages("Hello")) == [CommandStatus.ESME_RX_T_APPN]
    assert hermes.counts.refused == 1
    other.execute("DROP TRIGGER full")
    other.close()
    assert await carrier.deliver(*messages("Hello")) == [0]
    await hermes.forwarded("Hello")


@pytest.mark.parametrize(
    "pdu",
    [
        DeliverSm(esm_class=EsmClass.UDHI, short_message=b"\x30\0\3"),
        DeliverSm(esm_class=EsmClass.UDHI),
        DeliverSm(esm_class=EsmClass.DELIVERY_RECEIPT, short_message=b"stat:DELIVRD"),
    ],
)
async def test_what_cannot_be_read_is_refused_for_good(process, carrier, pdu):
    hermes = await process()
    assert await carrier.deliver(pdu) == [CommandStatus.ESME_RX_P_APPN]
    assert hermes.counts.malformed == 1
    assert await hermes.waiting() == []


async def test_messages_wait_while_restate_is_down(process, carrier):
    hermes = await process()
    hermes.sink.down = True
    assert await carrier.deliver(*messages("one"), *messages(LONG)) == [0] * 8
    await eventually(lambda: hermes.sink.calls >= 3)
    hermes.sink.down = False
    await hermes.forwarded("one", LONG)


async def test_what_was_not_handed_over_survives_a_restart(process, carrier):
    hermes = await process()
    hermes.sink.down = True
    *most, last = messages(LONG)
    await carrier.deliver(*messages("one"), *most)
    await hermes.close()
    hermes = await process()
    await hermes.forwarded("one")
    await carrier.deliver(last)
    await hermes.forwarded("one", LONG)


async def test_the_timeout_begins_anew_with_the_process(process, carrier):
    """The carrier may have kept the other parts while nobody was bound."""
    hermes = await process(timeout=1)
    first, second = messages("a" * 153 + "b" * 153)
    await carrier.deliver(first)
    over = time.monotonic() + 1
    await hermes.close()
    await eventually(lambda: time.monotonic() > over)
    hermes = await process(timeout=1)
    await carrier.deliver(second)
    await hermes.forwarded("a" * 153 + "b" * 153)


async def test_the_timeout_goes_on_after_a_restart(process, carrier):
    hermes = await process()
    first, _ = messages("a" * 153 + "b" * 153)
    await carrier.deliver(first)
    await hermes.close()
    hermes = await process(timeout=0.2)
    await hermes.forwarded("a" * 153 + "…")


async def test_a_crash_before_the_mark_gives_the_same_id(process, carrier, monkeypatch):
    hermes = await process()

    async def dies(ids):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(hermes.journal, "inbound_forwarded", dies)
    await carrier.deliver(*messages("one"), *messages(LONG))
    await hermes.forwarded("one", LONG)
    await hermes.close()
    hermes = await process(sink=hermes.sink)
    await eventually(lambda: hermes.counts.forwarded == 2)
    assert hermes.sink.texts == sorted(["one", LONG])

    async def none_waiting():
        return not await hermes.waiting()

    await eventually(none_waiting)


async def test_two_processes_share_the_parts(process, carrier):
    """Each process that sees the last part may hand the message over: it has the same id."""
    one = await process()
    two = await process(sink=one.sink)
    parts = messages(LONG)
    await asyncio.gather(
        *(carrier.deliver(part, session=index % 2) for index, part in enumerate(parts))
    )
    await one.forwarded(LONG)
    assert one.counts.received + two.counts.received == len(parts)


async def test_more_than_memory_may_hold_waits_in_the_store(process, carrier, monkeypatch):
    monkeypatch.setattr("adapters.smpp.inbound.inbound.MOST_IN_HAND", 5)
    hermes = await process(timeout=0.2)
    hermes.sink.down = True
    texts = [f"text {n}" for n in range(50)]
    pdus = [pdu for text in texts for pdu in messages(text)]
    assert await carrier.deliver(*pdus) == [0] * 50
    assert hermes.inbound.in_hand == 5
    hermes.sink.down = False
    await eventually(lambda: len(hermes.sink.told) == 50, within=20)
    assert hermes.sink.texts == sorted(texts)


# Without a route


async def test_a_message_without_a_route_is_held_until_there_is_one(process, carrier):
    nobody = Routes()
    somebody = Routes([InboundRoute(NUMBER, None, "acme", "https://acme.example")])
    hermes = await process(routes=nobody)
    assert await carrier.deliver(*messages("one")) == [0]
    await eventually(lambda: hermes.counts.held == 1 and not hermes.inbound.in_hand)
    [part] = await hermes.journal.held_inbound()
    assert part.payload == b"one"
    assert await hermes.waiting() == []
    await hermes.close()

    hermes = await process(routes=nobody)
    await eventually(lambda: hermes.counts.held == 1 and not hermes.inbound.in_hand)
    await hermes.inbound.use(somebody)
    await hermes.forwarded("one")


async def test_a_stop_to_a_number_that_is_shared_is_not_held(process, carrier):
    shared = Routes(
        InboundRoute(NUMBER, name, name, f"https://{name}.example") for name in ("acme", "globex")
    )
    hermes = await process(routes=shared)
    await carrier.deliver(*messages("Stop!"), *messages("Hello"))
    await eventually(lambda: hermes.counts.held == 1 and not hermes.inbound.in_hand)
    [delivery] = hermes.sink.told.values()
    assert (delivery.tenant, delivery.url, delivery.also) == ("acme", "", ("globex",))
    [part] = await hermes.journal.held_inbound()
    assert part.payload == b"Hello"


async def test_what_restate_refuses_is_held(process, carrier):
    hermes = await process()
    hermes.sink.refuses = True
    await carrier.deliver(*messages("one"))
    await eventually(lambda: hermes.counts.held == 1 and not hermes.inbound.in_hand)
    assert [part.payload for part in await hermes.journal.held_inbound()] == [b"one"]
    await hermes.close()
    hermes = await process(sink=Sink())
    await hermes.forwarded("one")


async def test_content_leaves_the_store_with_the_message(process, carrier, tmp_path):
    hermes = await process()
    await carrier.deliver(*messages("secret"))
    await hermes.forwarded("secret")
    with closing(sqlite3.connect(tmp_path / "smpp.db")) as database:
        assert database.execute("SELECT payload FROM inbound").fetchall() == [(b"",)]
