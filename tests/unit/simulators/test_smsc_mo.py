"""Messages that the simulator sends to the ESME, on request."""

import pytest

from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.protocol.pdu import BindReceiver, BindTransceiver, BindTransmitter
from infra.simulators.smsc import Options
from infra.simulators.smsc.content import read_payload, read_text
from tests.unit.simulators.esme import Esme
from tests.waiting import eventually

MO = {"source": "4520100000", "destination": "1234", "text": "STOP"}
LONG = "Blåbærgrød {med} fløde€ " * 20


async def heard(esme, count):
    return [(await esme.receipts.get())[1] for _ in range(count)]


async def test_a_short_message(start, call):
    simulator, port, url = await start()
    esme = await Esme().bind(port)
    assert await call("POST", f"{url}/mo", MO) == (200, {"queued": 1, "reference": 1})
    [pdu] = await heard(esme, 1)
    assert (pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr) == (1, 1, "4520100000")
    assert (pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr) == (3, 1, "1234")
    assert (pdu.esm_class, pdu.data_coding, pdu.short_message, pdu.tlvs) == (0, 0, b"STOP", {})
    await eventually(lambda: simulator.counters.mo_acked == 1)
    stats = simulator.stats()
    assert (stats["mo_sent"], stats["links"][0]["mo_sent"], stats["receipts_sent"]) == (1, 1, 0)


@pytest.mark.parametrize("how", ["udh8", "udh16", "sar"])
@pytest.mark.parametrize(
    ("text", "data_coding", "count"),
    [(LONG, 0, 4), ("日本語 🫐 " * 30, 8, 4)],
    ids=["gsm7", "ucs2"],
)
async def test_a_long_text_is_cut(start, call, how, text, data_coding, count):
    _, port, url = await start()
    esme = await Esme().bind(port)
    _, answer = await call("POST", f"{url}/mo", {**MO, "text": text, "parts": how})
    assert answer["queued"] == count
    pdus = await heard(esme, count)
    read = [read_payload(pdu) for pdu in pdus]
    assert "".join(read_text(payload, data_coding) for payload, _ in read) == text
    assert {pdu.data_coding for pdu in pdus} == {data_coding}
    assert [(part.reference, part.total, part.number) for _, part in read] == [
        (answer["reference"], count, n + 1) for n in range(count)
    ]
    for pdu in pdus:
        assert pdu.esm_class == (0 if how == "sar" else 0x40)
        assert pdu.short_message.startswith({"udh8": b"\5\0\3", "udh16": b"\6\x08\4"}.get(how, b""))
        limit = 140 if data_coding else 160
        assert len(pdu.short_message) <= limit


@pytest.mark.parametrize(
    ("how", "more", "numbers"),
    [
        ("udh8", {"order": [2, 1, 4, 3]}, [2, 1, 4, 3]),
        ("sar", {"order": [4, 4, 1]}, [4, 4, 1]),
        ("udh16", {"repeat": 2}, [1, 2, 3, 4, 1, 2, 3, 4]),
        ("udh16", {"order": [3], "repeat": 3}, [3, 3, 3]),
    ],
)
async def test_parts_come_as_ordered(start, call, how, more, numbers):
    _, port, url = await start()
    esme = await Esme().bind(port)
    request = {**MO, "text": LONG, "parts": how, "reference": 200, **more}
    assert await call("POST", f"{url}/mo", request) == (
        200,
        {"queued": len(numbers), "reference": 200},
    )
    parts = [read_payload(pdu)[1] for pdu in await heard(esme, len(numbers))]
    assert [part.number for part in parts] == numbers
    assert {part.reference for part in parts} == {200}


async def test_each_message_has_its_reference(start, call):
    _, port, url = await start()
    await Esme().bind(port)
    references = [(await call("POST", f"{url}/mo", MO))[1]["reference"] for _ in range(3)]
    assert references == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"source": ""}, "$.source"),
        ({"destination": "1" * 21}, "$.destination"),
        ({"text": 5}, "$.text"),
        ({"text": "\ud800"}, "expected a message"),
        ({"text": "a" * 40_000}, "text: "),
        ({"parts": "udh"}, "$.parts"),
        ({"order": [1, 2]}, "order: expected numbers of parts from 1 to 1, not [1, 2]"),
        ({"order": []}, "order: expected numbers of parts from 1 to 1, not []"),
        ({"repeat": 0}, "$.repeat"),
        ({"reference": 65_536}, "$.reference"),
        ({"account": "nobody"}, "account: expected one of hermes, not nobody"),
        ({"sauce": "4520100000"}, "`sauce`"),
        ({"source": "日本"}, "source_addr"),
    ],
)
async def test_says_what_is_wrong(start, call, change, complaint):
    simulator, port, url = await start()
    await Esme().bind(port)
    status, answer = await call("POST", f"{url}/mo", {**MO, **change})
    assert status == 400
    assert complaint in answer["error"]
    assert simulator.counters.mo_sent == 0


async def test_goes_to_a_receiver_of_the_account(start, call):
    simulator, port, url = await start(Options(accounts={"second": "secret"}))
    first = await Esme().bind(port)
    await Esme().bind(port, BindTransmitter("second", "secret"))
    await call("POST", f"{url}/mo", {**MO, "account": "second"})
    assert (simulator.stats()["mo_waiting"], simulator.stats()["receipts_waiting"]) == (1, 0)
    receiver = await Esme().bind(port, BindReceiver("second", "secret"))
    assert [pdu.short_message for pdu in await heard(receiver, 1)] == [b"STOP"]
    assert first.receipts.empty()


async def test_answers_are_counted_and_a_refusal_for_now_is_not_the_end(start, call):
    simulator, port, url = await start()
    esme = await Esme().bind(port)
    esme.answer = CommandStatus.ESME_RX_P_APPN
    await call("POST", f"{url}/mo", MO)
    await eventually(lambda: simulator.counters.mo_refused == 1)
    esme.answer = CommandStatus.ESME_RX_T_APPN
    await call("POST", f"{url}/mo", MO)
    await eventually(lambda: simulator.counters.mo_refused == 2)
    esme.answer = 0
    await eventually(lambda: simulator.counters.mo_acked == 1)
    assert simulator.stats()["answers"]["mo"] == {
        "ESME_RX_P_APPN": 1,
        "ESME_RX_T_APPN": 1,
        "ESME_ROK": 1,
    }
    assert esme.receipts.qsize() == 3


async def test_a_message_that_was_not_acknowledged_comes_again(start, call):
    simulator, port, url = await start()
    first = await Esme().bind(port)
    first.acknowledges = False
    await call("POST", f"{url}/mo", MO)
    await heard(first, 1)
    first.session.abort()
    second = await Esme().bind(port, BindTransceiver("hermes", "hermes"))
    await heard(second, 1)
    await eventually(lambda: simulator.counters.mo_acked == 1)
    assert (simulator.counters.mo_sent, simulator.counters.mo_unanswered) == (2, 1)
