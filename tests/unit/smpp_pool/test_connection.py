"""One carrier's connections: dialed, lost, dialed again, never hammered, and never overfilled."""

import asyncio
import contextlib
import dataclasses
import errno
import socket
import ssl
import threading
import time
from itertools import pairwise

import pytest

from adapters.smpp.carriers import connection as connections
from adapters.smpp.carriers.carrier import CarrierState, Unavailable
from adapters.smpp.carriers.config import CarrierConfig, Tls
from adapters.smpp.carriers.supervisor import Intensity
from adapters.smpp.protocol.constants import HEADER_LENGTH, CommandStatus
from adapters.smpp.protocol.pdu import (
    HEADER,
    BindReceiver,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    encode,
)
from adapters.smpp.protocol.session import CloseReason
from infra.simulators.smsc.__main__ import server_tls
from tests.unit.smpp_pool.conftest import SWIFT, Account, config_for
from tests.waiting import eventually

REPLACED_WITHIN = 5.0
"""Seconds from silence to a new bind."""

# Redialing


async def test_a_good_bind_is_redialed_at_once_when_it_is_lost(carrier, account):
    slow = dataclasses.replace(SWIFT, first_pause=60.0, steady=0.0)
    link = await account(carrier, intensity=slow)
    lost_at = time.monotonic()
    carrier.sessions[0].abort()
    await eventually(lambda: link.connections[0].binds == 2)
    assert carrier.dialed[1] - lost_at < 5


async def test_silence_is_a_loss(account):
    """The carrier's host has gone without a word: only enquire_link can tell."""

    async def bind_and_fall_silent(reader, writer):
        length, _, _, sequence = HEADER.unpack(await reader.readexactly(HEADER_LENGTH))
        await reader.readexactly(length - HEADER_LENGTH)
        writer.write(encode(BindTransceiverResp("silent"), sequence_number=sequence))
        await reader.read()

    server = await asyncio.start_server(bind_and_fall_silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = await account(port, enquire_link_interval=0.1)
    began = time.monotonic()
    await eventually(lambda: link.connections[0].binds == 2)
    assert time.monotonic() - began < 3
    server.close()


async def test_a_mute_smsc_is_replaced_and_comes_back(smsc, account):
    simulator = await smsc()
    link = await account(simulator, enquire_link_interval=0.05)
    await simulator.change({"mute": True})
    await eventually(lambda: link.connections[0].last_error == "link closed: silent")
    await simulator.change({"mute": False})
    await eventually(lambda: link.carrier.bound)
    assert await link.send() == 0


def test_the_default_timers_notice_silence_in_time():
    fields = CarrierConfig.model_fields
    assert 2 * fields["enquire_link_interval"].default + Intensity().first_pause < REPLACED_WITHIN


async def test_dials_ever_less_often_while_the_carrier_refuses(carrier, account, unhurried):
    carrier.refusal = CommandStatus.ESME_RBINDFAIL
    link = await account(carrier, bound=False)
    await eventually(lambda: len(carrier.dialed) >= 8)
    gaps = [later - earlier for earlier, later in pairwise(carrier.dialed)]
    assert gaps[0] < gaps[2] < gaps[-1]
    assert gaps[-1] >= 0.9 * SWIFT.longest_pause
    assert "ESME_RBINDFAIL" in link.carrier.health().last_error
    carrier.refusal = 0
    await eventually(lambda: link.carrier.bound)
    assert link.carrier.health().last_error is None


async def test_a_carrier_that_hangs_up_on_every_bind_is_not_hammered(carrier, account, unhurried):
    carrier.hangs_up = True
    await account(carrier, bound=False)
    await eventually(lambda: len(carrier.dialed) >= 8)
    assert carrier.dialed[7] - carrier.dialed[6] >= 0.9 * SWIFT.longest_pause


@pytest.mark.parametrize(
    "status", [CommandStatus.ESME_RINVPASWD, CommandStatus.ESME_RINVSYSID], ids=lambda s: s.name
)
async def test_bad_credentials_are_not_hammered(carrier, account, unhurried, status):
    carrier.refusal = status
    link = await account(carrier, bound=False)
    await eventually(lambda: len(carrier.dialed) >= 2)
    assert carrier.dialed[1] - carrier.dialed[0] >= 0.9 * SWIFT.hopeless_pause
    assert status.name in link.carrier.health().last_error
    assert link.states == [CarrierState.DOWN]


async def test_an_account_that_fits_no_bind_says_so(carrier):
    """No door lets such an account in; a bug might."""
    config = config_for(carrier.port).model_copy(update={"system_id": "longer than fifteen"})
    link = Account(config, intensity=SWIFT)
    await eventually(lambda: link.carrier.state is CarrierState.DOWN)
    with pytest.raises(Unavailable, match="the account fits no bind") as caught:
        await link.send()
    assert caught.value.down
    await link.carrier.close()


async def test_a_carrier_that_keeps_failing_is_down_until_it_serves_steadily(carrier, account):
    carrier.refusal = CommandStatus.ESME_RBINDFAIL
    link = await account(carrier, bound=False)
    await eventually(lambda: link.carrier.state is CarrierState.DOWN)
    assert len(carrier.dialed) > SWIFT.failures
    carrier.refusal = 0
    await eventually(lambda: link.carrier.state is CarrierState.UP)
    await eventually(lambda: not link.carrier._supervisor.escalated)
    carrier.sessions[-1].abort()
    await eventually(lambda: link.states[-1] is CarrierState.UP and len(link.states) >= 4)
    assert link.states == [
        *(CarrierState.DOWN, CarrierState.UP, CarrierState.CONNECTING, CarrierState.UP)
    ]


async def test_a_carrier_that_unbinds_is_bound_again(carrier, account):
    link = await account(carrier)
    await carrier.sessions[0].unbind()
    await eventually(lambda: link.connections[0].binds == 2)


async def test_close_takes_its_leave_and_dials_no_more(carrier, account):
    link = await account(carrier, intensity=dataclasses.replace(SWIFT, steady=0.0))
    await link.carrier.close()
    await eventually(lambda: carrier.sessions[0].close_reason is CloseReason.PEER_UNBOUND)
    assert not link.carrier.bound
    assert len(carrier.dialed) == 1


async def test_close_while_it_dials(account):
    """A host that takes the connection and never answers the bind."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    link = await account(server.sockets[0].getsockname()[1], bound=False)
    async with asyncio.timeout(2):
        await link.carrier.close()
    server.close()


# Transmitter and receiver


async def test_a_pair_submits_on_one_and_hears_on_the_other(smsc, account):
    simulator = await smsc()
    link = await account(simulator, bind="transmitter+receiver")
    assert await link.send() == 0
    await eventually(lambda: link.delivered)
    assert isinstance(link.delivered[0][0], BindReceiver)
    [receiver, transmitter] = sorted(simulator.record.links, key=lambda each: each.bind_type)
    assert (receiver.bind_type, transmitter.bind_type) == ("BindReceiver", "BindTransmitter")
    assert (receiver.submits, transmitter.submits) == (0, 1)
    assert receiver.number < transmitter.number


@pytest.mark.parametrize("half", [BindReceiver, BindTransmitter])
async def test_half_a_pair_is_none(carrier, account, half):
    link = await account(carrier, bind="transmitter+receiver")
    [lost] = [session for session in carrier.sessions if isinstance(session.bind, half)]
    lost.abort()
    await eventually(lambda: link.connections[0].binds == 2)
    assert [type(s.bind) for s in carrier.sessions] == [BindReceiver, BindTransmitter] * 2
    assert [s.is_bound for s in carrier.sessions] == [False, False, True, True]


async def test_a_pair_whose_second_half_is_refused_keeps_no_first_half(carrier, account):
    bind = carrier._bind

    def refuse_transmitters(session, sequence, pdu):
        carrier.refusal = CommandStatus.ESME_RBINDFAIL if isinstance(pdu, BindTransmitter) else 0
        bind(session, sequence, pdu)

    carrier._bind = refuse_transmitters
    await account(carrier, bind="transmitter+receiver", bound=False)
    await eventually(lambda: len(carrier.sessions) >= 6)
    await eventually(lambda: sum(session.is_bound for session in carrier.sessions[:4]) == 0)


async def test_both_halves_of_a_pair_take_their_leave(carrier, account):
    link = await account(carrier, bind="transmitter+receiver")
    await link.carrier.close()
    await eventually(
        lambda: [s.close_reason for s in carrier.sessions] == [CloseReason.PEER_UNBOUND] * 2
    )


# Hosts


@contextlib.asynccontextmanager
async def nobody_there():
    """A port on which connections are refused."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    yield port


async def test_the_first_host_comes_first(smsc, account):
    first, second = await smsc(), await smsc()
    hosts = tuple(f"127.0.0.1:{each.port}" for each in (first, second))
    link = await account(first, hosts=hosts)
    assert link.connections[0].host == hosts[0]
    assert (first.counters.binds, second.counters.binds) == (1, 0)


async def test_the_next_host_is_dialed_when_one_is_away(smsc, account):
    simulator = await smsc()
    async with nobody_there() as port:
        hosts = (f"127.0.0.1:{port}", f"127.0.0.1:{simulator.port}")
        link = await account(simulator, hosts=hosts)
        assert link.connections[0].host == hosts[1]


async def test_the_next_host_is_dialed_when_one_goes_away(smsc, account):
    first, second = await smsc(), await smsc()
    hosts = tuple(f"127.0.0.1:{each.port}" for each in (first, second))
    link = await account(first, hosts=hosts)
    await first.stop()
    await eventually(lambda: link.carrier.bound and link.connections[0].host == hosts[1])
    assert await link.send() == 0


IN_WORDS = {
    "a number of the system": (
        ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"),
        "Connection refused",
    ),
    "a number of the resolver": (
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        "Name or service not known",
    ),
    "a number of the TLS library": (
        ssl.SSLError(1, "wrong version number"),
        "wrong version number",
    ),
    "several addresses": (OSError("Multiple exceptions: one, another"), "Multiple exceptions: one"),
    "no words": (TimeoutError(), "TimeoutError"),
}


@pytest.mark.parametrize("case", IN_WORDS)
async def test_why_a_host_cannot_be_reached_is_said_in_words(account, monkeypatch, case):
    error, words = IN_WORDS[case]

    async def fail(*_, **__):
        raise error

    monkeypatch.setattr(connections, "connect", fail)
    link = await account(1, bound=False)
    said = await eventually(lambda: link.carrier.health().last_error)
    assert said.startswith("cannot connect: ")
    assert words in said
    assert "Connect call failed" not in said


@pytest.mark.parametrize("fault", ["refuses", "hangs up"])
async def test_the_next_host_is_dialed_when_one_does_not_keep_its_binds(
    carrier, smsc, account, fault
):
    carrier.hangs_up = fault == "hangs up"
    carrier.refusal = CommandStatus.ESME_RSYSERR if fault == "refuses" else 0
    simulator = await smsc()
    hosts = (f"127.0.0.1:{carrier.port}", f"127.0.0.1:{simulator.port}")
    link = await account(carrier, hosts=hosts, bound=False)
    await eventually(lambda: link.carrier.bound and link.connections[0].host == hosts[1])
    assert await link.send() == 0


async def test_several_binds_are_spread_over_the_hosts(smsc, account):
    first, second = await smsc(), await smsc()
    hosts = tuple(f"127.0.0.1:{each.port}" for each in (first, second))
    await account(first, hosts=hosts, binds=4)
    assert (first.counters.binds, second.counters.binds) == (2, 2)


# TLS


@pytest.fixture
def secured(smsc, authority, certificate):
    """Starts SMSCs that speak TLS; with `asks` they ask for a certificate."""

    async def start(*, asks=False):
        client_ca = str(authority.file) if asks else None
        return await smsc(tls=server_tls(str(certificate.chain), str(certificate.key), client_ca))

    return start


async def test_tls_with_the_carriers_authority(secured, authority, account):
    simulator = await secured()
    link = await account(simulator, tls=Tls(ca_file=authority.file))
    assert await link.send() == 0


async def test_the_authorities_are_read_beside_the_loop(secured, authority, account, monkeypatch):
    simulator, readers, read = await secured(), [], connections.tls_context

    def noted(tls):
        readers.append(threading.current_thread())
        return read(tls)

    monkeypatch.setattr(connections, "tls_context", noted)
    await account(simulator, tls=Tls(ca_file=authority.file))
    assert len(readers) == 1
    assert threading.current_thread() not in readers


REFUSED_TLS = {
    "an unknown authority": (lambda file: True, "127.0.0.1", "CERTIFICATE_VERIFY_FAILED"),
    "another host name": (lambda file: Tls(ca_file=file), "localhost", "Hostname mismatch"),
    "another server name": (
        lambda file: Tls(ca_file=file, server_name="smsc.example"),
        "127.0.0.1",
        "Hostname mismatch",
    ),
}


@pytest.mark.parametrize("case", REFUSED_TLS)
async def test_tls_refused(secured, authority, account, case):
    tls, host, reason = REFUSED_TLS[case]
    simulator = await secured()
    link = await account(
        simulator, tls=tls(authority.file), hosts=(f"{host}:{simulator.port}",), bound=False
    )
    await eventually(lambda: link.carrier.health().last_error)
    assert reason in link.carrier.health().last_error
    assert simulator.counters.binds == 0


async def test_the_name_in_the_certificate_may_be_said(secured, authority, account):
    simulator = await secured()
    tls = Tls(ca_file=authority.file, server_name="127.0.0.1")
    link = await account(simulator, tls=tls, hosts=(f"localhost:{simulator.port}",))
    assert await link.send() == 0


async def test_a_client_certificate(secured, authority, account):
    client = authority.client("hermes")
    simulator = await secured(asks=True)
    with_one = Tls(ca_file=authority.file, cert_file=client.chain, key_file=client.key)
    assert await (await account(simulator, tls=with_one)).send() == 0
    without = await account(simulator, tls=Tls(ca_file=authority.file), bound=False)
    await eventually(lambda: without.carrier.health().last_error)
    assert not without.carrier.bound


async def test_a_certificate_that_is_none_is_an_error_and_no_crash(secured, authority, account):
    simulator = await secured()
    key = authority.client("hermes").key
    tls = Tls(ca_file=authority.file, cert_file=key)
    link = await account(simulator, tls=tls, bound=False)
    await eventually(lambda: link.carrier.health().last_error)
    assert "cannot connect" in link.carrier.health().last_error


async def test_plain_tcp_does_not_reach_a_carrier_that_speaks_tls(secured, account):
    link = await account(await secured(), bound=False)
    await eventually(lambda: link.carrier.health().last_error)
    assert not link.carrier.bound


# The window, as the SMSC sees it


async def test_the_window_holds_over_timeouts_late_answers_and_lost_links(smsc, account):
    simulator = await smsc(response_delay=0.03)
    link = await account(simulator, window=7, binds=2, response_timeout=0.02)
    for _ in range(5):
        flood = asyncio.ensure_future(link.flood(60, patience=0.3))
        await eventually(lambda: simulator.stats()["peak_in_flight"] == 7)
        simulator.kill_links()
        await flood
        await eventually(lambda: link.carrier.bound)
    assert simulator.counters.links_killed >= 5
    assert {each.peak_in_flight for each in simulator.record.links if each.submits} <= set(range(8))
    await eventually(lambda: all(c.in_flight == 0 for c in link.connections))
    await simulator.change({"response_delay": 0})
    assert await link.flood(20) == [0] * 20


async def test_the_window_changes_while_it_runs(smsc, account):
    simulator = await smsc(response_delay=0.02)
    link = await account(simulator, window=2)
    config = link.carrier.config
    for window in (2, 9, 3):
        link.carrier.configure(config.model_copy(update={"window": window}))
        simulator.reset()
        assert await link.flood(60) == [0] * 60
        assert simulator.stats()["peak_in_flight"] == window
    assert link.connections[0].binds == 1


async def test_a_window_that_widens_lets_those_in_who_wait(carrier, account):
    link = await account(carrier, window=1)
    flood = asyncio.ensure_future(link.flood(4))
    await eventually(lambda: len(carrier.submits) == 1)
    link.carrier.configure(link.carrier.config.model_copy(update={"window": 4}))
    await eventually(lambda: len(carrier.submits) == 4)
    for n in range(4):
        carrier.answer(f"id{n}")
    assert await flood == [0] * 4


async def test_the_transceiver_is_the_default(carrier, account):
    await account(carrier)
    assert isinstance(carrier.sessions[0].bind, BindTransceiver)
