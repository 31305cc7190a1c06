"""One carrier's connection: dialed, lost, dialed again, and never hammered."""

import asyncio
import time
from itertools import pairwise

import pytest

from adapters.smpp import link as links
from adapters.smpp.constants import HEADER_LENGTH, CommandStatus
from adapters.smpp.link import Account, Link, Unavailable
from adapters.smpp.pdu import HEADER, BindTransceiverResp, encode
from adapters.smpp.session import CloseReason
from tests.waiting import eventually

REBIND_LIMIT = 5.0


@pytest.fixture
async def dial(carrier):
    opened = []

    def dial(**more):
        login = {"system_id": "hermes", "password": "hermes"}
        account = {"name": "carrier", "host": "127.0.0.1", "port": carrier.port, **login, **more}
        opened.append(Link(Account(**account), lambda *_: None))
        return opened[-1]

    yield dial
    for link in opened:
        await link.close()


@pytest.fixture
def impatient(monkeypatch):
    """Pauses a hundredth as long, without jitter."""
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "AFTER_BAD_CREDENTIALS"):
        monkeypatch.setattr(links, name, getattr(links, name) / 100)
    monkeypatch.setattr("random.uniform", lambda low, high: high)


async def test_a_good_bind_is_redialed_at_once_when_it_is_lost(carrier, dial, monkeypatch):
    monkeypatch.setattr(links, "STEADY_AFTER", 0.0)
    link = dial()
    await eventually(lambda: link.bound)
    lost_at = time.monotonic()
    carrier.sessions[0].abort()
    await eventually(lambda: link.binds == 2)
    assert carrier.dialed[1] - lost_at < links.FIRST_PAUSE


async def test_silence_is_a_loss(dial):
    """The carrier's host has gone without a word: only enquire_link can tell."""

    async def bind_and_fall_silent(reader, writer):
        length, _, _, sequence = HEADER.unpack(await reader.readexactly(HEADER_LENGTH))
        await reader.readexactly(length - HEADER_LENGTH)
        writer.write(encode(BindTransceiverResp("silent"), sequence_number=sequence))
        await reader.read()

    server = await asyncio.start_server(bind_and_fall_silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = dial(port=port, enquire_link_interval=0.1)
    await eventually(lambda: link.bound)
    began = time.monotonic()
    await eventually(lambda: link.binds == 2)
    assert time.monotonic() - began < 1
    server.close()


def test_the_default_timers_notice_silence_in_time():
    interval = Account("carrier", "", 0, "", "").enquire_link_interval
    assert 2 * interval + links.FIRST_PAUSE < REBIND_LIMIT


async def test_dials_ever_less_often_while_the_carrier_refuses(carrier, dial, impatient):
    carrier.refusal = CommandStatus.ESME_RBINDFAIL
    link = dial()
    await eventually(lambda: len(carrier.dialed) >= 8)
    gaps = [later - earlier for earlier, later in pairwise(carrier.dialed)]
    assert gaps[0] < gaps[2] < gaps[-1]
    assert gaps[-1] >= 0.9 * links.LONGEST_PAUSE
    assert "ESME_RBINDFAIL" in link.last_error
    carrier.refusal = 0
    await eventually(lambda: link.bound)
    assert link.last_error is None


async def test_a_carrier_that_hangs_up_on_every_bind_is_not_hammered(carrier, dial, impatient):
    carrier.hangs_up = True
    dial()
    await eventually(lambda: len(carrier.dialed) >= 8)
    assert carrier.dialed[7] - carrier.dialed[6] >= 0.9 * links.LONGEST_PAUSE


@pytest.mark.parametrize(
    "status", [CommandStatus.ESME_RINVPASWD, CommandStatus.ESME_RINVSYSID], ids=lambda s: s.name
)
async def test_bad_credentials_are_not_hammered(carrier, dial, impatient, status):
    carrier.refusal = status
    link = dial()
    await eventually(lambda: len(carrier.dialed) >= 2)
    assert carrier.dialed[1] - carrier.dialed[0] >= 0.9 * links.AFTER_BAD_CREDENTIALS
    assert status.name in link.last_error


async def test_an_account_that_fits_no_bind_says_so(dial):
    link = dial(password="longer than eight")
    await eventually(lambda: link.last_error)
    with pytest.raises(Unavailable, match="the account fits no bind"):
        await link.slot(0.01)


async def test_a_carrier_that_unbinds_is_bound_again(carrier, dial, impatient):
    link = dial()
    await eventually(lambda: link.bound)
    await carrier.sessions[0].unbind()
    await eventually(lambda: link.binds == 2)


async def test_close_takes_its_leave(carrier, dial):
    link = dial()
    await eventually(lambda: link.bound)
    await link.close()
    await eventually(lambda: carrier.sessions[0].close_reason is CloseReason.PEER_UNBOUND)
    assert not link.bound


# Slots


async def test_there_are_as_many_slots_as_the_window_has(carrier, dial):
    link = dial(window=2)
    await eventually(lambda: link.bound)
    first, second = await link.slot(1), await link.slot(1)
    with pytest.raises(Unavailable, match="window is full"):
        await link.slot(0.01)
    first.give_back()
    (await link.slot(0.01)).give_back()
    second.give_back()


async def test_slots_are_handed_out_in_order(carrier, dial):
    link, order = dial(window=1), []
    await eventually(lambda: link.bound)
    held = await link.slot(1)

    async def wait(name):
        slot = await link.slot(1)
        order.append(name)
        slot.give_back()

    async def give_back():
        held.give_back()
        await wait("latecomer")

    await asyncio.gather(wait(1), wait(2), wait(3), give_back())
    assert order == [1, 2, 3, "latecomer"]


async def test_the_slot_of_one_who_gave_up_goes_to_the_next(carrier, dial):
    link = dial(window=1)
    await eventually(lambda: link.bound)
    held = await link.slot(1)
    gone, here = asyncio.ensure_future(link.slot(1)), asyncio.ensure_future(link.slot(1))

    async def give_back():
        held.give_back()
        gone.cancel()  # in the same moment as its slot comes

    await asyncio.gather(give_back(), gone, return_exceptions=True)
    (await here).give_back()
    (await link.slot(0.01)).give_back()


async def test_who_waits_while_the_link_is_down_is_served_by_the_next(carrier, dial, impatient):
    link = dial(window=1)
    await eventually(lambda: link.bound)
    carrier.sessions[0].abort()
    await eventually(lambda: not link.bound)
    slot = await link.slot(2)
    assert slot.session.is_bound
    assert link.binds == 2
    slot.give_back()
