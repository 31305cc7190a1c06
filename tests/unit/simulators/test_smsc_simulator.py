"""The SMSC simulator, bound to by our own ESME and by smpplib's."""

import asyncio
import signal
import subprocess
import sys
import time

import aiohttp
import pytest
import smpplib.client
import uvloop

from adapters.smpp.protocol.constants import HEADER_LENGTH, CommandId, CommandStatus, MessageState
from adapters.smpp.protocol.pdu import (
    HEADER,
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    DataSm,
    SubmitSm,
    encode,
)
from adapters.smpp.protocol.session import BindRefused, CloseReason, LinkLost
from domain.sms.segmentation import segment
from infra.simulators.smsc import (
    BEHAVIOURS,
    Options,
    Part,
    Schedule,
    read_payload,
    read_text,
)
from tests.unit.simulators.esme import BIND, Esme, message
from tests.waiting import eventually


@pytest.mark.parametrize(
    ("digits", "state"),
    [
        ("0000", MessageState.DELIVERED),
        ("9901", MessageState.DELIVERED),
        ("9903", MessageState.UNDELIVERABLE),
        ("9904", MessageState.DELIVERED),
        ("9907", MessageState.EXPIRED),
        ("9910", MessageState.REJECTED),
    ],
)
async def test_the_destination_selects_the_receipt(start, digits, state):
    _, port, _ = await start()
    esme = await Esme().bind(port)
    status, message_id = await esme.submit("452000" + digits, reference=515)
    receipt, pdu = await esme.receipts.get()
    assert status == CommandStatus.ESME_ROK
    assert (receipt.message_id, receipt.state, receipt.final) == (message_id, state, True)
    assert (pdu.source_addr, pdu.destination_addr) == ("452000" + digits, "HERMES")
    assert pdu.tlvs[0x0204] == b"\x02\x03"
    assert pdu.short_message.startswith(f"id:{message_id} sub:001 dlvrd:".encode())
    assert pdu.short_message.endswith(b"text:hello")
    assert esme.events == (["receipt", "response"] if digits == "9904" else ["response", "receipt"])


async def test_the_destination_selects_the_refusal(start):
    simulator, port, _ = await start()
    esme = await Esme().bind(port)
    assert await esme.submit("4520009905") == (CommandStatus.ESME_RINVDSTADR, "")
    statuses = [(await esme.submit("4520009906"))[0] for _ in range(4)]
    assert statuses == [CommandStatus.ESME_RTHROTTLED] * 3 + [CommandStatus.ESME_ROK]
    assert (await esme.receipt()).state is MessageState.DELIVERED
    assert simulator.stats()["throttled"] == 3
    assert simulator.duplicates() == []


async def test_no_receipt_and_no_response(start):
    simulator, port, _ = await start()
    esme = await Esme().bind(port)
    unanswered = esme.session.submit(message("4520009908"))
    answered_by_receipt = esme.session.submit(message("4520009909", reference=9))
    assert (await esme.submit("4520009902"))[0] == CommandStatus.ESME_ROK
    assert (await esme.receipts.get())[1].tlvs[0x0204] == b"\x00\x09"
    assert not unanswered.done()
    assert not answered_by_receipt.done()
    assert (simulator.stats()["accepted"], simulator.stats()["not_answered"]) == (1, 2)
    esme.session.abort()
    with pytest.raises(LinkLost):
        await unanswered
    with pytest.raises(LinkLost):
        await answered_by_receipt


@pytest.mark.parametrize(
    ("registered", "digits", "expected"),
    [(0, "0000", 0), (1, "0000", 1), (2, "0000", 0), (2, "9903", 1)],
)
async def test_receipts_come_as_registered(start, registered, digits, expected):
    simulator, port, _ = await start()
    esme = await Esme().bind(port)
    await esme.submit("452000" + digits, registered_delivery=registered)
    await esme.submit("4520000001")
    await eventually(lambda: simulator.stats()["receipts_acked"] == expected + 1)
    assert esme.receipts.qsize() == expected + 1


@pytest.mark.parametrize(
    ("bind", "status"),
    [
        (BindTransceiver("other", "hermes"), CommandStatus.ESME_RINVSYSID),
        (BindTransceiver("hermes", "wrong"), CommandStatus.ESME_RINVPASWD),
    ],
)
async def test_a_wrong_login_is_refused(start, bind, status):
    _, port, _ = await start()
    with pytest.raises(BindRefused) as caught:
        await Esme().bind(port, bind)
    assert caught.value.command_status == status


async def test_receipts_wait_for_the_next_bind(start):
    simulator, port, _ = await start()
    first = await Esme().bind(port)
    ids = {(await first.submit(f"45200000{n:02}"))[1] for n in range(10)}
    first.session.abort()
    await eventually(lambda: simulator.stats()["receipts_waiting"] == 10)
    second = await Esme().bind(port)
    assert {(await second.receipt()).message_id for _ in range(10)} == ids
    await eventually(lambda: simulator.stats()["receipts_acked"] == 10)


async def test_receipts_that_were_not_acknowledged_come_again(start):
    simulator, port, _ = await start()
    first = await Esme().bind(port)
    first.acknowledges = False
    message_id = (await first.submit("4520000000"))[1]
    assert (await first.receipt()).message_id == message_id
    first.session.abort()
    second = await Esme().bind(port)
    assert (await second.receipt()).message_id == message_id
    await eventually(lambda: simulator.stats()["receipts_acked"] == 1)
    assert simulator.stats()["receipts_sent"] == 2


async def test_receipts_go_to_the_submitting_bind_if_it_can_take_them(start):
    _, port, _ = await start()
    one, two = await Esme().bind(port), await Esme().bind(port)
    ids = {(await two.submit("4520000000"))[1] for _ in range(5)}
    assert {(await two.receipt()).message_id for _ in range(5)} == ids
    assert one.receipts.empty()


async def test_a_transmitters_receipts_go_to_the_receiver(start):
    _, port, _ = await start()
    transmitter = await Esme().bind(port, BindTransmitter("hermes", "hermes"))
    receiver = await Esme().bind(port, BindReceiver("hermes", "hermes"))
    _, message_id = await transmitter.submit("4520000000")
    assert (await receiver.receipt()).message_id == message_id
    assert transmitter.receipts.empty()


async def test_more_receipts_than_the_window(start):
    simulator, port, _ = await start(Options(receipt_delay=0.01, window=3))
    esme = await Esme().bind(port)
    await asyncio.gather(*(esme.submit(f"45200000{n:02}") for n in range(40)))
    for _ in range(40):
        await esme.receipt()
    await eventually(lambda: simulator.stats()["receipts_acked"] == 40)


async def test_what_was_submitted_is_recorded(start):
    simulator, port, url = await start(Options(response_delay=0.01))
    esme = await Esme().bind(port)
    text = "æøå " * 60
    parts = segment(text, reference=77)
    submitted = [
        esme.submit(
            "4520000001",
            parts.udh(index) + part,
            esm_class=0x40,
            data_coding=parts.data_coding,
            reference=index,
        )
        for index, part in enumerate(parts.parts)
    ]
    outcomes = await asyncio.gather(*submitted)
    await esme.submit("4520000002", "Ж".encode("utf-16-be"), data_coding=8)

    async with aiohttp.ClientSession(url) as http:
        async with http.get("/submits", params={"destination": "4520000001"}) as response:
            submits = (await response.json())["submits"]
        assert "".join(submit["text"] for submit in submits) == text
        assert [submit["part"] for submit in submits] == [
            {"reference": 77, "total": 2, "number": 1},
            {"reference": 77, "total": 2, "number": 2},
        ]
        assert [submit["message_id"] for submit in submits] == [outcome[1] for outcome in outcomes]
        assert [submit["user_message_reference"] for submit in submits] == [0, 1]
        async with http.get("/submits", params={"limit": "1"}) as response:
            [last] = (await response.json())["submits"]
        assert (last["text"], last["status"], last["bind"]) == ("Ж", "ESME_ROK", 1)
        async with http.get("/submits", params={"limit": "many"}) as response:
            assert response.status == 400
        async with http.get("/stats") as response:
            stats = await response.json()
        assert (stats["submits"], stats["accepted"], stats["bound"]) == (3, 3, 1)
        assert stats["links"][0]["bind_type"] == "BindTransceiver"
        async with http.post("/reset") as response:
            assert response.status == 200
        async with http.get("/submits") as response:
            assert (await response.json())["submits"] == []
    assert simulator.stats()["submits"] == 0


async def test_the_peak_in_flight_is_what_the_esme_had_sent(start):
    simulator, port, _ = await start(Options(response_delay=0.01))
    esme = await Esme().bind(port, window=7)
    outcomes = []
    while len(outcomes) < 50:
        while esme.session.free:
            outcomes.append(esme.session.submit(message("4520009902", b"%d" % len(outcomes))))
        await asyncio.wait(outcomes[-7:], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*outcomes)
    assert simulator.stats()["peak_in_flight"] == 7


async def test_duplicates_are_found(start):
    _, port, url = await start()
    esme = await Esme().bind(port)
    for destination, text in [("1", b"a"), ("1", b"b"), ("2", b"a"), ("1", b"a"), ("1", b"a")]:
        await esme.submit(destination, text)
    async with aiohttp.ClientSession(url) as http, http.get("/duplicates") as response:
        found = await response.json()
    assert found["count"] == 2
    assert [(d["destination"], d["text"], d["times"]) for d in found["duplicates"]] == [
        ("1", "a", 3)
    ]


async def test_it_remembers_so_many_submissions(start):
    simulator, port, _ = await start(Options(keep=3))
    esme = await Esme().bind(port)
    for text in (b"a", b"a", b"b", b"c", b"d"):
        await esme.submit("4520009902", text)
    assert [submit.payload for submit in simulator.submits] == [b"b", b"c", b"d"]
    assert (simulator.counters.accepted, simulator.counters.duplicates) == (5, 1)
    assert simulator.duplicates() == []
    # The first two are forgotten, so this is no duplicate any more.
    await esme.submit("4520009902", b"a")
    assert simulator.counters.duplicates == 1
    await simulator.change({"keep": 1})
    await esme.submit("4520009902", b"e")
    assert [submit.payload for submit in simulator.submits] == [b"e"]


@pytest.mark.parametrize(
    "command_id", [CommandId.QUERY_SM, CommandId.CANCEL_SM, CommandId.REPLACE_SM]
)
async def test_what_it_does_not_do_it_nacks(start, command_id):
    _, port, _ = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(BIND, sequence_number=1))
    bound = await reader.readexactly(4)
    await reader.readexactly(int.from_bytes(bound, "big") - 4)
    writer.write(HEADER.pack(HEADER_LENGTH + 4, command_id, 0, 2) + b"1\0\0\0")
    nack = HEADER.unpack(await reader.readexactly(HEADER_LENGTH))
    writer.close()
    assert nack == (HEADER_LENGTH, CommandId.GENERIC_NACK, CommandStatus.ESME_RINVCMDID, 2)


async def test_links_can_be_killed(start):
    simulator, port, url = await start()
    esmes = [await Esme().bind(port) for _ in range(3)]
    async with aiohttp.ClientSession(url) as http, http.post("/links/kill") as response:
        assert await response.json() == {"killed": 3}
    for esme in esmes:
        assert await esme.session.closed is CloseReason.LOST
    await eventually(lambda: simulator.stats()["bound"] == 0)


async def test_beyond_its_rate_it_throttles(start):
    simulator, port, _ = await start(Options(rate=100))
    esme = await Esme().bind(port)
    outcomes = await asyncio.gather(*(esme.submit("4520009902", b"%d" % n) for n in range(50)))
    statuses = [status for status, _ in outcomes]
    assert 10 <= statuses.count(CommandStatus.ESME_ROK) < 50
    assert simulator.stats()["throttled"] == statuses.count(CommandStatus.ESME_RTHROTTLED)


async def test_a_broken_udh_is_refused(start):
    _, port, _ = await start()
    esme = await Esme().bind(port)
    outcome = await esme.submit("4520000000", b"\x09\x00", esm_class=0x40)
    assert outcome == (CommandStatus.ESME_RINVESMCLASS, "")


@pytest.mark.parametrize(
    ("pdu", "payload", "part"),
    [
        (SubmitSm(short_message=b"hi"), b"hi", None),
        (SubmitSm(esm_class=0x40, short_message=b"\5\0\3\1\2\1hi"), b"hi", Part(1, 2, 1)),
        (SubmitSm(esm_class=0x40, short_message=b"\6\x08\4\1\2\3\2hi"), b"hi", Part(258, 3, 2)),
        (SubmitSm(esm_class=0x40, short_message=b"\4\5\2\1\2hi"), b"hi", None),
        (SubmitSm(esm_class=0x40, short_message=b"\3\0\3\1hi"), b"hi", None),
        (
            SubmitSm(short_message=b"hi", tlvs={0x020C: b"\1\2", 0x020E: b"\3", 0x020F: b"\2"}),
            b"hi",
            Part(258, 3, 2),
        ),
        (DataSm(tlvs={0x0424: b"hi"}), b"hi", None),
    ],
)
def test_reads_concatenation(pdu, payload, part):
    assert read_payload(pdu) == (payload, part)


@pytest.mark.parametrize("octets", [b"", b"\5", b"\5\0\3\1\2"])
def test_a_udh_beyond_the_message_is_an_error(octets):
    with pytest.raises(ValueError, match="cut short"):
        read_payload(SubmitSm(esm_class=0x40, short_message=octets))


@pytest.mark.parametrize(
    ("payload", "data_coding", "text"),
    [
        (b"\x1d\x0c\x0f", 0, "æøå"),
        (b"\xe6", 0, "æ"),
        (b"\xe6", 3, "æ"),
        (b"\x04\x16", 8, "Ж"),
        (b"\x04\x16", 4, "0416"),
    ],
)
def test_reads_text(payload, data_coding, text):
    assert read_text(payload, data_coding) == text


async def test_smpplib_is_served(start):
    """Another implementation's ESME, so that no mistake of our codec hides itself."""
    _, port, _ = await start()
    told = []

    def submit():
        client = smpplib.client.Client("127.0.0.1", port, allow_unknown_opt_params=True)
        client.set_message_sent_handler(lambda pdu: told.append(pdu.message_id))
        client.set_message_received_handler(lambda pdu: told.append(pdu.receipted_message_id))
        client.connect()
        client.bind_transceiver(system_id="hermes", password="hermes")
        client.send_message(
            source_addr_ton=5,
            source_addr="HERMES",
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr="4520000000",
            short_message=b"hello",
            registered_delivery=1,
        )
        while len(told) < 2:
            client.read_once()
        client.unbind()
        client.disconnect()

    await asyncio.to_thread(submit)
    assert told[0].rstrip(b"\0") == told[1].rstrip(b"\0") != b""


def test_help_lists_every_behaviour():
    shown = subprocess.run(
        [sys.executable, "-m", "infra.simulators.smsc", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for digits, behaviour in BEHAVIOURS.items():
        assert f"{digits}  {behaviour.description}" in shown


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_schedule_keeps_its_order_on_either_loop(new_event_loop):
    async def run():
        schedule = Schedule(asyncio.get_running_loop())
        done = asyncio.Event()
        called = []

        def again(n):
            called.append(n)
            schedule.after(0, called.append, n + 1)
            schedule.after(0.03, done.set)

        schedule.after(0.02, again, 3)
        schedule.after(0, called.append, 1)
        schedule.after(0, called.append, 2)
        schedule.after(0, called.append, "dropped")
        schedule.drop(called.append)
        schedule.after(0, called.append, 1)
        assert schedule.count(called.append) == 1
        await done.wait()
        assert called == [1, 3, 4]

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run())


@pytest.mark.alone
@pytest.mark.parametrize("module", ["smsc", "mail_sink"])
def test_the_process_ends_quickly_on_sigterm(module):
    with subprocess.Popen(
        [sys.executable, "-m", f"infra.simulators.{module}", "--port", "0", "--control-port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert "http://127.0.0.1:" in process.stderr.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert time.monotonic() - began < 0.5
