"""What the simulator can be told to do wrong, each seen from an ESME's side."""

import asyncio
import sys
import time

import pytest

from adapters.smpp.protocol.constants import HEADER_LENGTH, CommandId, CommandStatus
from adapters.smpp.protocol.pdu import (
    HEADER,
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    encode,
)
from adapters.smpp.protocol.session import BindRefused, CloseReason, LinkLost, Timers
from infra.simulators.limits import Share, TokenBucket
from infra.simulators.smsc import Options, SmscSimulator
from infra.simulators.smsc.kinds import StatusEvery
from tests.unit.simulators.esme import BIND, Esme, message
from tests.waiting import eventually

THROTTLED = CommandStatus.ESME_RTHROTTLED
PATIENT = Timers(enquire_link=60, response=60)
"""For an ESME that shall not itself give up a silent link."""


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("burst", "status", "taken"),
    [
        (2, CommandStatus.ESME_RTHROTTLED, 2),
        (10, CommandStatus.ESME_RMSGQFUL, 10),
        (0, CommandStatus.ESME_RTHROTTLED, 1),
    ],
)
async def test_takes_a_burst_and_throttles_the_rest(start, burst, status, taken):
    options = Options(rate=1, throttle_burst_s=burst, throttle_status=status)
    simulator, port, _ = await start(options)
    esme = await Esme().bind(port)
    statuses = await esme.flood(30)
    # The rest came within the second that the next token takes, or nearly.
    assert taken <= statuses.count(0) <= taken + 1
    assert set(statuses) == {0, status}
    stats = simulator.stats()
    assert stats["throttled"] == statuses.count(status) == stats["links"][0]["throttled"]
    assert stats["refused"] == 0


async def test_the_rate_can_be_raised_while_it_runs(start, call):
    _, port, url = await start(Options(rate=1))
    esme = await Esme().bind(port)
    assert (await esme.flood(20)).count(THROTTLED) >= 18
    await call("PATCH", f"{url}/options", {"rate": 0})
    assert await esme.flood(20) == [0] * 20


@pytest.mark.parametrize(
    ("rate", "burst_s", "times", "taken"),
    [
        (0, 0.1, [0] * 9, 9),
        (10, 0.1, [0, 0, 0], 1),
        (10, 0.5, [0] * 9, 5),
        # A token each 0.1 s, and never more than the burst.
        (10, 0.1, [0, 0.05, 0.1, 0.15, 0.2], 3),
        (10, 0.3, [0, 0, 0, 0, 100, 100, 100, 100], 6),
        (0.5, 0.1, [0, 1, 2, 3, 4], 3),
    ],
)
def test_a_bucket_takes_so_many_a_second(rate, burst_s, times, taken):
    clock = iter([0.0, *times] if rate else [0.0])
    bucket = TokenBucket(rate, burst_s, lambda: next(clock))
    count = sum(bucket.takes() for _ in times)
    assert count == taken


async def test_every_nth_submission_gets_a_status(start):
    simulator, port, _ = await start(Options(status_every=StatusEvery(4, 0x08)))
    esme = await Esme().bind(port)
    assert await esme.flood(12) == [0, 0, 0, 8] * 3
    assert (simulator.counters.refused, simulator.counters.accepted) == (3, 9)


async def test_in_flight_is_counted_across_a_response_delay(start):
    simulator, port, _ = await start(Options(response_delay=0.05))
    esme = await Esme().bind(port, window=7)
    began = time.monotonic()
    submits = [esme.session.submit(message("4520009902", b"%d" % n)) for n in range(7)]
    # Taken at once, answered later.
    await eventually(lambda: simulator.counters.accepted == 7)
    assert not any(submit.done() for submit in submits)
    await asyncio.gather(*submits)
    assert time.monotonic() - began >= 0.05
    assert simulator.stats()["links"][0]["peak_in_flight"] == 7


async def test_responses_that_were_due_on_a_dead_link_are_counted(start):
    simulator, port, _ = await start(Options(response_delay=0.05))
    esme = await Esme().bind(port)
    submits = [esme.session.submit(message("4520009902", b"%d" % n)) for n in range(5)]
    await eventually(lambda: simulator.counters.accepted == 5)
    simulator.kill_links()
    for submit in submits:
        with pytest.raises(LinkLost):
            await submit
    await eventually(lambda: simulator.counters.responses_lost == 5)


async def test_seconds_add_up(start):
    simulator, port, _ = await start(Options(rate=50))
    esme = await Esme().bind(port)
    before = int(time.time())
    await esme.flood(30)
    seconds = simulator.stats()["per_second"]
    counters = simulator.counters
    assert [second["t"] for second in seconds] == sorted({second["t"] for second in seconds})
    assert before <= seconds[0]["t"] <= seconds[-1]["t"] <= int(time.time())
    for name in ("submits", "accepted", "throttled"):
        assert sum(second[name] for second in seconds) == getattr(counters, name) > 0


async def test_accepted_ids_are_told_by_destination_and_text(start, call):
    _, port, url = await start()
    esme = await Esme().bind(port)
    ids = {}
    for destination, text in [("1", b"a"), ("2", b"a"), ("1", b"a"), ("1", b"b")]:
        _, message_id = await esme.submit(destination, text)
        ids.setdefault((destination, text.decode()), []).append(message_id)
    await esme.submit("4520009905", b"refused")
    _, all_of_them = await call("GET", f"{url}/accepted")
    _, of_one = await call("GET", f"{url}/accepted?destination=2")
    _, duplicates = await call("GET", f"{url}/duplicates")
    assert {(a["destination"], a["text"]): a["message_ids"] for a in all_of_them["accepted"]} == ids
    assert [a["message_ids"] for a in of_one["accepted"]] == [ids["2", "a"]]
    assert [d["message_ids"] for d in duplicates["duplicates"]] == [ids["1", "a"]]


# -- receipts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fraction", "times", "expected"),
    [(0, 100, 0), (0.1, 100, 10), (0.33, 100, 33), (1, 7, 7), (0.5, 5, 2)],
)
def test_a_fraction_is_spread_evenly(fraction, times, expected):
    share = Share()
    taken = [share.takes(fraction) for _ in range(times)]
    assert sum(taken) == expected
    # No run of neighbours has more than its due.
    width = 10
    runs = [sum(taken[at : at + width]) for at in range(times - width)]
    assert max(runs, default=0) - min(runs, default=0) <= 1


async def test_receipts_overtake_their_responses(start):
    simulator, port, _ = await start(Options(early_receipts=0.5, receipt_delay=0.01))
    esme = await Esme().bind(port)
    for n in range(4):
        await esme.submit("4520000000", b"%d" % n)
        await esme.receipt()
    assert esme.events == ["response", "receipt", "receipt", "response"] * 2
    assert simulator.counters.receipts_early == 2
    assert simulator.counters.receipts_acked == 4


@pytest.mark.parametrize("response_delay", [0, 0.02])
async def test_without_a_delay_the_response_still_comes_first(start, response_delay):
    options = Options(response_delay=response_delay, receipt_delay=0, intermediate=True)
    simulator, port, _ = await start(options)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(BIND, sequence_number=1))
    writer.write(b"".join(encode(message(f"4{n}"), sequence_number=n) for n in range(2, 6)))
    heard = []
    while len(heard) < 1 + 4 * 3:
        header = HEADER.unpack(await reader.readexactly(HEADER_LENGTH))
        heard.append((header[1], await reader.readexactly(header[0] - HEADER_LENGTH)))
    writer.close()
    responses = [body.rstrip(b"\0") for kind, body in heard if kind == CommandId.SUBMIT_SM_RESP]
    assert len(responses) == 4
    for message_id in responses:
        about = [kind for kind, body in heard if message_id in body]
        assert about == [CommandId.SUBMIT_SM_RESP, CommandId.DELIVER_SM, CommandId.DELIVER_SM]
    assert simulator.counters.receipts_early == 0


async def test_receipts_come_twice(start):
    simulator, port, _ = await start(Options(duplicate_receipts=0.5, receipt_delay=0))
    esme = await Esme().bind(port)
    ids = [(await esme.submit("4520000000", b"%d" % n))[1] for n in range(4)]
    heard = [(await esme.receipt()).message_id for _ in range(6)]
    assert sorted(heard) == sorted([*ids, ids[1], ids[3]])
    await eventually(lambda: simulator.counters.receipts_acked == 6)
    assert simulator.counters.receipts_duplicated == 2


async def test_receipts_are_shuffled_the_same_way_for_a_seed(start):
    async def order(seed):
        _, port, _ = await start(Options(shuffle_receipts=0.4, receipt_delay=0, seed=seed))
        esme = await Esme().bind(port)
        ids = [(await esme.submit("4520000000", b"%d" % n))[1] for n in range(12)]
        return [ids.index((await esme.receipt()).message_id) for _ in range(12)]

    one, other = await asyncio.gather(order(1), order(2))
    assert sorted(one) == sorted(other) == list(range(12))
    assert one != list(range(12)) != other
    assert one != other


async def test_an_intermediate_notification_comes_first(start):
    simulator, port, _ = await start(Options(intermediate=True, receipt_delay=0.05))
    esme = await Esme().bind(port)
    _, message_id = await esme.submit("4520000000")
    (first, pdu), (second, _) = await esme.receipts.get(), await esme.receipts.get()
    assert (first.state.name, first.final, pdu.esm_class) == ("ENROUTE", False, 0x20)
    assert (second.state.name, second.final) == ("DELIVERED", True)
    assert {first.message_id, second.message_id} == {message_id}
    assert simulator.counters.intermediate_sent == 1


async def test_receipts_come_on_another_bind(start):
    _, port, _ = await start(Options(receipts_to="any", receipt_delay=0))
    one = await Esme().bind(port)
    await one.submit("4520000000", b"alone")
    await one.receipt()
    two = await Esme().bind(port)
    ids = {(await one.submit("4520000000", b"%d" % n))[1] for n in range(5)}
    assert {(await two.receipt()).message_id for _ in range(5)} == ids
    assert one.receipts.empty()


async def test_a_receipt_refused_for_now_comes_again(start):
    simulator, port, _ = await start(Options(receipt_delay=0))
    esme = await Esme().bind(port)
    esme.answer = CommandStatus.ESME_RX_T_APPN
    await esme.submit("4520000000")
    await esme.receipt()
    esme.answer = 0
    await esme.receipt()
    await eventually(lambda: simulator.counters.receipts_acked == 1)
    assert simulator.stats()["answers"]["receipts"] == {"ESME_RX_T_APPN": 1, "ESME_ROK": 1}


# -- accounts -------------------------------------------------------------------------------------


async def test_accounts_share_nothing_but_the_rate(start):
    options = Options(accounts={"second": "secret"}, receipt_delay=0, rate=1, throttle_burst_s=3)
    simulator, port, _ = await start(options)
    first = await Esme().bind(port)
    second = await Esme().bind(port, BindTransceiver("second", "secret"))
    transmitter = await Esme().bind(port, BindTransmitter("second", "secret"))
    first_id = (await first.submit("4520000000", b"1"))[1]
    second_id = (await transmitter.submit("4520000000", b"2"))[1]
    assert (await first.receipt()).message_id == first_id
    assert (await second.receipt()).message_id == second_id
    await second.submit("4520009902", b"3")
    assert (await first.submit("4520009902", b"4"))[0] == THROTTLED
    assert [link["system_id"] for link in simulator.stats()["links"]] == [
        "hermes",
        "second",
        "second",
    ]
    with pytest.raises(BindRefused) as caught:
        await Esme().bind(port, BindTransceiver("second", "hermes"))
    assert caught.value.command_status == CommandStatus.ESME_RINVPASWD


async def test_receipts_of_one_account_wait_for_its_receiver(start):
    simulator, port, _ = await start(Options(accounts={"second": "secret"}, receipt_delay=0))
    first = await Esme().bind(port)
    transmitter = await Esme().bind(port, BindTransmitter("second", "secret"))
    _, message_id = await transmitter.submit("4520000000")
    await eventually(lambda: simulator.stats()["receipts_waiting"] == 1)
    receiver = await Esme().bind(port, BindReceiver("second", "secret"))
    assert (await receiver.receipt()).message_id == message_id
    assert first.receipts.empty()


# -- links ----------------------------------------------------------------------------------------


async def test_a_mute_simulator_is_silent_until_it_speaks_again(start, call):
    simulator, port, url = await start(Options(receipt_delay=0))
    esme = await Esme().bind(port, timers=PATIENT)
    before = simulator.counters.submits
    await call("PATCH", f"{url}/options", {"mute": True})
    submit = esme.session.submit(message("4520000000"))
    newcomer = asyncio.create_task(Esme().bind(port, timers=PATIENT))
    await eventually(lambda: simulator.stats()["connections"] == 2)
    # A round trip of the control port gives the simulator every chance to read.
    await call("GET", f"{url}/stats")
    assert not submit.done()
    assert not newcomer.done()
    assert (simulator.counters.submits, simulator.counters.binds) == (before, 1)
    assert esme.session.is_bound
    await call("PATCH", f"{url}/options", {"mute": False})
    assert (await submit)[0] == 0
    assert (await newcomer).session.is_bound
    assert await esme.receipt()


async def test_a_mute_simulator_keeps_the_sockets_of_sessions_it_has_given_up(start, call):
    timers = Timers(enquire_link=0.02, enquire_link_timeout=0.02)
    simulator, port, url = await start(Options(timers=timers))
    esme = await Esme().bind(port, timers=PATIENT)
    await call("PATCH", f"{url}/options", {"mute": True})
    await eventually(lambda: simulator.stats()["links"][0]["why"] == "silent")
    assert esme.session.is_bound
    assert simulator.stats()["connections"] == 1
    await call("PATCH", f"{url}/options", {"mute": False})
    assert await esme.session.closed is CloseReason.LOST


async def test_an_esme_notices_a_mute_simulator(start):
    simulator, port, _ = await start()
    esme = await Esme().bind(port, timers=Timers(enquire_link=0.05, enquire_link_timeout=0.05))
    await eventually(lambda: simulator.stats()["links"][0]["enquire_links"] >= 2)
    await simulator.change({"mute": True})
    assert await esme.session.closed is CloseReason.SILENT


async def test_a_mute_simulator_can_be_killed(start):
    simulator, port, _ = await start(Options(mute=False))
    esme = await Esme().bind(port, timers=PATIENT)
    await simulator.change({"mute": True})
    assert simulator.kill_links() == 1
    assert await esme.session.closed is CloseReason.LOST


async def test_links_are_killed_again_and_again(start):
    simulator, port, _ = await start(Options(kill_every=0.03))
    for _ in range(3):
        esme = await Esme().bind(port)
        assert await esme.session.closed is CloseReason.LOST
    await simulator.change({"kill_every": 0})
    await eventually(lambda: simulator.stats()["bound"] == 0)
    killed = simulator.counters.links_killed
    assert killed >= 3
    assert {link["why"] for link in simulator.stats()["links"]} == {"killed"}
    survivor = await Esme().bind(port)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(survivor.session.closed, 0.06)
    assert simulator.counters.links_killed == killed


async def test_one_bind_can_be_killed(start, call):
    simulator, port, url = await start()
    one, two = await Esme().bind(port), await Esme().bind(port)
    assert await call("POST", f"{url}/links/kill?bind=2") == (200, {"killed": 1})
    assert await two.session.closed is CloseReason.LOST
    assert one.session.is_bound
    assert [link["bound"] for link in simulator.stats()["links"]] == [True, False]


async def test_a_link_tells_its_life(start):
    simulator, port, _ = await start()
    began = time.time()
    esme = await Esme().bind(port, BindTransmitter("hermes", "hermes"))
    await esme.session.unbind()
    await eventually(lambda: simulator.stats()["bound"] == 0)
    [link] = simulator.stats()["links"]
    assert (link["bind_type"], link["why"]) == ("BindTransmitter", "peer_unbound")
    assert began <= link["bound_at"] <= link["closed_at"] <= time.time()


@pytest.mark.parametrize("status", ["ESME_RBINDFAIL", "ESME_RINVPASWD", "0x400"])
async def test_binds_are_refused(start, status):
    simulator, port, _ = await start()
    await simulator.change({"bind_status": status})
    with pytest.raises(BindRefused) as caught:
        await Esme().bind(port)
    assert caught.value.command_status == simulator.options.bind_status
    await simulator.change({"bind_status": None})
    assert (await Esme().bind(port)).session.is_bound
    assert (simulator.counters.binds_refused, simulator.counters.binds) == (1, 1)


async def test_connections_are_refused(start, call):
    simulator, port, url = await start()
    esme = await Esme().bind(port)
    for _ in range(3):
        await call("PATCH", f"{url}/options", {"accept_binds": False})
        assert await esme.session.closed is CloseReason.LOST
        with pytest.raises(ConnectionRefusedError):
            await Esme().bind(port)
        await call("PATCH", f"{url}/options", {"accept_binds": True})
        esme = await Esme().bind(port)
    assert simulator.stats()["bound"] == 1


async def test_a_port_that_was_taken_meanwhile_leaves_the_options_as_they_were(start, call):
    simulator, port, url = await start(Options(accept_binds=False))
    thief = SmscSimulator()
    await thief.start(port=port)
    status, answer = await call("PATCH", f"{url}/options", {"accept_binds": True, "rate": 5})
    await thief.stop()
    assert status == 409
    assert answer["error"].startswith("accept_binds: ")
    assert (simulator.options.accept_binds, simulator.options.rate) == (False, 0)
    await call("PATCH", f"{url}/options", {"accept_binds": True})
    assert (await Esme().bind(port)).session.is_bound


async def test_the_window_of_deliveries_can_be_changed(start):
    simulator, port, _ = await start(Options(receipt_delay=0, window=1))
    esme = await Esme().bind(port)
    esme.acknowledges = False
    for n in range(3):
        await esme.submit("4520000000", b"%d" % n)
    await eventually(lambda: simulator.stats()["receipts_waiting"] == 2)
    assert simulator.counters.receipts_sent == 1
    await simulator.change({"window": 3})
    assert simulator.counters.receipts_sent == 3


@pytest.fixture
async def process():
    """The simulator as a process, on uvloop: its port and the URL of its control port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.simulators.smsc", "--port", "0", "--control-port", "0"),
        stderr=asyncio.subprocess.PIPE,
    )
    said = (await process.stderr.readline()).decode()
    yield int(said.split("127.0.0.1:")[1].split(",")[0]), said.split()[-1]
    process.kill()
    await process.wait()


async def test_the_process_goes_mute(process, call):
    port, url = process
    esme = await Esme().bind(port, timers=PATIENT)
    await call("PATCH", f"{url}/options", {"mute": True})
    submit = esme.session.submit(message("4520000000"))
    newcomer = asyncio.create_task(Esme().bind(port, timers=PATIENT))
    while (await call("GET", f"{url}/stats"))[1]["connections"] < 2:
        pass
    _, stats = await call("GET", f"{url}/stats")
    assert (stats["submits"], stats["binds"]) == (0, 1)
    assert not submit.done()
    assert not newcomer.done()
    await call("PATCH", f"{url}/options", {"mute": False})
    assert (await submit)[0] == 0
    assert (await newcomer).session.is_bound


async def test_the_process_shuts_its_port(process, call):
    port, url = process
    for _ in range(3):
        await call("PATCH", f"{url}/options", {"accept_binds": False})
        with pytest.raises(ConnectionRefusedError):
            await Esme().bind(port)
        status, _ = await call("PATCH", f"{url}/options", {"accept_binds": True})
        assert status == 200
        assert (await Esme().bind(port)).session.is_bound
